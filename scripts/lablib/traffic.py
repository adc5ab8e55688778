"""Downloads with curl through the tunnels, checksums compared."""

import hashlib
import os

from .process import Process
from .shell import LabError, wait_until

HTTP_PORT = 8080


class FileServer:
    """`python3 -m http.server` on a node, IPv4 and IPv6, with one file of random bytes."""

    def __init__(self, lab, node, *, mebibytes=1):
        self.lab = lab
        self.node = node
        folder = lab.directory / f"www-{node}"
        folder.mkdir(exist_ok=True)
        content = os.urandom(mebibytes << 20)
        (folder / "file.bin").write_bytes(content)
        self.digest = hashlib.sha256(content).hexdigest()
        self.process = Process.start(
            f"http server on {node}",
            lab.net[node].command(["/usr/bin/python3", "-m", "http.server", HTTP_PORT,
                                   "--bind", "::", "--directory", folder]),
            lab.directory / f"http-{node}.log")
        lab.helpers.append(self.process)
        wait_until(lambda: lab.net[node].run(["curl", "-s", "-o", "/dev/null", self.url("::1")],
                                             check=False).returncode == 0,
                   f"an answer of the http server on {node}")

    @staticmethod
    def url(address):
        host = f"[{address}]" if ":" in address else address
        return f"http://{host}:{HTTP_PORT}/file.bin"

    def stop(self):
        self.process.stop()
        self.lab.helpers.remove(self.process)


def download(lab, node, server, address, *, seconds=60):
    """One download, a flow of its own; LabError when it fails or a byte is wrong."""
    done = lab.net[node].run(
        ["curl", "-sS", "--fail", "--connect-timeout", "5", "--max-time", seconds,
         server.url(address)], check=False, text=False, timeout=seconds + 10)
    if done.returncode != 0:
        raise LabError(f"curl on {node} from {address} failed: "
                       + done.stderr.decode(errors="replace").strip())
    digest = hashlib.sha256(done.stdout).hexdigest()
    if digest != server.digest:
        raise LabError(f"{node} downloaded {len(done.stdout)} bytes from {address}, and they are "
                       f"not the file: SHA-256 {digest} instead of {server.digest}")
    return len(done.stdout)


def upload(lab, node, server_node, address, *, mebibytes=4, seconds=60):
    """Bytes from `node` to a listening socket at `server_node`, checksums compared."""
    content = os.urandom(mebibytes << 20)
    path = lab.directory / f"upload-{node}.bin"
    path.write_bytes(content)
    receiver = Process.start(
        f"receiver on {server_node}",
        lab.net[server_node].command(["/usr/bin/python3", "-c", RECEIVE, HTTP_PORT + 1]),
        lab.directory / f"receiver-{server_node}.log", ready="listening")
    try:
        offset = os.path.getsize(receiver.log)
        host = f"[{address}]" if ":" in address else address
        lab.net[node].run(["curl", "-sS", "--fail", "--max-time", seconds, "-H", "Expect:",
                           "-T", path, f"http://{host}:{HTTP_PORT + 1}/file"],
                          timeout=seconds + 10)
        digest = wait_until(lambda: receiver.output(offset).strip(), "the receiver's checksum")
    finally:
        receiver.stop()
        path.unlink()
    if digest != hashlib.sha256(content).hexdigest():
        raise LabError(f"what {server_node} received from {node} at {address} is not what was "
                       "sent: the SHA-256 differ")


# An HTTP server that takes PUTs and prints each body's SHA-256.
RECEIVE = """
import hashlib, http.server, socket, sys
class Server(http.server.HTTPServer):
    address_family = socket.AF_INET6
class Put(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        left, digest = int(self.headers["Content-Length"]), hashlib.sha256()
        while left:
            data = self.rfile.read(min(left, 65536))
            if not data:
                return
            digest.update(data)
            left -= len(data)
        self.send_response(201)
        self.end_headers()
        print(digest.hexdigest(), flush=True)
    def log_message(self, *_):
        pass
server = Server(("::", int(sys.argv[1])), Put)
print("listening", flush=True)
server.serve_forever()
"""
