"""Strangers on a TLS port: old versions, no TLS at all, handshakes that are never finished."""

import ssl
import tempfile
import warnings
from contextlib import ExitStack

# The record and the first bytes of a ClientHello that announces 512: the server waits for the rest.
HALF_HELLO = bytes.fromhex("16030102000100 01fc0303".replace(" ", ""))
PLAIN_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")


def context(credentials, version):
    """Of a client with a site's credentials that speaks one version alone, ciphers of any age."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["h2"])
    made.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        made.minimum_version = made.maximum_version = version
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as pem:
        pem.write(credentials["certificate"] + credentials["privateKey"])
        pem.flush()
        made.load_cert_chain(pem.name)
    return made


def handshake(connect, credentials, version):
    """`connect()` makes a TCP connection. The version agreed on; otherwise what went wrong."""
    with ExitStack() as stack:
        plain = stack.enter_context(connect())
        try:
            secured = stack.enter_context(context(credentials, version).wrap_socket(plain))
            return secured.version()
        except (ssl.SSLError, ConnectionError) as error:
            return str(error)


class HalfOpen:
    """Connections whose handshake has begun and never goes on. `connect()` makes each."""

    def __init__(self, connect, count):
        self.sockets = []
        try:
            for _ in range(count):
                self.sockets.append(connect())
                self.sockets[-1].setblocking(False)
                self.sockets[-1].send(HALF_HELLO)
        except BaseException:
            self.close()
            raise

    def still_open(self):
        """How many the server has not closed."""
        count = 0
        for sock in self.sockets:
            try:
                count += bool(sock.recv(4096))
            except BlockingIOError:
                count += 1
            except OSError:
                pass
        return count

    def close(self):
        for sock in self.sockets:
            sock.close()
