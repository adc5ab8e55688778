#!/usr/bin/python3
"""A site that knows only its credentials: it attaches, carries traffic, and survives its lines.

Line a first, line b when a is down. Real dr-dataplane, drd and urd; a link emulator in each line.
How long an interruption lasts is measured by `scripts/bench failover`; here it must end.
"""

import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import switching
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.shell import wait_until
from lablib.stream import site_streams

cases = Cases()
RATE = 500


@contextmanager
def attached_site():
    with temporary_lab(emulated=True, signalled={"wait_to_restore": 2}) as lab:
        yield lab


def wait_carrying(lab, line, seconds=20):
    wait_until(lambda: switching.carrying(lab, RATE) == line, f"both streams on line {line}",
               seconds=seconds, interval=0.02)


def fails_over(lab, break_line, line="a", other="b"):
    """Streams on `line`; after break_line() they pass `other`, both directions; how long it took."""
    switching.mend(lab, line)
    switching.wait_up(lab)
    with site_streams(lab, rate=RATE) as running:
        # Whatever happened before: away from the other line and back, and nothing waits.
        if switching.carrying(lab, RATE, 0.3) != line:
            lab.line(other).set(cut="all")
            wait_carrying(lab, line)
            switching.mend(lab, other)
            switching.wait_up(lab)
        begin = time.monotonic_ns()
        break_line()
        wait_carrying(lab, other)
        end = time.monotonic_ns()
        switching.mend(lab, line)
        results = {way: one.end().window(begin, end) for way, one in running.items()}
    return ", ".join(f"{way} {r['interruption_ms']:.0f} ms" for way, r in results.items())


@cases.case("both tunnels come up, and packets of both families pass in both directions")
def _(lab):
    switching.wait_up(lab)
    site = lab.sites[0]
    for node, address in (("lan1", t.INET4), ("lan1", t.INET6), ("inet", site.lan4),
                          ("inet", site.lan6)):
        wait_until(lambda n=node, a=address: lab.ping(n, a, check=False).returncode == 0,
                   f"an answer of {address} to {node}")


@cases.case("traffic takes line a, the first in the policy, and nothing of it line b")
def _(lab):
    with site_streams(lab, rate=RATE) as running:
        wait_carrying(lab, "a")
        results = {way: one.end() for way, one in running.items()}
    for way, recording in results.items():
        lost = sum(1 for at in recording.arrived if at == 0)
        expect(lost == 0, f"{way}: {lost} of {len(recording.sent)} packets lost")


@cases.case("a silent cut of the active line moves traffic to the other, both ways")
def _(lab):
    return fails_over(lab, lambda: lab.line("a").set(cut="all"))


@cases.case("a link that goes down at the UR moves traffic to the other line, both ways")
def _(lab):
    return fails_over(lab, lambda: switching.unplug(lab, "a"))


@cases.case("a line that fails only towards the UR is left in both directions")
def _(lab):
    return fails_over(lab, lambda: lab.line("a").set(switching.TO_UR, cut=True))


@cases.case("a line that fails only from the UR is left in both directions")
def _(lab):
    return fails_over(lab, lambda: lab.line("a").set(switching.FROM_UR, cut=True))


@cases.case("a line that answers keepalives and loses data is left in both directions")
def _(lab):
    return fails_over(lab, lambda: lab.line("a").set(black_hole="data"))


@cases.case("with drd killed a line fails and traffic moves all the same")
def _(lab):
    lab.router.drd.kill()
    try:
        with site_streams(lab, rate=RATE) as running:
            now = wait_until(lambda: switching.carrying(lab, RATE), "a line that carries")
            lab.line(now).set(cut="all")
            wait_carrying(lab, switching.OTHER[now])
            switching.mend(lab, now)
            del running
    finally:
        lab.router.start_drd()
        lab.wait_in_sync()
    switching.wait_up(lab)


@cases.case("urd started again while drd is away carries traffic with what it knew")
def _(lab):
    lab.router.drd.kill()
    try:
        lab.urds.pop("site-1").stop()
        lab.start_urd(lab.sites[0])
        wait_until(lambda: lab.ping("lan1", t.INET4, check=False).returncode == 0,
                   "an answer over the tunnels", seconds=20)
    finally:
        lab.router.start_drd()
        lab.wait_in_sync()
    switching.wait_up(lab)


@cases.case("after a restart of dr-dataplane the site carries traffic again by itself")
def _(lab):
    lab.router.dataplane.kill()
    lab.router.start_dataplane()
    lab.wait_in_sync()
    started = time.monotonic()
    wait_until(lambda: lab.ping("inet", lab.sites[0].lan4, check=False).returncode == 0,
               "an answer of the site", seconds=20, interval=0.05)
    return f"{time.monotonic() - started:.1f} s after drd's report"


@cases.case("a line that comes back carries traffic again at its time, and no packet is lost")
def _(lab):
    # dr-dataplane is new: it has seen no failure yet.
    switching.wait_up(lab)
    with site_streams(lab, rate=RATE) as running:
        wait_carrying(lab, "a", seconds=60)
        lab.line("a").set(cut="all")
        wait_carrying(lab, "b")
        time.sleep(0.5)
        begin = time.monotonic_ns()
        switching.mend(lab, "a")
        wait_carrying(lab, "a", seconds=60)
        time.sleep(0.5)
        end = time.monotonic_ns()
        results = {way: one.end().window(begin, end) for way, one in running.items()}
    took = (end - begin) / 1e9
    for way, r in results.items():
        expect(r["lost"] == 0, f"{way}: {r['lost']} of {r['packets']} packets lost: {r}")
        expect(r["reordered"] * 1000 <= r["packets"], f"{way}: {r['reordered']} reordered")
    # Up and clean for 5 s, and the wait of 2 s.
    expect(took > 6, f"traffic returned after {took:.1f} s already")
    return f"after {took:.1f} s"


@cases.case("behind a NAT on both lines both tunnels come up, and a new mapping is followed")
def _(lab):
    for line in switching.LINES:
        lab.line(line).nat({"inside": lab.sites[0].wan4(line)[1], "first_port": 20000})
    try:
        switching.wait_up(lab)
        with site_streams(lab, rate=RATE) as running:
            now = wait_until(lambda: switching.carrying(lab, RATE), "a line that carries",
                             seconds=30)
            begin = time.monotonic_ns()
            lab.line(now).rebind()
            time.sleep(1.0)
            wait_until(lambda: switching.carrying(lab, RATE), "a line that carries")
            end = time.monotonic_ns()
            results = {way: one.end().window(begin, end) for way, one in running.items()}
        return ", ".join(f"{way} {r['interruption_ms']:.0f} ms" for way, r in results.items())
    finally:
        for line in switching.LINES:
            lab.line(line).nat()


if __name__ == "__main__":
    sys.exit(cases.run(attached_site, Lab.describe))
