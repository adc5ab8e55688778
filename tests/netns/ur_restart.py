#!/usr/bin/python3
"""urd ends and starts again: on purpose, it says goodbye; killed, its silence is not its lines' fault."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import time

from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.probe import four_probes, lost_nothing
from lablib.shell import wait_until

cases = Cases()


@contextmanager
def attached_lab():
    # A line that has flapped is not used again while a case runs.
    with temporary_lab(signalled={"wait_to_restore": 60}, emulated=True) as lab:
        ur.wait_up(lab, seconds=20)
        ur.wait_carries(lab, "a", seconds=20)
        yield lab


def at_the_dr(lab):
    return {line: x["state"] for (_, line), x in lab.tunnels().items()}


def downs(lab):
    """Causes of the DR's changes to DOWN, in order."""
    return [x["cause"] for x in events(lab) if x.get("to") == "DOWN"]


def events(lab):
    return sorted(lab.router.drcli_json("event", "list", "--subscriber", "site-1"), key=lambda x: x["id"])


def carries_as_before(lab):
    """Line a at once, without a wait; nothing is held against either."""
    ur.wait_up(lab, seconds=20)
    ur.wait_carries(lab, "a", seconds=5)
    flaps = {line: x["liveness"]["flaps"] for (_, line), x in lab.tunnels().items()}
    expect(set(flaps.values()) == {0}, f"{flaps}")
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("urd that is told to end says goodbye on each line, and each restart finds line a as it was, three "
            "times")
def _(lab):
    before = len(downs(lab))
    for _ in range(3):
        expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
        # Before its keepalives could be missed.
        expect(at_the_dr(lab) == {"a": "DOWN", "b": "DOWN"}, f"{at_the_dr(lab)}")
        lab.start_urd(lab.sites[0])
        note = carries_as_before(lab)
    wait_until(lambda: len(downs(lab)) >= before + 6, "six changes to DOWN")
    causes = set(downs(lab)[-6:])
    expect(causes == {"the peer's administrator took it down"}, f"{causes}")
    return note


@cases.case("urd that is told to end while a line is cut ends within a second, and the other line is told")
def _(lab):
    lab.line("b").set(cut=True)
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    expect(at_the_dr(lab)["a"] == "DOWN", f"{at_the_dr(lab)}")
    lab.line("b").clear()
    lab.start_urd(lab.sites[0])
    ur.wait_up(lab, seconds=20)
    ur.wait_carries(lab, "a", seconds=5)


@cases.case("urd that is killed, and starts again seconds later, three times, finds line a as it was")
def _(lab):
    for _ in range(3):
        lab.urds["site-1"].kill()
        wait_until(lambda: at_the_dr(lab) == {"a": "DOWN", "b": "DOWN"}, "both lines down",
                   seconds=20)
        lab.start_urd(lab.sites[0])
        note = carries_as_before(lab)
    return note


@cases.case("urd that is killed and back at once is no flap either, and the outage is told in full")
def _(lab):
    started = time.monotonic()
    lab.urds["site-1"].kill()
    lab.start_urd(lab.sites[0])
    ready = time.monotonic()
    note = carries_as_before(lab)
    up = [x for x in events(lab) if x.get("to") == "UP" and x.get("line") == "a"][-1]
    # From the last keepalive before, which was sent at most an interval before the end.
    expect(up["outageMs"] > (ready - started) * 1000 * 0.5, f"{up}, away {ready - started:.2f} s")
    return f"{up['outageMs']:.0f} ms; {note}"


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
