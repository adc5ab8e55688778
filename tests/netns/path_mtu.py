#!/usr/bin/python3
"""Lines that carry less than 1500 bytes: what a tunnel that is UP says fits is what passes.

Two sites, so that there are all four kinds of tunnels: site 1 has GRE-in-UDP over IPv4 on line a and
GRE over IPv6 on line b, site 2 has GRE over IPv4 and GRE-in-UDP over IPv6. Line a first, line b when a
is down. Real dr-dataplane, drd and urd; a link emulator in each line.
"""

import re
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import path_mtu, switching, ur
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import temporary_lab
from lablib.packets import Capture
from lablib.path_mtu import WHOLE, Transfer, become, forget, headers, narrow, wait_mtu
from lablib.shell import wait_until
from lablib.traffic import FileServer, download

cases = Cases()
SITES = (1, 2)


@contextmanager
def attached_sites():
    with temporary_lab(sites=len(SITES), emulated=True,
                       signalled={"wait_to_restore": 2, "every_kind": True}) as lab:
        for site in SITES:
            switching.wait_up(lab, site=site)
        lab.servers = {node: FileServer(lab, node) for node in ("inet", "lan1", "lan2")}
        yield lab


def downloads(lab, sites=SITES):
    """A file each way in each family, for each site."""
    for number in sites:
        site, lan = lab.sites[number - 1], f"lan{number}"
        for client, server, address in ((lan, "inet", t.INET4), (lan, "inet", t.INET6),
                                        ("inet", lan, site.lan4), ("inet", lan, site.lan6)):
            download(lab, client, lab.servers[server], address, seconds=20)


@cases.case("a whole line has the whole size, at both ends, and both say how they know")
def _(lab):
    wait_mtu(lab, WHOLE, sites=SITES)
    number = lab.tunnels()["site-1", "a"]["tunnel"]["id"]
    shown = lab.router.drcli("tunnel", "get", str(number)).stdout
    expect(re.search(r"Path MTU:\s+1464 \(downlink 1464, uplink 1464, of at most 1464\), found by "
                     r"probes at \d", shown), shown)
    row = next(x for x in lab.urd_status(lab.sites[0]).splitlines()
               if re.match(r"a\s+up\s", x))
    expect(re.search(r"\s1464\s+probed \d", row), row)


for size, told in ((1492, True), (1454, False), (1400, True), (1280, False)):
    @cases.case(f"lines of {size} bytes{'' if told else ' that say nothing'}: found exactly, and files "
                "pass in both directions and families")
    def _(lab, size=size, told=told):
        become(lab, size, told, SITES)
        downloads(lab)


@cases.case("line b, over IPv6, carries files too when it is as narrow")
def _(lab):
    become(lab, 1280, True, SITES)
    for site in SITES:
        lab.line("a", site).set(cut="all")
    try:
        for site in SITES:
            ur.wait_carries(lab, "b", site=site)
        downloads(lab)
    finally:
        for site in SITES:
            lab.line("a", site).set(cut=False)
    for site in SITES:
        ur.wait_carries(lab, "a", site=site, seconds=30)


@cases.case("a packet too large for its line earns an ICMP error with the tunnel's MTU at both ends")
def _(lab):
    become(lab, 1400, False, SITES)
    for number in SITES:
        site, inner = lab.sites[number - 1], 1400 - headers(lab, "a", number)
        for node, family, address in ((f"lan{number}", 4, t.INET4), ("inet", 4, site.lan4),
                                      (f"lan{number}", 6, t.INET6), ("inet", 6, site.lan6)):
            most = inner - (28 if family == 4 else 48)
            lab.ping(node, address, "-M", "do", "-s", str(most))
            refused = lab.ping(node, address, "-M", "do", "-s", str(most + 1), check=False)
            expect(re.search(rf"mtu ?= ?{inner}\b", refused.stdout + refused.stderr),
                   f"{node} to {address}: {refused.stdout}{refused.stderr}")


def too_big(lab, site, line, to_router, mtu):
    """An ICMP error from the line's ISP about a packet of the tunnel, of 1500 bytes, that nobody sent."""
    tunnel = ur.tunnel(lab, line, site)
    ours, theirs = tunnel["remote"], lab.sites[site - 1].wan4(line)[1]
    if ":" in ours:
        theirs = lab.sites[site - 1].wan6()[1]
    source, destination = (theirs, ours) if to_router else (ours, theirs)
    lab.net[f"isp{line}"].run(["/usr/bin/python3", "-c", TOO_BIG, source, destination,
                               str(tunnel["id"]), str(int(tunnel["encapsulation"] == "GRE_UDP")),
                               str(mtu)])


TOO_BIG = """
import sys
from scapy.all import GRE, ICMP, IP, UDP, IPv6, Raw, send
from scapy.layers.inet6 import ICMPv6PacketTooBig
source, destination, key, udp, mtu = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
v6 = ":" in source
about = (IPv6(src=source, dst=destination) if v6
         else IP(src=source, dst=destination, flags="DF", len=1500))
if udp:
    about /= UDP(sport=4754, dport=4754)
about /= GRE(key_present=1, key=key, proto=0x0800) / Raw(bytes(200))
about = bytes(about)
if v6:
    about = about[:4] + (1460).to_bytes(2, "big") + about[6:]
send(IPv6(dst=source) / ICMPv6PacketTooBig(mtu=mtu) / Raw(about) if v6
     else IP(dst=source) / ICMP(type=3, code=4, nexthopmtu=mtu) / Raw(about), verbose=False)
"""


@cases.case("an ICMP error alone has either end look at once, and a whole line stays whole")
def _(lab):
    become(lab, WHOLE, False, SITES)
    for site in SITES:
        for line in switching.LINES:
            narrow(lab, 1400, False, (line,), (site,))
            both = 1400 - headers(lab, line, site)
            # Each end in turn finds it out; what one has found is the tunnel's MTU at both.
            for to_router in (True, False):
                too_big(lab, site, line, to_router, 1400)
                wait_until(lambda r=to_router: own_mtu(lab, line, site, r) == both,
                           f"MTU {both} in the direction of site {site}, line {line}", seconds=5)
    become(lab, WHOLE, False, SITES)
    too_big(lab, 1, "a", True, 1400)
    too_big(lab, 1, "a", False, 1400)
    # Answered: by then what the errors have caused has been decided.
    time.sleep(2)
    expect(path_mtu.found(lab, "a") == (1464, 1464), path_mtu.found(lab, "a"))


def own_mtu(lab, line, site, router):
    """What one end's own probes have found."""
    if router:
        return ur.tunnel(lab, line, site)["uplinkMtu"]
    return lab.tunnels()[f"site-{site}", line]["liveness"].get("downlinkPathMtu")


def shrinks(lab, site, source, destination, address, told, delay=0):
    """The line that carries a transfer becomes narrower; how long until both ends know, in s. `delay`: it
    becomes longer before, by so many ms each way."""
    become(lab, WHOLE, told, (site,))
    with Transfer(lab, source, destination, address) as transfer:
        transfer.flows(time.monotonic_ns())
        carrying = next(line for line in switching.LINES if ur.tunnel(lab, line, site)["carries"])
        lab.line(carrying, site).set(delay=delay)
        wait_until(lambda: ur.tunnel(lab, carrying, site)["rttMs"] >= 1.5 * delay, "the round trip grown")
        began = time.monotonic_ns()
        narrow(lab, 1400, told, sites=(site,))
        wait_mtu(lab, 1400, (carrying,), (site,), seconds=5, interval=0.02)
        took = time.monotonic_ns() - began
        transfer.flows(time.monotonic_ns(), seconds=10)
    return took / 1e9


for told in (True, False):
    @cases.case("a line that shrinks in the middle of a download is found within 5 s, "
                + ("with" if told else "without") + " ICMP, whichever way the download goes")
    def _(lab, told=told):
        took = []
        for number in SITES:
            site, lan = lab.sites[number - 1], f"lan{number}"
            took += [shrinks(lab, number, "inet", lan, site.lan4, told),
                     shrinks(lab, number, lan, "inet", t.INET6, told)]
        return ", ".join(f"{s:.1f} s" for s in took)


@cases.case("a line whose round trip grew by 80 ms just before it shrinks is found within 5 s too")
def _(lab):
    took = []
    site = lab.sites[0]
    try:
        for told in (True, False):
            took += [shrinks(lab, 1, "inet", "lan1", site.lan4, told, delay=40),
                     shrinks(lab, 1, "lan1", "inet", t.INET6, told, delay=40)]
    finally:
        for line in switching.LINES:
            lab.line(line, 1).set(delay=0)
    return ", ".join(f"{s:.1f} s" for s in took)


@cases.case("a line whose ISP fragments what says not to is found as narrow as one that drops")
def _(lab):
    splits = {"bytes": 1400, "icmp": False, "ignore_df": True}
    before = lab.counters()["drop.outer_fragment"]
    for ends in (("lan1", "inet", t.INET4), ("inet", "lan1", lab.sites[0].lan4)):
        become(lab, WHOLE, False, SITES)
        with Transfer(lab, *ends) as transfer:
            transfer.flows(time.monotonic_ns())
            for site in SITES:
                lab.line("a", site).set(mtu=splits)
            wait_mtu(lab, 1400, ("a",), seconds=5)
            transfer.flows(time.monotonic_ns(), seconds=10)
    expect(lab.counters()["drop.outer_fragment"] > before, "no fragment came to the DR")
    path_mtu.look_again(lab, SITES)
    wait_mtu(lab, 1400, ("a",), SITES)
    forget(lab, SITES)
    downloads(lab)
    narrow(lab, WHOLE, False, sites=SITES)


@cases.case("the MTU of the router's own device counts, and its change too")
def _(lab):
    become(lab, WHOLE, False, SITES)
    for size in (1492, 1454, 1400, 1280):
        for site in SITES:
            lab.net[f"ur{site}"].ip("link", "set", "wan-a", "mtu", str(size))
        forget(lab, SITES)
        try:
            wait_mtu(lab, size, ("a",), SITES)
            downloads(lab)
        finally:
            for site in SITES:
                lab.net[f"ur{site}"].ip("link", "set", "wan-a", "mtu", str(WHOLE))
    wait_mtu(lab, WHOLE, ("a",), SITES)


@cases.case("the MTU of the DR's own port counts, and its change in the middle of a download too")
def _(lab):
    become(lab, WHOLE, False, SITES)
    dr, site = lab.net["dr"], lab.sites[0]
    try:
        with Transfer(lab, "inet", "lan1", site.lan4) as transfer:
            transfer.flows(time.monotonic_ns())
            dr.ip("link", "set", "ix0", "mtu", "1400")
            wait_mtu(lab, 1400, ("a",), (1,), seconds=5)
            transfer.flows(time.monotonic_ns(), seconds=10)
        path_mtu.look_again(lab, SITES)
        wait_mtu(lab, 1400, sites=SITES)
        downloads(lab)
    finally:
        dr.ip("link", "set", "ix0", "mtu", str(WHOLE))


@cases.case("on lines of 1280 bytes an IPv6 packet of 1280 is counted as too large, and its sender is told the "
            "tunnel's MTU, by the UR as by the DR; one of that size passes")
def _(lab):
    become(lab, 1280, False)
    site, mtu = lab.sites[0], ur.status(lab)["mtu"]
    expect(mtu < 1280, f"{mtu}")

    def counted():
        return ur.status(lab)["counters"]["drop.too_large"]

    before = counted()
    for node, to, router in (("lan1", t.INET6, site.ur6), ("inet", site.lan6, None)):
        refused = lab.ping(node, to, "-M", "do", "-s", str(1280 - 48), "-W", "1", check=False)
        expect(re.search(rf"From {router or ''}.*mtu ?= ?{mtu}\b", refused.stdout + refused.stderr),
               f"{node} is not told {mtu}:\n{refused.stdout}{refused.stderr}")
        lab.ping(node, to, "-M", "do", "-s", str(mtu - 48))
    expect(counted() == before + 1, f"{before} -> {counted()}")
    with Capture(lab, "lan1", "eth0", "icmp6[icmp6type] == 2") as capture:
        lab.ping("lan1", t.INET6, "-M", "do", "-s", str(1280 - 48), "-W", "1", check=False)
        wait_until(capture.packets, "the error")
    error = capture.packets()[0]["IPv6"]
    check = error["ICMPv6PacketTooBig"].cksum
    expect(error.src == site.ur6 and len(error) == 1280, f"{error!r}")
    del error["ICMPv6PacketTooBig"].cksum
    expect(type(error)(bytes(error))["ICMPv6PacketTooBig"].cksum == check, "its checksum is wrong")
    become(lab, WHOLE, False)


if __name__ == "__main__":
    sys.exit(cases.run(attached_sites, lambda lab: lab.describe()))
