"""scripts/bench path-mtu: how long it takes to find that a line has become narrower under a download.

A lab of network namespaces: the real dr-dataplane, drd and urd, a link emulator in each line. One TCP
connection downloads all the time; each trial lowers the MTU of the line that carries it by one step.
`found` is the time until both ends of the tunnel use exactly what fits now; `stalled` is the longest
time in which the download received nothing. Needs root.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import path_mtu, switching, ur
from lablib import topology as t
from lablib.lab import may_use_namespaces, temporary_lab
from failover import percentile

# Of a line after each trial; then it has 1500 again.
SIZES = [1492, 1480, 1454, 1437, 1420, 1400, 1371, 1340, 1300, 1280]
DIRECTIONS = ["down", "up"]


def trial(lab, transfer, size, told):
    transfer.flows(time.monotonic_ns())
    carrying = next(line for line in switching.LINES if ur.tunnel(lab, line)["carries"])
    began = time.monotonic_ns()
    path_mtu.narrow(lab, size, told)
    path_mtu.wait_mtu(lab, size, (carrying,), seconds=60, interval=0.01)
    found = time.monotonic_ns()
    transfer.flows(found, seconds=60)
    return (found - began) / 1e6, transfer.stalled(began) / 1e6


def rounds(lab, direction, told, trials):
    """(found, stalled) of each trial, in ms."""
    ends = {"down": ("inet", "lan1", lab.sites[0].lan4), "up": ("lan1", "inet", t.INET4)}
    results = []
    while len(results) < trials:
        path_mtu.become(lab, path_mtu.WHOLE, told)
        with path_mtu.Transfer(lab, *ends[direction]) as transfer:
            for size in SIZES[:trials - len(results)]:
                results.append(trial(lab, transfer, size, told))
    return results


def report(direction, told, results):
    line = {"name": "path-mtu", "direction": direction, "icmp": told, "trials": len(results)}
    for name, times in zip(("found", "stalled"), zip(*results)):
        line |= {f"{name}_p50_ms": round(percentile(times, 0.5)),
                 f"{name}_p99_ms": round(percentile(times, 0.99))}
    return line


def main(argv: list[str], build: str) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench path-mtu", description=__doc__)
    parser.add_argument("--trials", type=int, default=20, help="of each row (default 20)")
    parser.add_argument("--json", metavar="FILE", help="append the JSON lines to FILE")
    options = parser.parse_args(argv)
    os.environ["DR_BUILD"] = build
    why = may_use_namespaces()
    if why:
        print(f"bench path-mtu: error: {why}; run it as root", file=sys.stderr)
        return 2
    for told in (True, False):
        with temporary_lab(emulated=True, signalled={"wait_to_restore": 2}) as lab:
            switching.wait_up(lab)
            for direction in DIRECTIONS:
                line = json.dumps(report(direction, told,
                                         rounds(lab, direction, told, options.trials)))
                print(line, flush=True)
                if options.json:
                    with open(options.json, "a", encoding="utf-8") as file:
                        file.write(line + "\n")
    return 0
