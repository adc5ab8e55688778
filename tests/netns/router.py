#!/usr/bin/python3
"""A router, not a pipe: TTL, path MTU, fragments, MSS, in the order in which one learns them."""

import re
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture
from lablib.shell import wait_until
from lablib.traffic import FileServer, download

cases = Cases()
SITE = t.Site(1)
# Largest inner packet of each tunnel: 1500 less the outer headers.
MTUS = {1500 - 36, 1500 - 48}  # GRE-in-UDP over IPv4 on line a, GRE over IPv6 on line b
ENDS = [("lan1", t.INET4), ("lan1", t.INET6), ("inet", SITE.lan4), ("inet", SITE.lan6)]


@cases.case("ping passes in both directions, in IPv4 and IPv6")
def _(lab):
    for node, address in ENDS:
        lab.ping(node, address, count=5)


def hop(lab, node, address, limit):
    """Who answers a packet of this TTL: what a traceroute shows in line `limit`."""
    output = lab.ping(node, address, "-t", limit, check=False).stdout
    found = re.search(r"[Ff]rom (\S+?):? icmp_seq=\d+ (Time|Hop limit|Time to live) exceeded",
                      output, re.IGNORECASE)
    if not found:
        found = re.search(r"bytes from (\S+?):? icmp_seq", output)
    expect(found, f"nobody answered a ping from {node} to {address} with TTL {limit}:\n{output}")
    return found.group(1)


def trace_case(node, address, path, words):
    @cases.case(f"a traceroute from {node} to {address} shows {words}")
    def _(lab):
        for number, expected in enumerate(path, 1):
            answered = hop(lab, node, address, number)
            expect(answered in expected, f"hop {number} is {answered}, not {' or '.join(expected)}")


DR4, DR6 = {t.DR_UP4, t.DR_IX4}, {t.DR_UP6, t.DR_IX6}
# To the outside the UR's kernel answers from the address of a line.
UR4, UR6 = {SITE.wan4("a")[1], SITE.wan4("b")[1], SITE.ur4}, {SITE.wan6()[1], SITE.ur6}
trace_case("lan1", t.INET4, [{SITE.ur4}, DR4, {t.INET4}], "the UR, the DR, and the Internet host")
trace_case("lan1", t.INET6, [{SITE.ur6}, DR6, {t.INET6}], "the UR, the DR, and the Internet host")
trace_case("inet", SITE.lan4, [DR4, UR4, {SITE.lan4}], "the DR, the UR, and the LAN host")
trace_case("inet", SITE.lan6, [DR6, UR6, {SITE.lan6}], "the DR, the UR, and the LAN host")


@cases.case("a LAN host's pings of each of the DR's addresses are answered, of every size that the tunnels take")
def _(lab):
    for address in (t.DR_UP4, t.DR_IX4, t.DR_UP6, t.DR_IX6):
        for size in (0, 56, 1300):
            lab.ping("lan1", address, "-s", size, count=3)


@cases.case("a LAN host that floods the DR with pings has some of them answered, and another host all of its own")
def _(lab):
    before = lab.counters()
    lan, other, count = lab.net["lan1"], "203.0.113.14", 1000
    lan.ip("address", "add", f"{other}/29", "dev", "eth0")
    try:
        flood = lan.run(["ping", "-q", "-l", count, "-c", count, "-W", "1", t.DR_UP4], check=False).stdout
        single = lan.run(["ping", "-q", "-c", "5", "-i", "0.05", "-I", other, "-W", "1", t.DR_UP4]).stdout
    finally:
        lan.ip("address", "del", f"{other}/29", "dev", "eth0")
    answered = int(re.search(r"(\d+) received", flood).group(1))
    grown = lab.counters().get("drop.icmp_limited", 0) - before.get("drop.icmp_limited", 0)
    expect(0 < answered < count * 0.75, flood)
    expect(answered + grown == count, f"{answered} answered, {grown} over the limit")
    expect(" 5 received" in single, single)
    return f"{answered} of {count}"


def pmtu_case(node, address, source):
    family = 6 if ":" in address else 4
    headers = 48 if family == 6 else 28
    error = "packet too big" if family == 6 else "fragmentation needed"

    @cases.case(f"a full-sized IPv{family} ping from {node} that may not be fragmented is answered "
                f"with ICMP {error}, and one that fits the named MTU passes")
    def _(lab):
        output = lab.ping(node, address, "-M", "do", "-s", 1500 - headers, check=False).stdout
        found = re.search(r"[Ff]rom (\S+?):? icmp_seq=\d+ (?:Frag needed|Packet too big).*?"
                          r"mtu ?= ?(\d+)", output)
        expect(found, f"no ICMP error came back:\n{output}")
        expect(found.group(1) in source, f"the ICMP error is from {found.group(1)}")
        mtu = int(found.group(2))
        expect(mtu in MTUS, f"the ICMP error names the MTU {mtu}, not one of {MTUS}")
        # Another ping is another flow, perhaps of the other tunnel: take what fits both.
        lab.ping(node, address, "-M", "do", "-s", min(MTUS) - headers, count=3)


pmtu_case("inet", SITE.lan4, DR4)
pmtu_case("inet", SITE.lan6, DR6)
pmtu_case("lan1", t.INET4, {SITE.ur4})
pmtu_case("lan1", t.INET6, {SITE.ur6})


@cases.case("a ping of 4000 bytes passes in fragments, in both directions and families")
def _(lab):
    for node, address in ENDS:
        options = ["-s", 4000] + ([] if ":" in address else ["-M", "dont"])
        output = lab.ping(node, address, *options, count=4, check=False).stdout
        received = int(re.search(r"(\d+) received", output).group(1))
        # The first ones of a new path may be answered with "packet too big" in IPv6.
        expect(received >= (2 if ":" in address else 4),
               f"{received} of 4 came back to {node} from {address}:\n{output}")


def mss_case(client, server, address):
    family = 6 if ":" in address else 4
    largest = max(MTUS) - (60 if family == 6 else 40)

    @cases.case(f"a TCP SYN from {client} to {server} over IPv{family} arrives with an MSS that "
                f"fits the tunnels, at most {largest}")
    def _(lab):
        servers = {server: FileServer(lab, server)}
        try:
            # IPv6 has no tcp[] filter in libpcap: the SYN is picked out by scapy.
            with Capture(lab, server, "eth0", "tcp dst port 8080", direction="in") as capture:
                for _ in range(6):
                    download(lab, client, servers[server], address)
        finally:
            servers[server].stop()
        values = [dict(p["TCP"].options).get("MSS") for p in capture.packets()
                  if p.haslayer("TCP") and p["TCP"].flags == "S"]
        expect(len(values) >= 6, f"{len(values)} SYNs were seen")
        expect(all(v and v <= largest for v in values), f"MSS values: {values}")
        return f"MSS {sorted(set(values))}"


for client, server, address in (("lan1", "inet", t.INET4), ("lan1", "inet", t.INET6),
                                ("inet", "lan1", SITE.lan4), ("inet", "lan1", SITE.lan6)):
    mss_case(client, server, address)


@cases.case("a ping to an address of a pool that no subscriber has is told so, and counted")
def _(lab):
    def told(node, address, router, words):
        before = lab.counters()["drop.no_subscriber"]
        said = lab.ping(node, address, "-W", "1", count=3, check=False).stdout
        counted = lab.counters()["drop.no_subscriber"] - before
        expect(counted == 3, f"counted: {counted} of 3")
        # The answer's own way may have to wait for a neighbour.
        return said.count(f"From {router} ") == 3 and words in said

    for node, router4, router6 in (("inet", t.DR_UP4, t.DR_UP6), ("lan1", t.DR_IX4, t.DR_IX6)):
        for unused, router, words in (("203.0.113.250", router4, "Destination Host Unreachable"),
                                      ("2001:db8:50ff::1", router6, "No route")):
            wait_until(lambda n=node, u=unused, r=router, w=words: told(n, u, r, w),
                       f"\"{words}\" from {router} for {unused} at {node}")


if __name__ == "__main__":
    sys.exit(cases.run(temporary_lab, Lab.describe))
