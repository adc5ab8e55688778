#!/usr/bin/python3
"""What strangers and listeners can do with keepalives: none of it is believed, or worth sending.

Here the UR is the test's own (second_ur), so that genuine messages can be made at will. With
DR_ATTACK_SECONDS=N each flood lasts N seconds.
"""

import os
import socket
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "scripts"),
                str(Path(__file__).resolve().parent)]

from attacks import frames as f
from attacks import keepalives as k
from attacks.flood import Flood
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.packets import Capture, mac
from lablib.shell import wait_until
from second_ur import attacks as second
from second_ur import messages as wire
from second_ur import site
from second_ur.router import in_namespace

cases = Cases()
SECONDS = float(os.environ.get("DR_ATTACK_SECONDS", 2))
UR = site.SITE.wan4("a")[1]
REFUSED = ("keepalive.bad_tag", "keepalive.malformed", "keepalive.unknown_key",
           "drop.keepalive_rate", "drop.keepalive")
# At most one challenge in so many seconds, of each kind, for a tunnel.
CHALLENGE_GAP = 0.020


def key(lab):
    return lab.ur.sessions[0].tunnel["id"]


def exchange_header(lab):
    """The Ethernet header of what somebody beside the DR sends to it."""
    return f.ethernet(mac(lab.net["ispa"], "ix0"), mac(lab.net["dr"], "ix0"), b"\x45")[:14]


def refused(lab):
    now = lab.counters()
    return sum(now[name] for name in REFUSED)


class Raw:
    """A socket that puts frames on the exchange, one by one."""

    def __init__(self, lab):
        def make():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
            sock.bind(("ix0", 0))
            return sock
        self.socket = in_namespace(lab.net["ispa"].name, make)
        self.head = exchange_header(lab)

    def send(self, packet):
        self.socket.send(self.head + packet)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@cases.case("both sessions come up")
def _(lab):
    site.wait_up(lab)
    site.wait_set(lab, 0b11)
    wait_until(lambda: all(s.observed for s in lab.ur.sessions.values()), "the observed addresses")


@cases.case("a keepalive of 88 bytes with one of its 704 bits changed is refused, whichever it is")
def _(lab):
    message = second.genuine(lab)
    expect(len(message) == k.LENGTH, f"it has {len(message)} bytes")
    before = refused(lab)
    with second.Undisturbed(lab, {}), Raw(lab) as raw:
        for changed in k.bit_flips(message):
            raw.send(f.in_tunnel(UR, t.DR_IX4, key(lab), f.KEEPALIVE, changed))
            time.sleep(0.002)
        wait_until(lambda: refused(lab) == before + 704, f"704 refusals: {refused(lab) - before}")
    return "704 sent, 704 refused"


@cases.case("no message of a stranger is answered, whatever its length, type and source")
def _(lab):
    messages = [k.made_up() for _ in range(50)] + [b"\x11" * n for n in range(0, 200, 7)]
    messages += [bytes([0x10 | kind]) + k.made_up()[1:] for kind in range(16)]
    messages += [second.forged(second.genuine(lab)), lab.ur.heard[0][-1], lab.ur.sent[0][-3]]
    with Capture(lab, "inet", "ix0", f"udp port {f.TUNNEL_PORT} or icmp", direction="in") as seen:
        with second.Undisturbed(lab, {}), Raw(lab) as raw:
            for message in messages:
                for source in (t.INET_IX4, UR):
                    raw.send(f.in_tunnel(source, t.DR_IX4, key(lab), f.KEEPALIVE, message))
                time.sleep(0.002)
            lab.ping("inet", t.DR_IX4)  # all before has been handled, and the capture works
        packets = seen.packets()
    answers = [x for x in packets if "UDP" in x]
    expect(any("ICMP" in x for x in packets), "the capture has seen no ping")
    expect(not answers, f"{len(answers)} answers, the first {answers[:1]}")
    return f"{2 * len(messages)} messages, 0 answers"


@cases.case("genuine keepalives sent on with somebody else's address as their source bring that "
            "one at most a challenge in 20 ms, of 106 bytes for 138")
def _(lab):
    sent = 0
    began = time.monotonic()
    with Capture(lab, "inet", "ix0", f"udp port {f.TUNNEL_PORT}", direction="in") as seen:
        with second.Undisturbed(lab, {}), Raw(lab) as raw:
            # In bunches: what is 64 behind the UR's own would be a replay.
            while time.monotonic() < began + SECONDS:
                for _ in range(30):
                    packet = f.in_tunnel(t.INET_IX4, t.DR_IX4, key(lab), f.KEEPALIVE,
                                         second.genuine(lab))
                    expect(14 + len(packet) == k.FRAME, f"it has {14 + len(packet)} bytes")
                    raw.send(packet)
                    sent += 1
                time.sleep(0.1)
            took = time.monotonic() - began
        answers = [bytes(x) for x in seen.packets()]
    sizes = {len(x) for x in answers}
    expect(answers, "not one challenge: were they genuine?")
    expect(sizes == {k.CHALLENGE_FRAME}, f"answers of {sizes} bytes")
    expect(len(answers) <= took / CHALLENGE_GAP + 2, f"{len(answers)} in {took:.1f} s")
    expect(all(wire.decode(x[50:]).kind == wire.CHALLENGE for x in answers), "no challenge")
    return f"{sent} messages of {k.FRAME} bytes, {len(answers)} answers of {k.CHALLENGE_FRAME}"


@cases.case("a flood by somebody on the path, who knows salt and counter, takes no tunnel down, "
            "and keepalives of the UR are believed meanwhile")
def _(lab):
    seen = k.Seen(f.in_tunnel(UR, t.DR_IX4, key(lab), f.KEEPALIVE, lab.ur.sent[0][-1]))
    head = exchange_header(lab)
    frames = [head + packet for packet in k.known_salt(seen, 4096)]
    with second.Undisturbed(lab, {}):
        with Flood(lab, "ispa", "ix0", frames, rate=5000) as flood:
            wait_until(lambda: refused(lab) > 0, "refusals")
            received = live_received(lab)
            time.sleep(SECONDS)
            believed = live_received(lab) - received
    expect(believed >= SECONDS, f"only {believed} keepalives believed in {SECONDS} s")
    return f"{flood.sent} messages at {flood.rate:.0f}/s; {believed} of the UR's believed"


def live_received(lab):
    """Keepalives that the DR has believed on line a, as it tells the UR in its own."""
    return lab.ur.sessions[0].remote["received"]


if __name__ == "__main__":
    sys.exit(cases.run(site.lab_with_second_ur, site.describe))
