#!/usr/bin/python3
"""What the kernel's routes and addresses mean to packets: discarded prefixes, interfaces that are no
ports, a port's new MAC address, routers without an address on a port."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import Ether

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture, inject, mac
from lablib.shell import wait_until

cases = Cases()
SITE = t.Site(1)
NOWHERE = "100.65.0.1"


def answers(lab, node, address):
    return lab.ping(node, address, "-W", "1", check=False).returncode == 0


def passes(lab):
    for address in (t.INET4, t.INET6):
        wait_until(lambda a=address: answers(lab, "lan1", a), f"{address} answers the site", seconds=15)


def grows(lab, counter, node, address):
    before = lab.counters()[counter]
    wait_until(lambda: not answers(lab, node, address) and lab.counters()[counter] > before,
               f"{counter} for {address}, which does not answer", seconds=10)


@cases.case("a route that discards exactly a site's prefix discards what is sent to it: drop.blackhole")
def _(lab):
    passes(lab)
    prefix4, prefix6 = SITE.prefixes
    for kind in ("blackhole", "unreachable", "prohibit"):
        for prefix, host in ((prefix4, SITE.lan4), (prefix6, SITE.lan6)):
            lab.net["dr"].ip("route", "add", kind, prefix)
            grows(lab, "drop.blackhole", "inet", host)
            lab.net["dr"].ip("route", "del", kind, prefix)
            wait_until(lambda h=host: answers(lab, "inet", h), f"{host} answers again", seconds=5)


# Of a route of this type: what ping says in IPv4 and in IPv6; a blackhole says nothing.
TOLD = {"unreachable": ("Destination Host Unreachable", "No route"),
        "prohibit": ("Packet filtered", "Administratively prohibited"), "blackhole": (None, None)}


@cases.case("senders in the network and behind tunnels are told of an unreachable or prohibited route, "
            "and of a blackhole nothing")
def _(lab):
    passes(lab)
    prefix4, prefix6 = SITE.prefixes
    for kind, words in TOLD.items():
        for prefix, node, host, router, word in (
                (prefix4, "inet", SITE.lan4, t.DR_UP4, words[0]),
                (prefix6, "inet", SITE.lan6, t.DR_UP6, words[1]),
                (f"{NOWHERE}/32", "lan1", NOWHERE, t.DR_IX4, words[0]),
                ("2001:db8:9999::/48", "lan1", "2001:db8:9999::1", t.DR_IX6, words[1])):
            lab.net["dr"].ip("route", "add", kind, prefix)
            grows(lab, "drop.blackhole", node, host)
            said = lab.ping(node, host, "-W", "1", check=False).stdout
            expect(f"From {router} " in said and word in said if word else "From" not in said,
                   f"{kind} {prefix}: {said}")
            lab.net["dr"].ip("route", "del", kind, prefix)
    passes(lab)


@cases.case("a route over an interface that is no port is not passed over for the default: drop.no_port")
def _(lab):
    dr = lab.net["dr"]
    dr.ip("link", "add", "br9", "type", "bridge")
    dr.ip("link", "set", "br9", "up")
    dr.ip("address", "add", "10.9.0.1/24", "dev", "br9")
    dr.ip("route", "add", "100.65.0.0/16", "via", "10.9.0.2")
    with Capture(lab, "inet", "eth0", f"host {NOWHERE}", direction="in") as capture:
        grows(lab, "drop.no_port", "lan1", NOWHERE)
        seen = len(capture.packets())
        dr.ip("link", "del", "br9")
        # Now it goes by the default route, as the kernel's would.
        wait_until(lambda: not answers(lab, "lan1", NOWHERE) and len(capture.packets()) > seen,
                   "the packet by the default route", seconds=10)
    expect(seen <= 1, f"{seen} packets went by the default route")  # 1: before the route was known
    passes(lab)


FAR = "100.64.0.1"
DEAD = "192.0.2.77"


def far_route(lab, *route):
    lab.net["inet"].ip("address", "replace", f"{FAR}/32", "dev", "lo")
    lab.net["dr"].ip("route", "replace", "100.64.0.0/10", *route)


@cases.case("of a multipath route whose first next hop does not answer the second one is used")
def _(lab):
    far_route(lab, "nexthop", "via", DEAD, "nexthop", "via", t.INET4)
    wait_until(lambda: answers(lab, "lan1", FAR), f"{FAR} answers", seconds=10)
    lab.net["dr"].ip("route", "del", "100.64.0.0/10")


def objects_case(compat):
    @cases.case("of a group of next hop objects a member that is deleted is not used any more: "
                f"nexthop_compat_mode {compat}")
    def _(lab):
        dr = lab.net["dr"]
        dr.sysctl("net.ipv4.nexthop_compat_mode", compat)
        dr.ip("neighbour", "replace", DEAD, "lladdr", "02:00:00:00:06:66", "nud", "permanent", "dev", "up0")
        dr.ip("nexthop", "add", "id", 1, "via", DEAD, "dev", "up0")
        dr.ip("nexthop", "add", "id", 2, "via", t.INET4, "dev", "up0")
        dr.ip("nexthop", "add", "id", 10, "group", "1/2")
        far_route(lab, "nhid", 10)
        with Capture(lab, "inet", "eth0", f"ether dst 02:00:00:00:06:66 and host {FAR}") as capture:
            wait_until(lambda: not answers(lab, "lan1", FAR) and capture.packets(),
                       "packets to the first member", seconds=10)
        dr.ip("nexthop", "del", "id", 1)
        wait_until(lambda: answers(lab, "lan1", FAR), f"{FAR} answers", seconds=10)
        for number in (10, 2):
            dr.ip("nexthop", "del", "id", number)
        dr.ip("neighbour", "del", DEAD, "dev", "up0")


objects_case(1)
objects_case(0)


def mac_case(device, other, other_device):
    @cases.case(f"a port whose MAC address is changed while it runs carries traffic on: {device}")
    def _(lab):
        dr, before = lab.net["dr"], mac(lab.net["dr"], device)
        for address in ("02:00:00:00:00:77", before):
            dr.ip("link", "set", device, "address", address)
            for node in other:
                lab.net[node].ip("neighbour", "flush", "dev", other_device)
            passes(lab)


mac_case("up0", ["inet"], "eth0")
mac_case("ix0", ["ispa", "ispb"], "ix0")


# Flows of UDP, so many that each line has some.
FLOWS = """
import socket, sys
for _ in range(32):
    socket.socket(type=socket.SOCK_DGRAM).sendto(b"flow", (sys.argv[1], 9))
"""


@contextmanager
def without_arp(lab, *nodes):
    """These answer no ARP request, and make none."""
    for node in nodes:
        lab.net[node].run(["nft", "-f", "-"], stdin="table arp mute { chain in { "
                          "type filter hook input priority 0; policy drop; }; }\n")
    try:
        yield
    finally:
        for node in nodes:
            lab.net[node].run(["nft", "delete", "table", "arp", "mute"])


@cases.case("a gateway that the kernel has forgotten with the carrier is used as soon as that is back, "
            "before any ARP reply")
def _(lab):
    ix, dr = lab.net["ix"], lab.net["dr"]
    passes(lab)
    gateway = t.ISP_IX4["a"]
    with without_arp(lab, "ispa", "ispb"), \
            Capture(lab, "ispa", "ix0", f"udp and src host {t.DR_IX4}", direction="in") as capture:
        ix.ip("link", "set", "dr", "down")
        wait_until(lambda: gateway not in dr.run(["ip", "-4", "neigh", "show", "dev", "ix0"]).stdout,
                   "no neighbour in the kernel's table")
        before = len(capture.packets())

        def arrives():
            lab.net["inet"].run(["/usr/bin/python3", "-c", FLOWS, SITE.lan4])
            return len(capture.packets()) > before

        ix.ip("link", "set", "dr", "up")
        # The kernel's own time until it gives up an address that does not answer.
        wait_until(arrives, "packets of the DR at the gateway", seconds=3)
    passes(lab)


def many_routes(lab, verb):
    """More than there is room for (programs.CAPACITY)."""
    lab.net["dr"].run(["ip", "-force", "-batch", "-"], stdin="".join(
        f"route {verb} 10.{n // 256}.{n % 256}.0/24 via {t.INET4}\n" for n in range(40_000)))


@cases.case("routes beyond the tables' room are told in the status and as an event, cost no traffic, "
            "and come in when there is room")
def _(lab):
    def waiting():
        return int(lab.router.drcli_json("system", "status").get("routesWaiting", 0))

    def events(kind):
        return lab.router.drcli_json("event", "list", "--kind", kind)

    expect(waiting() == 0, f"{waiting()} routes wait at the start")
    many_routes(lab, "add")
    wait_until(waiting, "routes that wait", seconds=20)
    wait_until(lambda: events("routes-waiting"), "an event routes-waiting", seconds=20)
    expect("find no room" in lab.router.drcli("system", "status").stdout, "the table does not tell")
    passes(lab)
    for address in (SITE.lan4, SITE.lan6):
        lab.ping("inet", address)
    many_routes(lab, "del")
    wait_until(lambda: waiting() == 0, "no route that waits", seconds=20)
    wait_until(lambda: events("routes-installed"), "an event routes-installed", seconds=20)


@cases.case("without an address on the port, and with a private one, ICMP errors come from the "
            "loopback's")
def _(lab):
    dr, inet = lab.net["dr"], lab.net["inet"]
    frame = bytes(Ether(src=mac(inet, "eth0"), dst=mac(dr, "up0")) / IP(src=t.INET4, dst=SITE.lan4, flags="DF")
                  / UDP(sport=5000, dport=7) / bytes(1462))
    dr.ip("address", "del", f"{t.DR_UP4}/24", "dev", "up0")
    dr.ip("address", "add", f"{t.DR_UP4}/32", "dev", "lo")
    dr.ip("route", "add", f"{t.INET4}/32", "dev", "up0")
    dr.ip("neighbour", "replace", t.INET4, "lladdr", mac(inet, "eth0"), "nud", "permanent", "dev", "up0")
    # The tunnels' addresses are global too, and those of a port.
    for own in (None, "10.255.0.1/30"):
        if own:
            dr.ip("address", "add", own, "dev", "up0")

        def answer(packets):
            return [p for p in packets if p.haslayer(ICMP) and p[ICMP].type == 3 and p[ICMP].code == 4]

        with Capture(lab, "inet", "eth0", "icmp", direction="in") as capture:
            def answered():
                inject(inet, "eth0", [frame])
                return answer(capture.packets())
            wait_until(answered, "fragmentation needed", seconds=10)
            wait_until(lambda: answered()[-1][IP].src == t.DR_UP4, f"one from {t.DR_UP4}", seconds=5)
            last = answer(capture.packets())[-1]
        expect(last[IP].src == t.DR_UP4, f"it comes from {last[IP].src}")


if __name__ == "__main__":
    sys.exit(cases.run(temporary_lab, Lab.describe))
