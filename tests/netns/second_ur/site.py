"""The lab with this UR in the place of urd, and what a test does with both."""

import json
import socket
import threading
from contextlib import ExitStack, closing, contextmanager

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6

from lablib import topology as t
from lablib.lab import temporary_lab
from lablib.programs import signalled_resources
from lablib.shell import wait_until

from .flow import Tier, default_seed
from .router import Router, in_namespace
from .session import NAMES, UP
from .store import tunnel_keys

SITE = t.Site(1)
LINES = ("a", "b")  # their numbers are their places
WEIGHTS = {0: 3, 1: 1}
ECHO_PORT = 7
MTU = 1500 - 36
IP_RECVTTL = 12  # not in Python 3.11's socket


class Echo:
    """On the Internet host: each datagram goes back with the TTL that it came with appended."""

    def __init__(self, namespace):
        self.sockets = [in_namespace(namespace, lambda f=family, a=address: self.open(f, a))
                        for family, address in ((socket.AF_INET, t.INET4),
                                                (socket.AF_INET6, t.INET6))]
        self.ending = False
        self.threads = [threading.Thread(target=self.serve, args=(s,)) for s in self.sockets]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def open(family, address):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.bind((address, ECHO_PORT))
        sock.settimeout(0.1)
        return sock

    def serve(self, sock):
        while not self.ending:
            try:
                data, ancillary, _, source = sock.recvmsg(2048, 64)
            except OSError:
                continue
            sock.sendto(data + ancillary[0][2][:1], source)

    def close(self):
        self.ending = True
        for thread in self.threads:
            thread.join()
        for sock in self.sockets:
            sock.close()


def provision(lab):
    objects = signalled_resources([SITE], wait_to_restore=1)
    for entry in objects:
        if "policy" in entry:
            lines = [{"line": line, "weight": WEIGHTS[n]} for n, line in enumerate(LINES)]
            entry["policy"]["classes"] = [{"name": "all", "tiers": [{"lines": lines}]}]
    path = lab.directory / "provision.ndjson"
    path.write_text("".join(json.dumps(o) + "\n" for o in objects))
    lab.router.drcli("apply", "-f", path)
    lab.router.drcli("subscriber", "enroll", SITE.name, "--out", lab.directory / "unused.json")
    lab.wait_in_sync()


def keys_of(lab):
    """{line number: {key number: key}}."""
    known = tunnel_keys(lab.router.store)
    return {n: known[tunnel(lab, line)["tunnel"]["id"]] for n, line in enumerate(LINES)}


def tunnel(lab, line):
    return lab.tunnels()[SITE.name, line]


def make_router(lab):
    keys = keys_of(lab)
    tunnels = [{"id": tunnel(lab, line)["tunnel"]["id"], "lineNumber": n, "keys": keys[n],
                "local": SITE.wan4(line)[1], "device": f"wan-{line}", "remote": t.DR_IX4,
                "mtu": MTU} for n, line in enumerate(LINES)]
    return Router(lab.net["ur1"].name, tunnels, prefixes=SITE.prefixes, tiers=[Tier(WEIGHTS)],
                  seed=default_seed(SITE.name))


@contextmanager
def lab_with_second_ur():
    with temporary_lab(bring_up=False, signalled={}) as lab:
        lab.programs.require()
        lab.create_network()
        lab.router.start_dataplane()
        lab.router.start_drd()
        provision(lab)
        with ExitStack() as stack:
            lab.ur = stack.enter_context(closing(make_router(lab)))
            stack.enter_context(closing(Echo(lab.net["inet"].name)))
            yield lab


def describe(lab):
    ur = lab.ur
    lines = [lab.describe(), f"choice {ur.choice.__dict__}", f"refused {ur.refused}"]
    for n, s in ur.sessions.items():
        lines.append(f"line {n}: {NAMES[s.state]} {s.changes[-8:]} refused {s.peer.refused} "
                     f"remote {s.remote}")
    for line in LINES:
        lines.append(json.dumps(tunnel(lab, line).get("liveness")))
    lines.append(str({k: v for k, v in lab.counters().items() if k.startswith("keepalive.")}))
    return "\n".join(lines)


def wait_up(lab, seconds=5):
    """Both ends say so of both tunnels."""
    wait_until(lambda: set(lab.ur.states().values()) == {UP}, "both sessions Up", seconds=seconds)
    wait_until(lambda: all(tunnel(lab, line)["state"] == "UP" for line in LINES),
               "both tunnels UP at the DR", seconds=seconds)


def wait_set(lab, lines, seconds=5):
    """The DR's eligible set, as its keepalives say."""
    wait_until(lambda: lab.ur.choice.lines == lines, f"the DR's set {lines:#b}", seconds=seconds)


def datagram(family, port, payload=b"second"):
    """From the site's LAN host to the echo server: an inner packet with TTL 64."""
    if family == 4:
        ip = IP(src=SITE.lan4, dst=t.INET4)
    else:
        ip = IPv6(src=SITE.lan6, dst=t.INET6)
    return bytes(ip / UDP(sport=port, dport=ECHO_PORT) / payload)


def echoes(ur, start):
    """What came back since `start`: {(family, LAN port): (line, payload, TTL at the LAN)}."""
    found = {}
    for line, packet in ur.received[start:]:
        six = packet[0] >> 4 == 6
        inner = IPv6(packet) if six else IP(packet)
        if inner.haslayer(UDP):
            found[6 if six else 4, inner[UDP].dport] = (
                line, bytes(inner[UDP].payload), inner.hlim if six else inner.ttl)
    return found


def exchange(lab, ports=range(20000, 20032)):
    """Datagrams of many flows out and back: {(family, port): (line out, line back, ...)}."""
    start = len(lab.ur.received)
    out = {(family, port): lab.ur.send(datagram(family, port))
           for port in ports for family in (4, 6)}
    wait_until(lambda: len(echoes(lab.ur, start)) == len(out), f"{len(out)} echoes", seconds=5)
    return {flow: (out[flow], *back) for flow, back in echoes(lab.ur, start).items()}
