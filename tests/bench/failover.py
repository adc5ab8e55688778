"""scripts/bench failover: how long traffic is interrupted when a line fails, and when it returns.

A lab of network namespaces: the real dr-dataplane, drd and urd, two lines with a link emulator in
each. A stream of 1,000 numbered packets a second runs in each direction; each trial breaks the line
that carries them, at a random moment, and the longest time without an arrival is its interruption.
Needs root.
"""

import argparse
import contextlib
import json
import os
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import switching
from lablib.lab import may_use_namespaces, temporary_lab
from lablib.shell import wait_until
from lablib.stream import site_streams

# Seconds for which a line stays broken.
FAILURE = 3.5
CAUSES = ["silent-cut", "link-down", "one-way", "data-only", "return", "nat-rebind", "roam"]


class Bench:
    def __init__(self, lab, options):
        self.lab = lab
        self.options = options
        self.random = random.Random(options.seed)
        self.one_way = switching.TO_UR

    def ready(self):
        """Both tunnels up, one line carries all; its name."""
        switching.wait_up(self.lab, seconds=60)
        return wait_until(self.carrying, "a line that carries both streams", seconds=30)

    def carrying(self):
        return switching.carrying(self.lab, self.options.rate)

    # One trial each: breaks `line`, waits until traffic flows again, mends it.
    def trial(self, cause, line):
        # Linux tells of at most one change of carrier a second: the one before is long ago.
        time.sleep(self.random.uniform(1.2, 1.7))
        begin = time.monotonic_ns()
        getattr(self, "break_" + cause.replace("-", "_"))(line)
        wait_until(lambda: self.carrying() == switching.OTHER[line],
                   f"traffic on line {switching.OTHER[line]}",
                   seconds=20, interval=0.01)
        time.sleep(0.3)
        end = time.monotonic_ns()
        # What is over within two detection times is taken for an overhasty decision, and the next
        # one takes longer; this is a failure.
        time.sleep(max(0.0, FAILURE - (end - begin) / 1e9))
        switching.mend(self.lab, line)
        return begin, end

    def break_silent_cut(self, line):
        self.lab.line(line).set("both", cut="all")

    def break_link_down(self, line):
        switching.unplug(self.lab, line)

    def break_one_way(self, line):
        # Both ways in turn.
        both = {switching.TO_UR: switching.FROM_UR, switching.FROM_UR: switching.TO_UR}
        self.one_way = both[self.one_way]
        self.lab.line(line).set(self.one_way, cut=True)

    def break_data_only(self, line):
        self.lab.line(line).set("both", black_hole="data")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def report(cause, direction, windows, recording, profile):
    results = [recording.window(begin, end) for begin, end in windows]
    times = [r["interruption_ms"] for r in results]
    return {"name": "failover", "cause": cause, "direction": direction, "profile": profile,
            "trials": len(results), "p50_ms": round(percentile(times, 0.5), 1),
            "p99_ms": round(percentile(times, 0.99), 1), "max_ms": round(max(times), 1),
            "lost": sum(r["lost"] for r in results),
            "reordered": sum(r["reordered"] for r in results),
            "packets": sum(r["packets"] for r in results)}


def failures(options, cause, write):
    """Trials that alternate between the lines, so that none waits to be restored."""
    with temporary_lab(emulated=True, signalled={"wait_to_restore": 1,
                                                 "profile": options.profile.upper()}) as lab:
        bench = Bench(lab, options)
        with site_streams(lab, rate=options.rate) as running:
            windows = []
            for number in range(options.trials):
                windows.append(bench.trial(cause, bench.ready()))
                if options.verbose:
                    print(f"failover: {cause}: trial {number + 1}", file=sys.stderr)
            for direction, one in running.items():
                write(report(cause, direction, windows, one.end(), options.profile))


def returns(options, cause, write):
    """Line a fails and comes back; counted is what happens from its coming back on.

    A line waits longer after each failure: a new dr-dataplane has not seen those before.
    """
    with temporary_lab(emulated=True, signalled={"wait_to_restore": options.wait_to_restore,
                                                 "profile": options.profile.upper()}) as lab:
        bench = Bench(lab, options)
        with site_streams(lab, rate=options.rate) as running:
            windows, took = [], []
            for number in range(options.returns):
                if number > 0:
                    lab.router.dataplane.stop()
                    lab.router.start_dataplane()
                wait_until(lambda: bench.ready() == "a",
                                 "traffic on line a", seconds=120)
                bench.break_silent_cut("a")
                wait_until(lambda: bench.carrying() == "b", "traffic on line b", seconds=20)
                time.sleep(1)
                begin = time.monotonic_ns()
                switching.mend(lab, "a")
                wait_until(lambda: bench.carrying() == "a", "the return to line a",
                           seconds=options.wait_to_restore + 60, interval=0.05)
                took.append((time.monotonic_ns() - begin) / 1e9)
                time.sleep(1)
                windows.append((begin, time.monotonic_ns()))
                if options.verbose:
                    print(f"failover: {cause}: trial {number + 1}: {took[-1]:.1f} s",
                          file=sys.stderr)
            for direction, one in running.items():
                line = report(cause, direction, windows, one.end(), options.profile)
                write(line | {"wait_to_restore_s": options.wait_to_restore,
                              "returned_after_s": round(percentile(took, 0.5), 1)})


def moves(options, cause, write):
    """The UR's end of the active line gets another port (a NAT forgets), or another address."""
    with temporary_lab(emulated=True, signalled={"wait_to_restore": 1,
                                                 "profile": options.profile.upper()}) as lab:
        bench = Bench(lab, options)
        isp, ur = lab.sites[0].wan4("a")
        addresses = [ur, ur.rsplit(".", 1)[0] + ".3"]
        if cause == "nat-rebind":
            lab.line("a").nat({"inside": ur, "first_port": 20000})
        else:  # the old address goes, the new one of the same subnet stays
            lab.net["ur1"].sysctl("net.ipv4.conf.all.promote_secondaries", 1)
        with site_streams(lab, rate=options.rate) as running:
            windows = []
            for number in range(options.trials):
                bench.ready()
                time.sleep(bench.random.uniform(0.5, 1.0))
                begin = time.monotonic_ns()
                if cause == "nat-rebind":
                    lab.line("a").rebind()
                else:
                    before, after = addresses[number % 2], addresses[(number + 1) % 2]
                    namespace = lab.net["ur1"]
                    namespace.ip("address", "add", f"{after}/24", "dev", "wan-a")
                    namespace.ip("address", "del", f"{before}/24", "dev", "wan-a")
                    namespace.ip("route", "replace", "default", "via", isp, "dev", "wan-a")
                time.sleep(2.5)
                windows.append((begin, time.monotonic_ns()))
                if options.verbose:
                    print(f"failover: {cause}: trial {number + 1}", file=sys.stderr)
            for direction, one in running.items():
                write(report(cause, direction, windows, one.end(), options.profile))


def main(argv: list[str], build: str) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench failover", description=__doc__)
    parser.add_argument("--cause", action="append", choices=CAUSES,
                        help="one of several; default: all")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--returns", type=int, default=10, help="trials of `return` (default 10)")
    parser.add_argument("--wait-to-restore", type=int, default=10, metavar="SECONDS")
    parser.add_argument("--profile", default="fixed",
                        choices=["fixed", "mobile", "satellite", "metered"])
    parser.add_argument("--rate", type=float, default=1000, help="packets a second each way")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", metavar="FILE", help="also write the lines there")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args(argv)
    os.environ["DR_BUILD"] = build
    why = may_use_namespaces()
    if why:
        print(f"bench failover: error: {why}; run it as root", file=sys.stderr)
        return 2
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(open(options.json, "w", encoding="utf-8")) \
            if options.json else None

        def write(line):
            text = json.dumps(line)
            print(text, flush=True)
            if file:
                file.write(text + "\n")
                file.flush()

        for cause in options.cause or CAUSES:
            run = {"return": returns, "nat-rebind": moves, "roam": moves}.get(cause, failures)
            run(options, cause, write)
    return 0
