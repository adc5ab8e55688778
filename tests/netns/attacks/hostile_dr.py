"""A DR that was taken over: it has a certificate that URs believe, and says what it likes.

HTTP/2 by hand (RFC 9113), just as much as a gRPC client needs to be served one endless stream.
"""

import socket
import ssl
import struct
import threading

from lablib.shell import LabError, run

PREFACE = 24  # bytes
DATA, HEADERS, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 4, 6, 7, 8
END_HEADERS, ACK = 4, 1
INITIAL_WINDOW_SIZE = 4
MAX_FRAME = 16_384
# ":status: 200" and "content-type: application/grpc" (RFC 7541, literals).
RESPONSE = b"\x88\x0f\x10\x10application/grpc"


def varint(number):
    out = b""
    while number >= 128:
        out, number = out + bytes([number % 128 | 128]), number // 128
    return out + bytes([number])


def attachment_message(attachment, generation, more=b""):
    """A DrMessage. What stands last in a protobuf message wins, so the number is just added."""
    body = attachment + b"\x08" + varint(generation) + more
    return b"\x0a" + varint(len(body)) + body


def certificate(folder, ca_folder, address):
    """Files with a certificate for `address` by the CA of drd, and its key."""
    key, request, made, extensions = (folder / f"hostile.{x}" for x in ("key", "csr", "pem", "ext"))
    extensions.write_text(f"subjectAltName=IP:{address}\nextendedKeyUsage=serverAuth\n"
                          "keyUsage=digitalSignature\n")
    run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", request, "-subj", f"/CN={address}"])
    run(["openssl", "x509", "-req", "-in", request, "-CA", ca_folder / "ca-cert.pem", "-CAkey",
         ca_folder / "ca-key.pem", "-CAcreateserial", "-CAserial", folder / "hostile.srl", "-days",
         "30", "-extfile", extensions, "-out", made])
    return made, key


class HostileDr:
    """`listener`: a listening socket. `messages`: called for each stream, gives what it is sent."""

    def __init__(self, listener, certificate_and_key, messages):
        self.listener, self.messages = listener, messages
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_3
        self.context.set_alpn_protocols(["h2"])
        self.context.load_cert_chain(*certificate_and_key)
        self.sent = 0  # messages that the client has had room for
        self.ending = False
        self.faults = []
        self.threads = [threading.Thread(target=self._accept, daemon=True)]
        self.threads[0].start()

    def _accept(self):
        self.listener.settimeout(0.1)
        while not self.ending:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                continue
            thread = threading.Thread(target=self._serve, args=(plain,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, plain):
        try:
            plain.settimeout(5)
            Session(self, self.context.wrap_socket(plain, server_side=True)).run()
        except (OSError, LabError) as error:
            self.faults.append(str(error))

    def close(self):
        self.ending = True
        for thread in self.threads:
            thread.join(10)
        self.listener.close()


class Session:
    """One connection: what the client says is read by this thread, what it is told is sent too."""

    def __init__(self, owner, secured):
        self.owner, self.socket = owner, secured
        self.buffer = b""
        self.window = 65_535  # of the connection
        self.initial = 65_535  # of a stream
        self.streams = {}  # number: [window, iterator of messages, bytes that wait]

    def run(self):
        self.read(PREFACE)
        self.socket.sendall(frame(SETTINGS, 0, 0))
        self.socket.settimeout(0.02)
        while not self.owner.ending:
            progress = self.tell()
            self.socket.settimeout(0.0005 if progress else 0.05)
            try:
                self.listen()
            except TimeoutError:
                pass
            except ssl.SSLWantReadError:
                pass

    def read(self, size):
        while len(self.buffer) < size:
            data = self.socket.recv(65_536)
            if not data:
                raise LabError("the client has ended the connection")
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    def listen(self):
        """One frame; nothing is taken of one that is not whole yet."""
        if len(self.buffer) < 9:
            self.buffer = self.read(9) + self.buffer
        size = int.from_bytes(self.buffer[:3], "big")
        whole = self.read(9 + size)
        kind, flags = whole[3], whole[4]
        stream = int.from_bytes(whole[5:9], "big") & 0x7FFFFFFF
        self.take(kind, flags, stream, whole[9:])

    def take(self, kind, flags, stream, payload):
        if kind == SETTINGS and not flags & ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from("!HI", payload, at)
                if name == INITIAL_WINDOW_SIZE:
                    for one in self.streams.values():
                        one[0] += value - self.initial
                    self.initial = value
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            more, = struct.unpack("!I", payload)
            if stream == 0:
                self.window += more
            elif stream in self.streams:
                self.streams[stream][0] += more
        elif kind == HEADERS:
            self.streams[stream] = [self.initial, iter(self.owner.messages()), b""]
            self.send(frame(HEADERS, END_HEADERS, stream, RESPONSE))
        elif kind == GOAWAY:
            raise LabError("the client goes away")

    def send(self, data):
        self.socket.settimeout(5)
        self.socket.sendall(data)

    def tell(self):
        """Of each stream as much as there is room for, one frame at a time; whether there was."""
        progress = False
        for number, stream in self.streams.items():
            while len(stream[2]) < MAX_FRAME and stream[1] is not None:
                message = next(stream[1], None)
                if message is None:
                    stream[1] = None
                    break
                stream[2] += b"\0" + struct.pack("!I", len(message)) + message
                self.owner.sent += 1
            size = min(len(stream[2]), MAX_FRAME, stream[0], self.window)
            if size > 0:
                self.send(frame(DATA, 0, number, stream[2][:size]))
                stream[2] = stream[2][size:]
                stream[0] -= size
                self.window -= size
                progress = True
        return progress


def frame(kind, flags, stream, payload=b""):
    return struct.pack("!BHBBI", len(payload) >> 16, len(payload) & 0xFFFF, kind, flags,
                       stream) + payload


def listener(address, port):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    sock.listen(8)
    return sock
