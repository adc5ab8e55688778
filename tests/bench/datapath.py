"""scripts/bench datapath: packets per second of one worker beside dpdk-testpmd io on the same ports.

Source: net_pcap, infinite_rx. It copies each packet of a pcap into a fresh buffer, again and again;
testpmd io on the same pcap is what that alone costs, and is printed beside ours. 65,536 distinct
packets for up to 1,000 subscribers, a million for more; each subscriber is drawn equally often, in
random order. Sink: net_null. The size of a packet is that of the plain one, before encapsulation.

Interleaved rounds: while one of the pair is measured the other is stopped, so that both use the same
core. A sample is thrown away when the polling thread got less than 97 % of its core. ratio is the
median of the rounds' ratios; core_probe is the core's speed in nops per TSC cycle, of the moment.

Each encapsulation and number of subscribers is provisioned once, through drcli, for all directions
and packets; between them only the data plane starts anew, with another source. All cases take long:
name one of each with --subscribers, --encapsulation, --direction and --packet to take them in turn.
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
from dut import Dut, HugePages, Paused, Testpmd, pages_for_pair, thread_cpu_times

FORWARDED = {"downlink": ["forwarded.downlink"], "uplink": ["forwarded.uplink"],
             "mixed": ["forwarded.downlink", "forwarded.uplink"]}
STAGES = ["receive", "parse", "lookup", "decapsulate", "steer", "encapsulate", "forward", "icmp",
          "transmit"]
ATTEMPTS = 6
SETTLE = 0.2  # seconds between waking a process and measuring it
CPU = 1
SUBSCRIBERS = [1, 1000, 100_000, 1_000_000]


def distinct_for(subscribers: int) -> int:
    return 65536 if subscribers <= 1000 else 1_000_000


def tsc_hz() -> float:
    for line in subprocess.run(["dmesg"], capture_output=True, text=True).stdout.splitlines():
        if "tsc: Detected" in line or "tsc: Refined" in line:
            return float(line.split("MHz")[0].split()[-1]) * 1e6
    with open("/proc/cpuinfo", encoding="ascii") as f:
        return float(next(l for l in f if l.startswith("cpu MHz")).split(":")[1]) * 1e6


def timed_share(pid: int, seconds: float, read) -> tuple[float, float]:
    """Packets per second and the share of a core that the polling thread got."""
    t0, n0 = read()
    start, cpu = time.monotonic(), thread_cpu_times(pid)
    time.sleep(seconds)
    after, end = thread_cpu_times(pid), time.monotonic()
    t1, n1 = read()
    share = max(after[task] - cpu.get(task, 0) for task in after) / (end - start)
    return (n1 - n0) / (t1 - t0), share


class Sampler:
    def __init__(self, seconds: float, least_share: float):
        self.seconds, self.least_share = seconds, least_share
        self.rejected = 0

    def sample(self, process, read) -> float:
        """One rate, with the other of the pair stopped."""
        for _ in range(ATTEMPTS):
            with Paused(process):
                time.sleep(SETTLE)
                rate, share = timed_share(process.pid, self.seconds, read)
            if share >= self.least_share:
                return rate
            self.rejected += 1
        raise SystemExit(f"bench: the polling thread never got {100 * self.least_share:.0f} % of its core in "
                         f"{ATTEMPTS} tries (now {100 * share:.0f} %): the machine is too busy to "
                         "measure")


def check_drops(dut: Dut) -> None:
    """Once all is provisioned, nothing may be dropped: the figure would be a lie."""
    _, before = dut.counters()
    time.sleep(0.3)
    _, after = dut.counters()
    bad = {k: v - before[k] for k, v in after.items() if k.startswith("drop.") and v > before[k]}
    if bad:
        raise SystemExit(f"bench: packets are dropped, the figure would be a lie: {bad}")


def probe(build: str) -> float:
    return float(subprocess.run([f"{build}/tests/bench/core_probe", str(CPU)], check=True,
                                capture_output=True, text=True).stdout)


def compare(options, build: str, work: str, rx: str, distinct: int, dut: Dut, direction: str) -> dict:
    """Interleaved rounds of testpmd and of the running data plane."""
    def ours():
        at, values = dut.counters()
        return at, sum(values[name] for name in FORWARDED[direction])

    check_drops(dut)
    Paused(dut.dataplane).__exit__()
    pmd = Testpmd(work, rx, CPU, distinct, options.huge)
    mine, reference, probes = [], [], []
    sampler = Sampler(options.seconds, options.share)
    try:
        Paused(pmd.process).__exit__()
        pair = [(pmd.process, pmd.transmitted, reference), (dut.dataplane, ours, mine)]
        for number in range(options.rounds):
            probes.append(probe(build))
            for process, read, samples in pair if number % 2 == 0 else reversed(pair):
                samples.append(sampler.sample(process, read))
    finally:
        pmd.close()
        Paused(dut.dataplane).__enter__()
    check_drops(dut)
    mpps = statistics.median(mine) / 1e6
    reference_mpps = statistics.median(reference) / 1e6
    ratios = [a / b for a, b in zip(mine, reference)]
    hz = tsc_hz()
    return {"mpps": round(mpps, 2), "mpps_best": round(max(mine) / 1e6, 2),
            "cycles_per_packet": round(hz / mpps / 1e6, 1), "reference": "testpmd-io",
            "reference_mpps": round(reference_mpps, 2),
            "reference_mpps_best": round(max(reference) / 1e6, 2),
            "reference_cycles_per_packet": round(hz / reference_mpps / 1e6, 1),
            "ratio": round(statistics.median(ratios), 3), "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3), "ratio_best": round(max(mine) / max(reference), 3),
            "rounds": options.rounds, "rejected": sampler.rejected,
            "core_probe": round(statistics.median(probes), 2),
            "core_probe_min": min(probes), "core_probe_max": max(probes)}


def stages(dut: Dut, options, direction: str) -> dict:
    """Cycles per packet of each stage, from a data plane that takes their time: that costs too.
    Of as many samples as there are rounds, the one with the median sum."""
    samples = [stage_sample(dut, options.seconds, direction) for _ in range(options.rounds)]
    return sorted(samples, key=lambda sample: sum(sample.values()))[len(samples) // 2]


def stage_sample(dut: Dut, seconds: float, direction: str) -> dict:
    _, before = dut.counters()
    time.sleep(seconds)
    _, after = dut.counters()
    count = sum(after[name] - before[name] for name in FORWARDED[direction])
    result = {}
    for number, stage in enumerate(STAGES):
        key = f"worker.0.stage_cycles.{number}"
        if after.get(key, 0) > before.get(key, 0):
            result[stage] = round((after[key] - before[key]) / count, 1)
    return result


class Group:
    """All cases of one encapsulation and number of subscribers: they are provisioned once."""

    def __init__(self, options, build: str, work: str, encapsulation: str, subscribers: int):
        self.options, self.build, self.work = options, build, work
        self.encapsulation, self.subscribers = encapsulation, subscribers
        self.distinct = options.distinct or distinct_for(subscribers)
        self.dut = None

    def start(self, rx: str, measure: bool) -> Dut:
        if self.dut:
            self.dut.restart_dataplane(rx, measure)
            return self.dut
        store = None
        if self.options.keep:
            os.makedirs(self.options.keep, exist_ok=True)
            store = (f"{self.options.keep}/{self.encapsulation}-outer{self.options.outer}-"
                     f"{self.subscribers}.db")
        self.dut = Dut(self.build, f"{self.work}/dut", rx, self.encapsulation, self.options.outer,
                       self.subscribers, measure, CPU, self.distinct, store, self.options.huge)
        return self.dut

    def run(self, case: dict) -> dict:
        options, direction = self.options, case["direction"]
        rx = f"{self.work}/rx.pcap"
        packets.make(rx, direction, self.encapsulation, options.outer, options.inner,
                     self.subscribers, case["packet"], self.distinct)
        dut = self.start(rx, measure=False)
        result = {"name": "datapath", **case, "distinct": self.distinct,
                  **compare(options, self.build, self.work, rx, self.distinct, dut, direction)}
        result["stages"] = {}
        if options.stages:
            result["stages"] = stages(self.start(rx, measure=True), options, direction)
        return result

    def close(self) -> None:
        if self.dut:
            self.dut.close()
        shutil.rmtree(f"{self.work}/dut", ignore_errors=True)


def parse(arguments: list[str]):
    parser = argparse.ArgumentParser(prog="scripts/bench datapath", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", metavar="FILE", help="append the JSON lines to FILE")
    parser.add_argument("--direction", choices=list(FORWARDED), action="append")
    parser.add_argument("--encapsulation", choices=["gre", "gre-udp"], action="append")
    parser.add_argument("--outer", type=int, choices=[4, 6], default=4)
    parser.add_argument("--inner", type=int, choices=[4, 6], default=4)
    parser.add_argument("--subscribers", type=int, action="append")
    parser.add_argument("--packet", choices=["64", "imix"], action="append")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a sample")
    parser.add_argument("--distinct", type=int, help="packets in the source; default: see above")
    parser.add_argument("--keep", metavar="DIR", help="keep drd's store there and use it the next "
                        "time: a million subscribers load faster from it than through drcli")
    parser.add_argument("--no-stages", dest="stages", action="store_false")
    parser.add_argument("--no-huge", dest="huge", action="store_false",
                        help="small pages, for machines that have no huge ones; slower")
    parser.add_argument("--share", type=float, default=0.97, help="of its core that the polling thread "
                        "must have got, or the sample is thrown away (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="3 rounds of 0.3 s, no stages")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.seconds, options.stages = 3, 0.3, False
    return options


def main(arguments: list[str], build: str) -> int:
    options = parse(arguments)
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root for DPDK memory; try sudo scripts/bench datapath")
    os.sched_setaffinity(0, set(range(os.cpu_count())) - {CPU})
    for subscribers in options.subscribers or SUBSCRIBERS:
        for encapsulation in options.encapsulation or ["gre", "gre-udp"]:
            run_group(options, build, encapsulation, subscribers)
    return 0


def run_group(options, build: str, encapsulation: str, subscribers: int) -> None:
    pages = pages_for_pair(options.distinct or distinct_for(subscribers), subscribers)
    with (HugePages(pages if options.huge else 0),
          tempfile.TemporaryDirectory(prefix="dr-bench-") as work):
        group = Group(options, build, work, encapsulation, subscribers)
        try:
            for packet in options.packet or ["64", "imix"]:
                for direction in options.direction or list(FORWARDED):
                    line = json.dumps(group.run({
                        "direction": direction, "encapsulation": encapsulation,
                        "outer": options.outer, "inner": options.inner,
                        "subscribers": subscribers, "packet": packet}))
                    print(line, flush=True)
                    if options.json:
                        with open(options.json, "a", encoding="utf-8") as f:
                            f.write(line + "\n")
        finally:
            group.close()
