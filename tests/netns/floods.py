#!/usr/bin/python3
"""Strangers who send all they can: no tunnel comes up late, no answer that others need is missing.

Real dr-dataplane, drd and urd. Two sites with two lines each, that attach; the strangers know the
tunnels' ids, and all addresses and ports.
"""

import random
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Ether

from lablib import switching
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.flood import Flood
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture, inject, mac
from lablib.shell import wait_until

cases = Cases()
RATE = 20_000
ERRORS = 40
# What a flood may add to the time that something takes without one; and how long it lasts.
MAY_ADD = 1.0
GIVE_UP = 15


@contextmanager
def attached_sites():
    random.seed(1)
    with temporary_lab(sites=2, signalled={"wait_to_restore": 2}) as lab:
        for site in lab.sites:
            switching.wait_up(lab, site=site.number)
        lab.ids = {key: s["tunnel"]["id"] for key, s in lab.tunnels().items()}
        yield lab


def keepalive():
    """As good as a guess can be: everything but salt, counter and tag."""
    return bytes([0x11, 0, 0, 88, 1, 0x40, 3, 0]) + random.randbytes(80)


def anybody():
    return f"{random.randrange(1, 224)}.{random.randrange(256)}.{random.randrange(256)}.9"


def forged(ether, ids, *, source=None, destination=t.DR_IX4, count=512):
    """Frames; each third is from `source`, the others are from anybody."""
    return [bytes(Ether(src=ether[0], dst=ether[1])
                  / IP(src=source if source and n % 3 == 0 else anybody(), dst=destination)
                  / UDP(sport=random.randrange(1024, 65536) if n % 2 else 4754, dport=4754, chksum=0)
                  / GRE(key_present=1, key=ids[n % len(ids)], proto=0x88B5) / keepalive())
            for n in range(count)]


def towards_dr(lab):
    return mac(lab.net["ispa"], "ix0"), mac(lab.net["dr"], "ix0")


def came_up(lab, start, sites):
    """Seconds from start() to the tunnels of these sites up, at both ends."""
    def all_up():
        return (all(s.get("state") == "UP" for s in lab.tunnels().values())
                and all(set(switching.states(lab, site.number).values()) == {"up"}
                        for site in sites))

    begin = time.monotonic()
    start()
    wait_until(all_up, "the tunnels up", seconds=GIVE_UP)
    return time.monotonic() - begin


def restart_urd(lab):
    site = lab.sites[0]
    lab.urds[site.name].kill()
    lab.start_urd(site)


def restart_dataplane(lab):
    lab.router.dataplane.kill()
    lab.router.start_dataplane()


def not_delayed(lab, restart, sites, flood, arrived):
    """Like without the flood, and a second at most; arrived(): what of it the other end has seen."""
    quiet = max(came_up(lab, lambda: restart(lab), sites) for _ in range(2))
    with flood:
        wait_until(lambda: arrived() > RATE / 10, "the flood arrives")
        before, begin = arrived(), time.monotonic()
        took = came_up(lab, lambda: restart(lab), sites)
        after = arrived()
        rate = (after if after < before else after - before) / (time.monotonic() - begin)
    expect(took <= quiet + MAY_ADD, f"{took:.2f} s under the flood, {quiet:.2f} s without")
    return f"{took:.2f} s under {rate:,.0f} a second, {quiet:.2f} s without"


def refused(lab):
    counters = lab.counters()
    return sum(counters.get(f"drop.keepalive{end}", 0) for end in ("", "_rate", "_tag"))


@cases.case("a site's router that is restarted under 20,000 guessed keepalives a second for its "
            "tunnel, from everywhere and from its own address, is up as without them")
def _(lab):
    site = lab.sites[0]
    frames = forged(towards_dr(lab), [lab.ids[site.name, "a"]], source=site.wan4("a")[1])
    return not_delayed(lab, restart_urd, [site], Flood(lab, "ispa", "ix0", frames, rate=RATE),
                       lambda: refused(lab))


@cases.case("dr-dataplane that is restarted under 20,000 guessed keepalives a second for all "
            "tunnels has all of them up as without them")
def _(lab):
    frames = forged(towards_dr(lab), list(lab.ids.values()))
    return not_delayed(lab, restart_dataplane, lab.sites,
                       Flood(lab, "ispa", "ix0", frames, rate=RATE), lambda: refused(lab))


@cases.case("the same flood towards the site's end, in the DR's name, delays its router no more")
def _(lab):
    site = lab.sites[0]
    ether = (mac(lab.net["ispa"], "ur1"), mac(lab.net["ur1"], "wan-a"))
    # The one in three that names the DR is 20,000 a second.
    frames = forged(ether, [lab.ids[site.name, "a"]], source=t.DR_IX4,
                    destination=site.wan4("a")[1])[::3]

    def arrived():
        path = "/sys/class/net/wan-a/statistics/rx_packets"
        return int(lab.net["ur1"].run(["cat", path]).stdout)

    return not_delayed(lab, restart_urd, [site], Flood(lab, "ispa", "ur1", frames, rate=RATE),
                       arrived)


def from_internet(lab, *packets):
    ether = Ether(src=mac(lab.net["inet"], "eth0"), dst=mac(lab.net["dr"], "up0"))
    return [bytes(ether / packet) for packet in packets]


def answered(lab, source, destination, flood):
    """How many of ERRORS packets that are too big are answered, under a flood."""
    big = from_internet(lab, IP(src=source, dst=destination, flags="DF") / UDP(dport=7)
                        / bytes(1460))
    with Flood(lab, "inet", "eth0", flood, rate=8_000):
        known = lab.counters()["drop.icmp_limited"]
        wait_until(lambda: lab.counters()["drop.icmp_limited"] > known + 1000, "the flood arrives")
        with Capture(lab, "inet", "eth0", f"icmp[0] == 3 and icmp[1] == 4 and dst host {source}",
                     direction="in") as capture:
            inject(lab.net["inet"], "eth0", big * ERRORS)
            wait_until(lambda: len(capture.lines()) > 0, "an answer", seconds=5)
            last = [-1]

            def quiet():
                now = len(capture.packets())
                same, last[0] = now == last[0], now
                return same
            wait_until(quiet, "no more answers", interval=0.3)
            return last[0]


@cases.case(f"under 8,000 packets a second whose TTL has run out, {ERRORS} of {ERRORS} packets that "
            "are too big are answered: same host and site, other host, other site")
def _(lab):
    first, second = lab.sites
    flood = from_internet(lab, *(IP(src=t.INET4, dst=first.lan4, ttl=1) / UDP(dport=9) / bytes(n)
                                 for n in range(64)))
    for source, site in ((t.INET4, first), ("192.0.78.50", first), (t.INET4, second)):
        count = answered(lab, source, site.lan4, flood)
        expect(count == ERRORS, f"{count} of {ERRORS} answered: {source} to {site.name}")


@cases.case(f"under 8,000 packets a second that are too big, from one network, {ERRORS} of {ERRORS} "
            "from another network are answered, to the same site and to another")
def _(lab):
    first, second = lab.sites
    flood = from_internet(lab, *(IP(src="192.0.77.5", dst=first.lan4, flags="DF") / UDP(dport=9)
                                 / bytes(1400 + n) for n in range(64)))
    for site in (first, second):
        count = answered(lab, t.INET4, site.lan4, flood)
        expect(count == ERRORS, f"{count} of {ERRORS} answered, to {site.name}")


@cases.case("a site that scans the uplink's network does not keep another's traffic waiting for a "
            "gateway whose neighbour entry is lost, and fills no table of the kernel")
def _(lab):
    first, second = lab.sites
    ether = Ether(src=mac(lab.net["lan1"], "eth0"), dst=mac(lab.net["ur1"], "lan0"))
    addresses = [IP(src=first.lan4, dst=f"192.0.2.{3 + n % 250}") for n in range(500)]
    addresses += [IPv6(src=first.lan6, dst=f"2001:db8:f::{random.randrange(1 << 16):x}:{n:x}")
                  for n in range(2000)]
    frames = [bytes(ether / address / UDP(dport=9)) for address in addresses]
    random.shuffle(frames)
    dr = lab.net["dr"]
    took = []
    with Flood(lab, "lan1", "eth0", frames, rate=3_000):
        known = lab.counters()["drop.no_neighbour"]
        wait_until(lambda: lab.counters()["drop.no_neighbour"] > known + 20_000, "the scan arrives",
                   seconds=30)
        entries = len(dr.ip("-6", "neigh", "show", "nud", "all", "dev", "up0").stdout.splitlines())
        for gateway, address in ((t.INET4, t.INET4), (t.INET6, t.INET6)):
            for _ in range(3):
                dr.run(["ip", "neigh", "del", gateway, "dev", "up0"], check=False)
                begin = time.monotonic()
                wait_until(lambda a=address: lab.ping("lan2", a, "-W", "0.1", check=False)
                           .returncode == 0, f"an answer of {address}", seconds=GIVE_UP)
                took.append(time.monotonic() - begin)
    expect(entries < 512, f"{entries} entries in the kernel's table of IPv6 neighbours")
    expect(max(took) < MAY_ADD, f"seconds without an answer: {[round(x, 2) for x in took]}")
    return f"{entries} entries; at most {max(took):.2f} s without an answer"


if __name__ == "__main__":
    sys.exit(cases.run(attached_sites, Lab.describe))
