"""Frames put on a wire as they are, and what passes by on one."""

import json
import os

from .process import Process
from .shell import wait_until

# Reads frames as hexadecimal lines; sends each from the device named.
SEND = """
import socket, sys
sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sock.bind((sys.argv[1], 0))
for line in sys.stdin:
    sock.send(bytes.fromhex(line))
"""


def inject(namespace, device, frames):
    """Sends frames (bytes) from a device, past everything that the kernel would do to them."""
    namespace.run(["/usr/bin/python3", "-c", SEND, device],
                  stdin="".join(frame.hex() + "\n" for frame in frames))


def mac(namespace, device):
    (link,) = json.loads(namespace.ip("-j", "link", "show", "dev", device).stdout)
    return link["address"]


def xdp_program(namespace, device):
    """The id of the XDP program on a device, None when there is none."""
    (link,) = json.loads(namespace.ip("-j", "-d", "link", "show", "dev", device).stdout)
    return link.get("xdp", {}).get("prog", {}).get("id")


class Capture:
    """tcpdump on a node; `with Capture(...) as capture:`, then capture.lines() or .packets()."""

    def __init__(self, lab, node, device, expression, *, direction="inout"):
        self.lab, self.node = lab, node
        stem = lab.directory / f"capture-{node}-{device}-{os.urandom(3).hex()}"
        self.file = stem.with_suffix(".pcap")
        self.log = stem.with_suffix(".log")
        self.command = lab.net[node].command(
            ["tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-B", "8192", "-Q", direction,
             "-w", self.file, "-Z", "root", *expression.split()])

    def __enter__(self):
        self.process = Process.start("tcpdump", self.command, self.log)
        self.lab.helpers.append(self.process)
        wait_until(lambda: "listening on" in self.process.output(), f"tcpdump on {self.node}")
        return self

    def __exit__(self, *_):
        self.process.stop()
        self.lab.helpers.remove(self.process)

    def lines(self):
        """tcpdump's description of each packet."""
        return self.lab.net[self.node].run(
            ["tcpdump", "-n", "-v", "-r", self.file], check=False).stdout.splitlines()

    def packets(self):
        """The frames as scapy packets."""
        import scapy.layers.inet6  # noqa: F401  (so that scapy knows what it reads)
        from scapy.utils import rdpcap

        return rdpcap(str(self.file))
