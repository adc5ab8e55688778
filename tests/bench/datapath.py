"""scripts/bench datapath: packets per second of one worker beside dpdk-testpmd io on the same ports.

Interleaved rounds: while one of the pair is measured the other is stopped, so that both use the
same core. A sample is thrown away when the polling thread got less than 97 % of its core.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time

import packets
from dut import Dut, HugePages, Paused, Testpmd, worker_cpu_time

FORWARDED = {"downlink": ["forwarded.downlink"], "uplink": ["forwarded.uplink"],
             "mixed": ["forwarded.downlink", "forwarded.uplink"]}
STAGES = ["receive", "parse", "lookup", "decapsulate", "steer", "encapsulate", "forward", "icmp",
          "transmit"]
ATTEMPTS = 6


def tsc_hz() -> float:
    for line in subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines():
        if "tsc: Detected" in line or "tsc: Refined" in line:
            return float(line.split("MHz")[0].split()[-1]) * 1e6
    with open("/proc/cpuinfo", encoding="ascii") as f:
        return float(next(l for l in f if l.startswith("cpu MHz")).split(":")[1]) * 1e6


def timed_share(pid: int, seconds: float, read) -> tuple[float, float]:
    """Packets per second and the share of a core that the polling thread got."""
    cpu, (t0, n0) = worker_cpu_time(pid), read()
    time.sleep(seconds)
    (t1, n1), used = read(), worker_cpu_time(pid) - cpu
    return (n1 - n0) / (t1 - t0), used / (t1 - t0)


def sample(process, seconds: float, read) -> float:
    for _ in range(ATTEMPTS):
        with Paused(process):
            time.sleep(0.2)
            rate, share = timed_share(process.pid, seconds, read)
        if share >= 0.97:
            return rate
    raise SystemExit(f"bench: the polling thread never got 97 % of its core in {ATTEMPTS} tries: "
                     "the machine is too busy to measure")


def check_drops(dut: Dut) -> None:
    """Once all is provisioned, nothing may be dropped: the figure would be a lie."""
    _, before = dut.counters()
    time.sleep(0.3)
    _, after = dut.counters()
    bad = {k: v - before[k] for k, v in after.items() if k.startswith("drop.") and v > before[k]}
    if bad:
        raise SystemExit(f"bench: packets are dropped, the figure would be a lie: {bad}")


def run_case(options, build: str, work: str, case: dict, rounds: int) -> dict:
    direction, subscribers = case["direction"], case["subscribers"]
    rx = f"{work}/rx.pcap"
    packets.make(rx, direction, case["encapsulation"], case["outer"], case["inner"], subscribers,
                 case["packet"], options.distinct)
    arguments = (build, f"{work}/dut", rx, case["encapsulation"], case["outer"], subscribers)
    dut = Dut(*arguments)
    pmd = None

    def ours():
        at, values = dut.counters()
        return at, sum(values[name] for name in FORWARDED[direction])

    try:
        check_drops(dut)
        Paused(dut.dataplane).__exit__()
        pmd = Testpmd(work, rx)
        Paused(pmd.process).__exit__()
        mine, reference, probes = [], [], []
        for _ in range(rounds):
            probes.append(float(subprocess.run([f"{build}/tests/bench/core_probe", "1"], check=True,
                                               capture_output=True, text=True).stdout))
            reference.append(sample(pmd.process, options.seconds, pmd.transmitted))
            mine.append(sample(dut.dataplane, options.seconds, ours))
    finally:
        dut.close()
        if pmd:
            pmd.close()
        shutil.rmtree(f"{work}/dut", ignore_errors=True)
    mpps = statistics.median(mine) / 1e6
    reference_mpps = statistics.median(reference) / 1e6
    return {"name": "datapath", **case, "mpps": round(mpps, 2), "mpps_best": round(max(mine) / 1e6, 2),
            "cycles_per_packet": round(tsc_hz() / mpps / 1e6, 1), "reference": "testpmd-io",
            "reference_mpps": round(reference_mpps, 2),
            "ratio": round(statistics.median(a / b for a, b in zip(mine, reference)), 3),
            "rounds": rounds, "core_probe": round(statistics.median(probes), 2),
            "stages": stages(arguments, options.seconds, direction)}


def stages(arguments: tuple, seconds: float, direction: str) -> dict:
    """Cycles per packet of each stage, from a run of its own: reading the clock costs too."""
    dut = Dut(*arguments, measure=True)
    try:
        _, before = dut.counters()
        time.sleep(seconds)
        _, after = dut.counters()
    finally:
        dut.close()
    count = sum(after[name] - before[name] for name in FORWARDED[direction])
    result = {}
    for number, stage in enumerate(STAGES):
        key = f"worker.0.stage_cycles.{number}"
        if after.get(key, 0) > before.get(key, 0):
            result[stage] = round((after[key] - before[key]) / count, 1)
    return result


def main(arguments: list[str], build: str) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench datapath", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="append the JSON lines to FILE")
    parser.add_argument("--direction", choices=list(FORWARDED), action="append")
    parser.add_argument("--encapsulation", choices=["gre", "gre-udp"], action="append")
    parser.add_argument("--outer", type=int, choices=[4, 6], default=4)
    parser.add_argument("--inner", type=int, choices=[4, 6], default=4)
    parser.add_argument("--subscribers", type=int, action="append")
    parser.add_argument("--packet", choices=["64", "imix"], action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a sample")
    parser.add_argument("--distinct", type=int, default=65536, help="packets in the source pcap")
    options = parser.parse_args(arguments)
    cases = [{"direction": d, "encapsulation": e, "outer": options.outer, "inner": options.inner,
              "subscribers": s, "packet": p}
             for s in options.subscribers or [1000]
             for e in options.encapsulation or ["gre", "gre-udp"]
             for p in options.packet or ["64"]
             for d in options.direction or ["downlink", "uplink"]]
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root for DPDK memory; try sudo scripts/bench datapath")
    pages = 2048 + max(case["subscribers"] for case in cases) // 1000
    with HugePages(pages), tempfile.TemporaryDirectory(prefix="dr-bench-") as work:
        for case in cases:
            line = json.dumps(run_case(options, build, work, case, options.rounds))
            print(line, flush=True)
            if options.json:
                with open(options.json, "a", encoding="utf-8") as f:
                    f.write(line + "\n")
    return 0
