"""Lines that carry less than 1500 bytes, in a lab with `emulated=True` and `signalled=`, and what both
ends of the tunnels over them find out."""

import struct

from . import switching, ur
from .process import Process
from .shell import LabError, wait_until

WHOLE = 1500
PORT = 9009


def narrow(lab, size, icmp, lines=switching.LINES, sites=(1,)):
    """Packets of more than `size` bytes do not pass; with `icmp` their senders are told."""
    for site in sites:
        for line in lines:
            lab.line(line, site).set(
                mtu=None if size == WHOLE else {"bytes": size, "icmp": icmp})


def headers(lab, line, site=1):
    """Bytes of the outer headers of the tunnel over this line."""
    tunnel = ur.tunnel(lab, line, site)
    return (48 if ":" in tunnel["remote"] else 28) + (8 if tunnel["encapsulation"] == "GRE_UDP" else 0)


def found(lab, line, site=1):
    """(UR, DR): the tunnel's MTU as each end has it."""
    dr = lab.tunnels()[f"site-{site}", line]["liveness"].get("pathMtu")
    return ur.tunnel(lab, line, site)["pathMtu"], dr


def wait_mtu(lab, size, lines=switching.LINES, sites=(1,), seconds=10, interval=0.1):
    """Until both ends of the tunnels use exactly what a line of this size carries."""
    wanted = {(site, line): size - headers(lab, line, site) for site in sites for line in lines}

    def there():
        return all(found(lab, line, site) == (mtu, mtu) for (site, line), mtu in wanted.items())
    try:
        wait_until(there, f"path MTU {wanted} of (site, line)", seconds=seconds, interval=interval)
    except LabError as error:
        now = {(site, line): found(lab, line, site) for site, line in wanted}
        raise LabError(f"{error}; UR and DR have {now}") from error


def look_again(lab, sites=(1,)):
    """Starts the sites' routers again: coming up, a tunnel looks for its full size, and a router that
    says that it goes down is no flap."""
    for number in sites:
        site = lab.sites[number - 1]
        lab.urds[site.name].stop()
        lab.start_urd(site)
    for site in sites:
        switching.wait_up(lab, site=site)


def forget(lab, sites=(1,)):
    """The hosts forget what ICMP errors have told them of path MTUs."""
    for node in ("inet", *(f"lan{site}" for site in sites)):
        for family in ("-4", "-6"):
            lab.net[node].ip(family, "route", "flush", "cache")


def become(lab, size, icmp, sites=(1,)):
    """The lines have this size, both ends know, and the hosts know nothing."""
    narrow(lab, size, icmp, sites=sites)
    forget(lab, sites)
    look_again(lab, sites)
    wait_mtu(lab, size, sites=sites)


class Transfer:
    """One TCP connection that sends all the time, from `source` to `address` on `destination`.

    A context manager; `moments()`: when bytes arrived, CLOCK_MONOTONIC in ns, at most one in 5 ms.
    """

    def __init__(self, lab, source, destination, address):
        self.path = lab.directory / f"transfer-{destination}.bin"
        self.path.touch()
        self.receiver = Process.start(
            f"receiver on {destination}",
            lab.net[destination].command(["/usr/bin/python3", "-c", RECEIVE, PORT, self.path]),
            lab.directory / f"transfer-{destination}.log", ready="listening")
        try:
            self.sender = Process.start(
                f"sender on {source}",
                lab.net[source].command(["/usr/bin/python3", "-c", SEND, address, PORT]),
                lab.directory / f"transfer-{source}.log", ready="connected")
        except BaseException:
            self.receiver.stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sender.stop()
        self.receiver.stop()
        self.path.unlink(missing_ok=True)

    def moments(self):
        content = self.path.read_bytes()
        content = content[:len(content) // 8 * 8]
        return [moment for (moment,) in struct.iter_unpack("<Q", content)]

    def stalled(self, since):
        """Longest time in ns without a byte, after this moment."""
        times = [since, *(m for m in self.moments() if m > since)]
        return max((b - a for a, b in zip(times, times[1:])), default=0)

    def flows(self, since, seconds=30):
        """Waits until bytes have arrived after this moment."""
        wait_until(lambda: (self.moments() or [0])[-1] > since, "bytes of the transfer",
                   seconds=seconds, interval=0.01)


RECEIVE = """
import socket, struct, sys, time
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print("listening", flush=True)
peer, _ = server.accept()
last = 0
with open(sys.argv[2], "wb", buffering=0) as out:
    while peer.recv(65536):
        now = time.monotonic_ns()
        if now - last >= 5_000_000:
            out.write(struct.pack("<Q", now))
            last = now
"""
SEND = """
import socket, sys
peer = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10)
peer.settimeout(None)
print("connected", flush=True)
while True:
    peer.sendall(bytes(65536))
"""
