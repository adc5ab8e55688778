#!/usr/bin/python3
"""More traffic than the lines can carry: it is lost, whichever line it takes, so the lines stay as
they are. Real dr-dataplane, drd and urd; the lines' rates and queues are the emulator's.
"""

import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import switching, ur
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import temporary_lab
from lablib.probe import Probe
from lablib.shell import wait_until
from lablib.traffic import upload

cases = Cases()
SECONDS = 25
QUEUE = 40_000
HEADERS = 14 + 20 + 8 + 8 + 20 + 8  # Ethernet, IPv4, UDP, GRE, inner IPv4, inner UDP


def attached():
    return temporary_lab(signalled={"wait_to_restore": 5}, emulated=True)


def become(lab, queue=QUEUE, **bits):
    """Both lines whole and idle, line a in use; then these rates (bit/s)."""
    for line in switching.LINES:
        lab.line(line).clear()
    ur.wait_up(lab)
    wait_until(lambda: not any(tunnel["liveness"].get(bad) for bad in ("degraded", "congested")
                               for tunnel in lab.tunnels().values()), "two good lines", seconds=60)
    ur.wait_carries(lab, "a", seconds=60)
    for line, rate in bits.items():
        lab.line(line).set(rate={"bit_s": rate, "queue_bytes": queue})


def latest(lab):
    return max(e["id"] for e in lab.router.drcli_json("event", "list", "--limit", "1"))


def since(lab, last, *kinds):
    return [e for kind in kinds for e in lab.router.drcli_json("event", "list", "--kind", kind,
                                                              "--limit", "1000") if e["id"] > last]


@contextmanager
def flood(lab, way, rate, payload):
    """Of so many bit/s on the line, for SECONDS at most."""
    source, destination, address = {"up": ("lan1", "inet", t.INET4),
                                    "down": ("inet", "lan1", lab.sites[0].lan4)}[way]
    probe = Probe(lab, source, destination, address, rate=rate / 8 // (payload + HEADERS),
                  seconds=SECONDS, payload=payload)
    try:
        yield probe
    finally:
        for process in (probe.sender, probe.receiver):
            if process in lab.helpers:
                process.stop()
                lab.helpers.remove(process)


def stays(lab, way, rate, payload):
    """Floods; at most one line was left and returned to, and both ends say that it is full."""
    last = latest(lab)
    with flood(lab, way, rate, payload) as running:
        wait_until(lambda: lab.tunnels()["site-1", "a"]["liveness"].get("congested"),
                   "line a congested at the DR", seconds=30)
        ur.wait_for(lab, "a", {"congested": True})
        shown = lab.router.drcli("tunnel", "list").stdout
        expect("congested" in shown, shown)
        result = running.result()
    left = [e for e in since(lab, last, "eligible") if "no traffic" in e.get("detail", "")]
    expect(len(left) <= 2, f"lines were left {len(left)} times: {left}")
    downs = [e for e in since(lab, last, "state") if e["to"] == "DOWN"]
    expect(not downs, downs)
    told = since(lab, last, "congested")
    expect(1 <= len(told) <= 6, told)
    for line in switching.LINES:
        lab.line(line).clear()
    wait_until(lambda: not lab.tunnels()["site-1", "a"]["liveness"].get("congested"),
               "line a not congested any more", seconds=30)
    return result["lost"] / result["sent"], len(left)


@cases.case("UDP at three times the rate of both lines, large packets up, moves no line, and is "
            "told")
def _(lab):
    become(lab, a=2_000_000, b=2_000_000)
    lost, left = stays(lab, "up", 6_000_000, 1200)
    expect(lost < 0.75, f"{lost:.0%} lost")
    return f"{lost:.0%} lost, lines left {left} times"


@cases.case("UDP at three times the rate of both lines, small packets down, moves no line, and is "
            "told")
def _(lab):
    become(lab, a=2_000_000, b=2_000_000)
    lost, left = stays(lab, "down", 6_000_000, 64)
    expect(lost < 0.75, f"{lost:.0%} lost")
    return f"{lost:.0%} lost, lines left {left} times"


@cases.case("with a small line beside it the large one keeps the flood that neither can carry")
def _(lab):
    become(lab, a=5_000_000, b=250_000)
    lost, left = stays(lab, "up", 11_000_000, 1200)
    expect(lost < 0.62, f"{lost:.0%} lost")
    return f"{lost:.0%} lost, lines left {left} times"


@cases.case("TCP that fills a slow uplink with a deep queue is no event")
def _(lab):
    figures = []
    for rate, queue, mebibytes in ((5_000_000, 312_500, 8), (1_000_000, 100_000, 2)):
        become(lab)
        lab.line("a").set(switching.FROM_UR, rate={"bit_s": rate, "queue_bytes": queue})
        last = latest(lab)
        begin = time.monotonic()
        upload(lab, "lan1", "inet", t.INET4, mebibytes=mebibytes, seconds=60)
        reached = mebibytes * 8.39 / (time.monotonic() - begin)
        figures.append(f"{reached:.1f} of {rate / 1e6:.0f} Mbit/s")
        told = since(lab, last, "state", "degraded", "eligible", "congested")
        expect(not told, told)
    return ", ".join(figures)


@cases.case("a full line that dies is left at once, and so is one that loses all data")
def _(lab):
    for fault in ({"cut": True}, {"black_hole": "data"}):
        become(lab, a=5_000_000, b=20_000_000)
        with flood(lab, "up", 11_000_000, 1200):
            wait_until(lambda: lab.tunnels()["site-1", "a"]["liveness"].get("congested"),
                       "line a congested at the DR", seconds=30)
            begin = time.monotonic()
            lab.line("a").set(**fault)
            ur.wait_carries(lab, "b", seconds=5)
            took = time.monotonic() - begin
            expect(took < 4, f"{fault}: {took:.1f} s")
        for line in switching.LINES:
            lab.line(line).clear()
        ur.wait_carries(lab, "a", seconds=120)


if __name__ == "__main__":
    sys.exit(cases.run(attached, lambda lab: lab.describe()))
