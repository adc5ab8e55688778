#!/usr/bin/python3
"""What somebody outside sends to both ends of a tunnel: errors, misplaced data, replays, floods.

Line a is IPv4, line b IPv6. With DR_ATTACK_SECONDS=N each flood lasts N seconds.
"""

import os
import random
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "scripts"),
                str(Path(__file__).resolve().parent)]

from attacks import frames as f
from attacks import icmp
from attacks import keepalives as k
from attacks.flood import Flood
from attacks.witness import Undisturbed
from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import inject, mac
from lablib.path_mtu import WHOLE, wait_mtu
from lablib.probe import Probe
from lablib.shell import wait_until

cases = Cases()
SECONDS = float(os.environ.get("DR_ATTACK_SECONDS", 2))
SITE = t.Site(1)
WAN = {"a": SITE.wan4("a")[1], "b": SITE.wan6()[1]}
DR = {"a": t.DR_IX4, "b": t.DR_IX6}
# Of the ICMP errors: any router on the way, which is nobody's address here.
ROUTER = {"a": "198.51.100.77", "b": "2001:db8:e::77"}
ELSEWHERE = {"a": "198.51.100.78", "b": "2001:db8:e::78"}
# A flood of data from elsewhere, packets a second.
MISPLACED = 150_000


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 5, "line_b_over_ipv6": True}) as lab:
        ur.wait_up(lab)
        ur.wait_carries(lab, "a")
        wait_mtu(lab, WHOLE)
        yield lab


def to_dr(lab):
    """Ethernet ends of a frame from the exchange to the DR."""
    return mac(lab.net["inet"], "ix0"), mac(lab.net["dr"], "ix0")


def to_ur(lab, line):
    return mac(lab.net[f"isp{line}"], "ur1"), mac(lab.net["ur1"], f"wan-{line}")


def key(lab, line):
    return lab.tunnels()[SITE.name, line]["tunnel"]["id"]


def data(lab, line, *, down):
    """A tunnel packet with data as one end sends it."""
    inner = (f.ip(t.INET4, SITE.lan4, f.UDP, f.udp(7, 5000, bytes(400))) if down
             else f.ip(SITE.lan4, t.INET4, f.UDP, f.udp(5000, 7, bytes(400))))
    ends = (DR[line], WAN[line]) if down else (WAN[line], DR[line])
    return f.in_tunnel(*ends, key(lab, line), f.IPV4, inner)


def errors(lab, line, *, at_ur):
    """Of every kind, about what that end of the tunnel sends, as frames."""
    about = data(lab, line, down=not at_ur)
    make = icmp.errors4 if line == "a" else icmp.errors6
    receiver = WAN[line] if at_ur else DR[line]
    # A redirect is believed of the gateway alone.
    gateway = SITE.wan4("a")[0] if line == "a" else SITE.wan6()[0]
    beside = t.ISP_IX4["a"] if line == "a" else t.ISP_IX6["b"]
    senders = [ROUTER[line], gateway if at_ur else beside]
    ends = to_ur(lab, line) if at_ur else to_dr(lab)
    return [f.ethernet(*ends, packet) for sender in senders
            for packet in make(about, sender, receiver, ELSEWHERE[line])]


def whole_packets_pass(lab):
    """The largest inner packets, unfragmented, in both families."""
    mtu = ur.status(lab)["mtu"]
    for address, headers in ((t.INET4, 28), (t.INET6, 48)):
        lab.ping("lan1", address, "-M", "do", "-s", mtu - headers, count=3)


def routes(lab, node):
    """How a namespace gets to the other end, with what its kernel has learned of the path."""
    ends = DR if node == "ur1" else WAN
    return [lab.net[node].ip("route", "get", address).stdout.split("cache")[0].strip()
            for address in ends.values()]


def each_error(lab, *, at_ur):
    sent = 0
    before = {node: routes(lab, node) for node in ("dr", "ur1")}
    with Undisturbed(lab):
        for line in ("a", "b"):
            found = errors(lab, line, at_ur=at_ur)
            node, device = (f"isp{line}", "ur1") if at_ur else ("inet", "ix0")
            for _ in range(3):
                inject(lab.net[node], device, found)
            sent += 3 * len(found)
        whole_packets_pass(lab)
    after = {node: routes(lab, node) for node in before}
    expect(after == before, f"routes were {before}, and are {after}")
    return f"{sent} errors"


@cases.case("forged ICMP errors of every kind about tunnel packets change nothing at the DR: "
            "endpoints, MTU, routes, sessions")
def _(lab):
    return each_error(lab, at_ur=False)


@cases.case("forged ICMP errors of every kind about tunnel packets change nothing at the UR")
def _(lab):
    return each_error(lab, at_ur=True)


@cases.case("keepalives captured on a line and sent again, to either end, from their own source and "
            "from others, change nothing")
def _(lab):
    up, down = k.captured(lab, "a")
    with Undisturbed(lab) as watch:
        for packets, ends, node, device in ((up, to_dr(lab), "inet", "ix0"),
                                            (down, to_ur(lab, "a"), "ispa", "ur1")):
            seen = [k.Seen(x) for x in packets]
            moved = [s.like_it(s.payload, **change) for s in seen
                     for change in ({"source": f.packed(ELSEWHERE["a"])}, {"source_port": 40000})]
            inject(lab.net[node], device, [f.ethernet(*ends, x) for x in (packets + moved) * 3])
        wait_until(lambda: watch.grown("keepalive.replayed"), "replays that are counted")
    grown = watch.grown("keepalive.replayed", "drop.keepalive_rate")
    return f"{(len(up) + len(down)) * 9} sent; {grown}"


@cases.case("keepalives reflected to the end that sent them change nothing")
def _(lab):
    up, down = k.captured(lab, "a")
    with Undisturbed(lab) as watch:
        # With the other end's address as their source: else they would be nobody's.
        back = k.Seen(up[0]), k.Seen(down[0])
        to_the_dr = [back[0].like_it(k.Seen(x).payload) for x in down]
        to_the_ur = [back[1].like_it(k.Seen(x).payload) for x in up]
        for packets, ends, node, device in ((to_the_dr, to_dr(lab), "inet", "ix0"),
                                            (to_the_ur, to_ur(lab, "a"), "ispa", "ur1")):
            inject(lab.net[node], device, [f.ethernet(*ends, x) for x in packets * 3])
        wait_until(lambda: watch.grown("keepalive.bad_tag", "drop.keepalive_rate"),
                   "reflections that are counted")


def flooded(lab, node, device, frames, rate):
    """A flood with a stream of the site beside it; no tunnel may go down. What came of both."""
    probe = Probe(lab, "inet", "lan1", SITE.lan4, rate=500, seconds=SECONDS)
    with Undisturbed(lab) as watch:
        with Flood(lab, node, device, frames, rate=rate, seconds=SECONDS) as flood:
            flood.wait(SECONDS + 20)
        result = probe.result()
    expect(result["received"] > 0, f"of the site's stream nothing arrived: {result}")
    return watch, f"{flood.rate:.0f} packets a second; of the site's {result['sent']} packets " \
                  f"{result['lost']} were lost"


@cases.case("150,000 packets a second with a tunnel's id, from elsewhere, take no tunnel down")
def _(lab):
    inner = f.ip(SITE.lan4, t.INET4, f.UDP, f.udp(5000, 7, bytes(18)))
    ends, tunnels = to_dr(lab), [key(lab, line) for line in ("a", "b")]
    frames = [f.ethernet(*ends, f.in_tunnel(
        f"198.18.{random.randrange(128, 250)}.{random.randrange(1, 250)}", t.DR_IX4, tunnel, f.IPV4,
        inner, source_port=random.randrange(1024, 65536)))
        for tunnel in tunnels for _ in range(512)]
    watch, note = flooded(lab, "inet", "ix0", frames, MISPLACED)
    expect(watch.grown("drop.outer_source", "drop.encap_mismatch"),
           "nothing was dropped as misplaced")
    return note


@cases.case("a flood of keepalives towards the UR with the DR's address, salt and counter takes no "
            "tunnel down")
def _(lab):
    _, down = k.captured(lab, "a")
    ends = to_ur(lab, "a")
    frames = [f.ethernet(*ends, x) for x in k.known_salt(k.Seen(down[-1]), 2048)]
    _, note = flooded(lab, "ispa", "ur1", frames, 5000)
    return note


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
