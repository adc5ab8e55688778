"""A hostile HTTP/2 client: TLS by Python, frames by hand (RFC 9113, RFC 7541).

It does what no library would: it never acknowledges SETTINGS (a server's limits count from that
acknowledgement), opens streams without end, resets them, pings, sends headers that never end.

    with Connection(("127.0.0.1", 4755), credentials) as peer:
        peer.send(peer.open_streams(27_000))

The address of a Unix socket is its path, and it is spoken to without TLS. Each function that makes
frames returns bytes; send() writes them, and tells what the server did.
"""

import re
import socket
import ssl
import struct
import tempfile
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = (
    0, 1, 3, 4, 6, 7, 8, 9)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
ATTACH = "/dr.v1.Signalling/Attach"


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags,
                       stream) + payload


def literal(name_index, name, value, indexed):
    """A header field whose value is a literal (RFC 7541 §6.2); `indexed`: into the table too."""
    first = bytes([(0x40 if indexed else 0) | name_index])
    named = b"" if name_index else length_of(name) + name
    return first + named + length_of(value) + value


def length_of(text):
    """A string's length as an integer with a prefix of 7 bits (RFC 7541 §5.1)."""
    size = len(text)
    if size < 127:
        return bytes([size])
    out, size = bytes([127]), size - 127
    while size >= 128:
        out, size = out + bytes([size % 128 | 128]), size // 128
    return out + bytes([size])


def tls(credentials):
    """A context of a peer with `credentials` as `drcli subscriber enroll` writes them; None: of a
    stranger, who has no certificate and believes every server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if credentials is None:
        context.verify_mode = ssl.CERT_NONE
        return context
    context.load_verify_locations(cadata=credentials["ca"])
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
        pem.write(credentials["certificate"] + credentials["privateKey"])
        pem.flush()
        context.load_cert_chain(pem.name)
    return context


class Closed(Exception):
    """The server has ended the connection."""


class Connection:
    """One connection. `acknowledge`: answers the server's SETTINGS and PINGs, as an honest peer
    does; without it nothing that the server sends is read unless asked for."""

    def __init__(self, address, credentials, *, acknowledge=False, context=None, timeout=10,
                 source=None):
        if isinstance(address, tuple):
            plain = socket.create_connection(address, timeout=timeout,
                                             source_address=(source, 0) if source else None)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self.socket = (context or tls(credentials)).wrap_socket(plain)
            except (OSError, ssl.SSLError):
                plain.close()
                raise
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(str(address))
        self.acknowledge = acknowledge
        self.next_stream = 1
        self.known = False  # the fields are in the server's table
        self.buffer = b""
        self.send(PREFACE + frame(SETTINGS, 0, 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data, *, seconds=10.0):
        """Raises Closed when the server has ended the connection, or does not read any more."""
        self.socket.settimeout(seconds)
        try:
            self.socket.sendall(data)
        except (OSError, ssl.SSLError) as error:
            raise Closed(str(error)) from error

    def headers(self, path=ATTACH, more=b""):
        """The header block of a gRPC call; short after the first."""
        if self.known:
            block = b"\x83\x87\xc1\xc0\xbf\xbe"
        else:
            scheme = b"\x87" if isinstance(self.socket, ssl.SSLSocket) else b"\x86"
            block = (b"\x83" + scheme + literal(4, b"", path.encode(), True)
                     + literal(1, b"", b"dr", True)
                     + literal(31, b"", b"application/grpc", True)
                     + literal(0, b"te", b"trailers", True))
            self.known = True
        return block + more

    def open_stream(self, path=ATTACH, more=b"", flags=0):
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        return stream, frame(HEADERS, END_HEADERS | flags, stream, self.headers(path, more))

    def open_streams(self, count, path=ATTACH):
        return b"".join(self.open_stream(path)[1] for _ in range(count))

    def reset_streams(self, count, path=ATTACH):
        """Rapid reset: each stream is opened and reset at once."""
        out = []
        for _ in range(count):
            stream, opened = self.open_stream(path)
            out += [opened, frame(RST_STREAM, 0, stream, struct.pack("!I", 8))]
        return b"".join(out)

    def say(self, stream, message, flags=0):
        """A gRPC message, not compressed, in one frame."""
        return frame(DATA, flags, stream, b"\x00" + struct.pack("!I", len(message)) + message)

    def call(self, path, message=b"", seconds=30.0):
        """One call that the server answers with a message or none: (status, its text, bytes of the
        answer). The first call of the connection: later ones' headers are references."""
        stream, opened = self.open_stream(path)
        self.send(opened)
        self.send_with_windows(message, stream, seconds)
        answer, trailers = 0, b""
        for kind, flags, of, payload in self.frames(seconds):
            if of == stream and kind == HEADERS:
                trailers += payload
            answer += len(payload) if of == stream else 0
            if kind == RST_STREAM or kind == GOAWAY or (of == stream and flags & END_STREAM):
                break
        status = re.search(rb"grpc-status.(\d+)", trailers, re.DOTALL)
        text = re.search(rb"grpc-message[\x00-\xff]{1,3}?([ -~]{8,})", trailers)
        return (int(status.group(1)) if status else None,
                text.group(1).decode() if text else "", answer)

    def send_with_windows(self, message, stream, seconds):
        """Says a message that may be more than the server's windows allow, as they open; reads
        meanwhile. Ends early when the server ends the stream."""
        body = b"\x00" + struct.pack("!I", len(message)) + message
        pieces = [body[at:at + 16384] for at in range(0, len(body), 16384)]
        deadline = time.monotonic() + seconds
        windows = {0: 65535, stream: 65535}
        for number, piece in enumerate(pieces):
            while stream in windows and min(windows.values()) < len(piece):
                if time.monotonic() > deadline:
                    raise Closed("the server does not read")
                self._read_windows(windows, stream, 0.01)
            if stream not in windows:
                return
            last = number == len(pieces) - 1
            self.send(frame(DATA, END_STREAM if last else 0, stream, piece))
            for window in windows:
                windows[window] -= len(piece)
            self._read_windows(windows, stream, 0.0001)

    def _read_windows(self, windows, stream, seconds):
        """Takes what WINDOW_UPDATEs have opened; other frames are kept for frames()."""
        self.socket.settimeout(seconds)
        try:
            self.buffer += self.socket.recv(65536)
        except (TimeoutError, OSError, ssl.SSLError):
            pass
        kept = b""
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                break
            whole, self.buffer = self.buffer[:9 + size], self.buffer[9 + size:]
            of = int.from_bytes(whole[5:9], "big") & 0x7FFFFFFF
            if whole[3] == WINDOW_UPDATE:
                if of in windows:
                    windows[of] += int.from_bytes(whole[9:13], "big")
                continue
            kept += whole
            if whole[3] in (RST_STREAM, GOAWAY) or (of == stream and whole[4] & END_STREAM):
                windows.pop(stream, None)
        self.buffer = kept + self.buffer

    def frames(self, seconds):
        """What the server sends, frame by frame, for `seconds`; ends with the connection."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            while len(self.buffer) >= 9:
                size = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) < 9 + size:
                    break
                kind, flags = self.buffer[3], self.buffer[4]
                stream = int.from_bytes(self.buffer[5:9], "big") & 0x7FFFFFFF
                payload, self.buffer = self.buffer[9:9 + size], self.buffer[9 + size:]
                if self.acknowledge and kind in (SETTINGS, PING) and not flags & ACK:
                    self.send(frame(kind, ACK, 0, payload if kind == PING else b""))
                yield kind, flags, stream, payload
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                return
            except (OSError, ssl.SSLError):
                return
            if not data:
                return
            self.buffer += data

    def ended(self, seconds):
        """Whether the server ends the connection within `seconds`."""
        deadline = time.monotonic() + seconds
        for _ in self.frames(seconds):
            pass
        return time.monotonic() < deadline - 0.01


def varint(number):
    out = b""
    while number >= 128:
        out, number = out + bytes([number % 128 | 128]), number // 128
    return out + bytes([number])


def field(number, data):
    """A field of a protobuf message: bytes, a string or a message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def hello(lines=("a", "b"), version="hostile"):
    """A UrMessage with a Hello of these lines (dr/v1/signalling.proto)."""
    body = field(1, version.encode())
    body += b"".join(field(HELLO_LINES, field(1, name.encode())) for name in lines)
    return field(1, body)


HELLO_LINES = 3


def said(data):
    """The first gRPC message in a stream's data, when it is whole: the number of the field that it
    begins with and what follows; else None."""
    if len(data) < 5 or len(data) < 5 + int.from_bytes(data[1:5], "big"):
        return None
    message = data[5:5 + int.from_bytes(data[1:5], "big")]
    return (message[0] >> 3 if message else 0), message[1:]


ATTACHMENT = 1  # of dr.v1.DrMessage; the other one is a refusal


def attach(address, credentials, seconds=10.0, context=None):
    """An honest site: attaches, and returns after how many seconds it has its attachment, and the
    connection, which is to be closed. Raises Closed when it does not get one; a refusal's text is
    in it."""
    started = time.monotonic()
    try:
        peer = Connection(address, credentials, acknowledge=True, context=context, timeout=seconds)
    except (OSError, ssl.SSLError) as error:
        raise Closed(f"no connection: {error}") from error
    why, data = "no attachment", b""
    try:
        stream, opened = peer.open_stream()
        peer.send(opened + peer.say(stream, hello()))
        for kind, flags, of, payload in peer.frames(seconds):
            if of == stream and kind == DATA:
                data += payload
                answer = said(data)
                if answer and answer[0] == ATTACHMENT:
                    return time.monotonic() - started, peer
                if answer:
                    why = f"refused: {answer[1]!r}"
                    break
            if kind in (RST_STREAM, GOAWAY) or (of == stream and flags & END_STREAM):
                break
    except Closed:
        peer.close()
        raise
    peer.close()
    raise Closed(why)
