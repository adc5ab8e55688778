#!/usr/bin/python3
"""Default deny: what may not pass is dropped under its name; and what the kernel keeps."""

import sys
from contextlib import ExitStack
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture, inject, mac
from lablib.shell import LabError, wait_until
from lablib.traffic import FileServer, download

cases = Cases()
SITE, OTHER = t.Site(1), t.Site(2)
COUNT = 20


def inner4(source=SITE.lan4, destination=t.INET4):
    return IP(src=source, dst=destination) / UDP(sport=5000, dport=7) / b"spoof"


def over_line_a(lab, inner, *, key=None, source=None, site=SITE):
    """A frame as it leaves the UR on line a: GRE-in-UDP over IPv4."""
    key = lab.tunnels()[(SITE.name, "a")]["tunnel"]["id"] if key is None else key
    frame = (Ether(src=mac(lab.net[f"ur{site.number}"], "wan-a"),
                   dst=mac(lab.net["ispa"], f"ur{site.number}"))
             / IP(src=source or site.wan4("a")[1], dst=t.DR_IX4)
             / UDP(sport=50000, dport=4754, chksum=0)
             / GRE(key_present=1, key=key, proto=0x86DD if inner.haslayer(IPv6) else 0x0800)
             / inner)
    return bytes(frame)


def dropped(lab, counter, frame, *, node="ur1", device="wan-a"):
    """COUNT times the frame: all counted under `counter`, none seen on the Internet side."""
    before = lab.counters()[counter]
    with Capture(lab, "inet", "eth0", "udp and dst port 7", direction="in") as capture:
        inject(lab.net[node], device, [frame] * COUNT)
        try:
            wait_until(lambda: lab.counters()[counter] >= before + COUNT, counter, seconds=5)
        except LabError as error:
            counted = lab.counters()[counter] - before
            raise LabError(f"{counter} counted {counted} of {COUNT}") from error
    expect(not capture.packets(), f"{len(capture.packets())} packets came out all the same")
    expect(lab.counters()[counter] == before + COUNT, f"{counter} counted too many")


@cases.case("a packet of the tunnel's own format, key and source passes (so that what follows is "
            "dropped for the reason given)")
def _(lab):
    before = lab.counters()["forwarded.uplink"]
    with Capture(lab, "inet", "eth0", "udp and dst port 7", direction="in") as capture:
        inject(lab.net["ur1"], "wan-a", [over_line_a(lab, inner4())] * COUNT)
        wait_until(lambda: lab.counters()["forwarded.uplink"] >= before + COUNT,
                   "forwarded.uplink", seconds=5)
        wait_until(lambda: len(capture.packets()) >= COUNT, "the packets on the Internet side",
                   seconds=5)


@cases.case("an inner IPv4 source that is not the subscriber's is dropped: drop.inner_source")
def _(lab):
    dropped(lab, "drop.inner_source", over_line_a(lab, inner4(source="203.0.113.250")))


@cases.case("an inner source that is another subscriber's is dropped: drop.inner_source")
def _(lab):
    dropped(lab, "drop.inner_source", over_line_a(lab, inner4(source=OTHER.lan4)))


@cases.case("an inner IPv6 source that is not the subscriber's is dropped: drop.inner_source")
def _(lab):
    inner = IPv6(src="2001:db8:5000:900::1", dst=t.INET6) / UDP(sport=5000, dport=7) / b"spoof"
    dropped(lab, "drop.inner_source", over_line_a(lab, inner))


@cases.case("a key that no tunnel has is dropped: drop.unknown_tunnel")
def _(lab):
    ids = [tunnel["tunnel"]["id"] for tunnel in lab.tunnels().values()]
    slot = next(n for n in range(1, 100) if n not in {i & 0xFFFFFF for i in ids})
    dropped(lab, "drop.unknown_tunnel",
            over_line_a(lab, inner4(), key=(ids[0] & 0xFF000000) | slot))


@cases.case("a key of another generation is dropped: drop.stale_generation")
def _(lab):
    key = lab.tunnels()[(SITE.name, "a")]["tunnel"]["id"]
    dropped(lab, "drop.stale_generation", over_line_a(lab, inner4(), key=key ^ 0x80000000))


@cases.case("the right key from another site's line is dropped: drop.outer_source")
def _(lab):
    dropped(lab, "drop.outer_source", over_line_a(lab, inner4(), site=OTHER), node="ur2")


@cases.case("the right key in the other encapsulation is dropped: drop.encap_mismatch")
def _(lab):
    key = lab.tunnels()[(SITE.name, "b")]["tunnel"]["id"]
    dropped(lab, "drop.encap_mismatch", over_line_a(lab, inner4(), key=key))


@cases.case("a tunnel packet inside a tunnel, for the DR's own address, is dropped: "
            "drop.nested_tunnel")
def _(lab):
    inner = (IP(src=SITE.lan4, dst=t.DR_IX4) / UDP(sport=50000, dport=4754, chksum=0)
             / GRE(key_present=1, key=lab.tunnels()[(OTHER.name, "a")]["tunnel"]["id"]) / inner4())
    dropped(lab, "drop.nested_tunnel", over_line_a(lab, inner))


@cases.case("what a site sends to the DR's own address through its tunnel is dropped: "
            "drop.to_router")
def _(lab):
    dropped(lab, "drop.to_router", over_line_a(lab, inner4(destination=t.DR_IX4)))


def kernel_refused(lab):
    """IPv4 packets that the DR's kernel had for addresses that are not its own, and did not forward."""
    lines = [line.split() for line in lab.net["dr"].run(["cat", "/proc/net/snmp"]).stdout.splitlines()
             if line.startswith("Ip:")]
    return int(dict(zip(*lines))["InAddrErrors"])


@cases.case("a packet from the network for neither a pool nor the DR reaches the DR's kernel, which "
            "does not forward it: nothing leaves on any link")
def _(lab):
    inet, dr = lab.net["inet"], lab.net["dr"]
    frame = bytes(Ether(src=mac(inet, "eth0"), dst=mac(dr, "up0"))
                  / IP(src=t.INET4, dst="198.18.0.1") / UDP(sport=5000, dport=7) / b"transit")
    before = kernel_refused(lab)
    with ExitStack() as open_ones:
        captures = [open_ones.enter_context(Capture(lab, node, device, "udp and dst port 7", direction="in"))
                    for node, device in (("ispa", "ix0"), ("ispb", "ix0"), ("inet", "any"))]
        inject(inet, "eth0", [frame] * COUNT)
        wait_until(lambda: kernel_refused(lab) >= before + COUNT,
                   "the DR's kernel to have refused the packets", seconds=5)
        lab.ping("inet", t.DR_UP4)  # what was handled before this has left by now
    for capture in captures:
        expect(not capture.packets(), f"{len(capture.packets())} packets went through")


@cases.case("the DR's kernel keeps its services: TCP to its own IPv4 and IPv6 addresses, both ways")
def _(lab):
    server = FileServer(lab, "dr")
    back = FileServer(lab, "inet")
    try:
        for node, address in (("inet", t.DR_UP4), ("inet", t.DR_UP6), ("ispa", t.DR_IX4),
                              ("ispb", t.DR_IX6)):
            download(lab, node, server, address)
        for address in (t.INET4, t.INET6):
            download(lab, "dr", back, address)
    finally:
        server.stop()
        back.stop()


@cases.case("ARP and neighbour discovery are answered by the DR's kernel, and forwarding goes on "
            "after the neighbours were forgotten on both sides")
def _(lab):
    for node in ("inet", "dr", "ispa", "ispb"):
        for family in ("-4", "-6"):
            lab.net[node].ip(family, "neighbour", "flush", "all")
    for node, address in (("inet", t.DR_UP4), ("inet", t.DR_UP6), ("ispa", t.DR_IX4),
                          ("ispb", t.DR_IX6)):
        lab.ping(node, address)
    for address in (t.INET4, t.INET6):
        output = lab.ping("lan1", address, count=10, check=False).stdout
        # The first packets may be lost while an address is resolved.
        expect(" 0 received" not in output, output)
        lab.ping("lan1", address, count=3)


if __name__ == "__main__":
    sys.exit(cases.run(lambda: temporary_lab(sites=2), Lab.describe))
