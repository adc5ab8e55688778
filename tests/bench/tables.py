"""scripts/bench tables: provisioning at full size, while a worker forwards at full speed.

  update   upserts and deletes through the southbound socket, and upserts through drd's API
  load     drcli apply of all subscribers into an attached data plane, and what the tables take
  resync   a restart of drd, and one of dr-dataplane, until drd reports IN_SYNC again

The worker polls on CPU 1, and forwards in all parts. In `update` the table writer and what feeds it
share CPU 0; elsewhere drcli and drd run where the kernel puts them.
"""

import argparse
import json
import os
import random
import resource
import signal
import statistics
import sys
import tempfile
import time

import packets
import southbound as sb
from dut import Dut, HugePages, pages_for_pair, stop, thread_cpu_times, worker_cpu_time

POOL4, POOL6 = bytes([100, 128, 0, 0]), bytes.fromhex("20010db8500000000000000000000000")
MTU, OTHER_MTU = 1400, 1420
LOAD_CHUNK = 4096
ATTEMPTS = 6

# Which subscribers a benchmark touches, by number modulo 4. Neighbours share groups of the lookup
# tables, so a change of one is next to packets of the others.
REPLACED, DELETED = 0, 3  # the rest stays as it is


class SouthboundDut(Dut):
    """Without drd: the benchmark itself is the provisioner."""

    def start(self, name, command):
        return super().start(name, command) if name != "drd" else None

    def provision(self, encapsulation, outer, subscribers):
        self.client = sb.Client(self.socket, sb.PROVISIONER)
        self.encapsulation, self.outer = encapsulation, outer
        self.client.commit(sb.transaction([sb.pool(1, POOL4, 9), sb.pool(2, POOL6, 36),
                                           sb.policy(1, {"a": 1, "b": 1})]))
        for first in range(0, subscribers, LOAD_CHUNK):
            end = min(first + LOAD_CHUNK, subscribers)
            self.client.commit(sb.transaction([self.record(n, MTU) for n in range(first, end)]))
        self.client.settle()

    def record(self, n: int, mtu: int) -> bytes:
        site = packets.Site(n)
        local = packets.DR_LOCAL4 if self.outer == 4 else packets.DR_LOCAL6
        remotes = site.remote4 if self.outer == 4 else site.remote6
        udp = self.encapsulation == "gre-udp"
        return sb.subscriber(n + 1, n, [(site.v4, 29), (site.v6, 56)],
                             [(site.tunnel_id(k), udp, local, remotes[k], line)
                              for k, line in enumerate("ab")], mtu)

    def close(self):
        if hasattr(self, "client"):
            self.client.close()
        super().close()


def write_packets(path: str, options, keep_deleted: bool) -> None:
    """Packets for subscribers at random; none for those that are about to be deleted."""
    random.seed(1)
    frames = []
    while len(frames) < options.distinct:
        n = random.randrange(options.subscribers)
        if n % 4 == DELETED and not keep_deleted:
            continue
        site = packets.Site(n)
        if options.direction == "uplink" or options.direction == "mixed" and len(frames) % 2:
            frames.append(packets.uplink(site, 4, 4, options.encapsulation, 60))
        else:
            frames.append(packets.downlink(site, 4, 60))
    packets.write_pcap(path, frames)


class Churn:
    """Transactions, made beforehand, that replace the tunnels of some subscribers and delete and
    bring back others. After a whole number of laps everything is as it was."""

    def __init__(self, dut: SouthboundDut, options):
        random.seed(2)
        replaced = [n for n in range(options.subscribers) if n % 4 == REPLACED]
        deleted = [n for n in range(options.subscribers) if n % 4 == DELETED]
        count = min(options.changed, len(replaced), len(deleted))
        self.steps: list[tuple[int, int, bytes]] = []  # upserts, deletes, the transaction
        replaced, deleted = random.sample(replaced, count), random.sample(deleted, count)
        for mtu in (OTHER_MTU, MTU):
            for first in range(0, count, options.batch):
                a = replaced[first:first + options.batch]
                b = deleted[first:first + options.batch]
                self.steps.append((len(a), 0, sb.transaction([dut.record(n, mtu) for n in a])))
                self.steps.append((0, len(b), sb.transaction([sb.deletion(n + 1) for n in b])))
                self.steps.append((len(b), 0, sb.transaction([dut.record(n, MTU) for n in b])))
        self.at = 0

    def run(self, client: sb.Client, seconds: float, rate: float) -> dict:
        """For this long; rate: deletes a second at most, and twice as many upserts; 0: all that the
        data plane takes. Ends with every transaction answered."""
        started = time.monotonic()
        upserts = deletes = 0
        while (now := time.monotonic() - started) < seconds:
            more, fewer, blob = self.steps[self.at]
            if rate and deletes > rate * now:
                client.settle()
                client.idle(deletes / rate - now)
                continue
            client.commit(blob)
            upserts, deletes = upserts + more, deletes + fewer
            self.at = (self.at + 1) % len(self.steps)
        client.settle()
        return {"upserts": upserts, "deletes": deletes, "seconds": time.monotonic() - started}


def forwarding_rate(dut: Dut, view: sb.CountersView, work) -> tuple[float, float, object]:
    """Packets per second and the polling thread's share of its core, while work() runs."""
    cpu, n0, t0 = worker_cpu_time(dut.dataplane.pid), view.forwarded(), time.monotonic()
    result = work()
    t1, n1 = time.monotonic(), view.forwarded()
    used = worker_cpu_time(dut.dataplane.pid) - cpu
    return (n1 - n0) / (t1 - t0), used / (t1 - t0), result


def with_a_whole_core(dut: Dut, view: sb.CountersView, share_wanted: float,
                      work) -> tuple[float, list]:
    """The rate of the first try in which the polling thread got this share of its core; the results
    of all tries, because each of them may have lost packets."""
    results = []
    for _ in range(ATTEMPTS):
        rate, share, result = forwarding_rate(dut, view, work)
        results.append(result)
        if share >= share_wanted:
            return rate, results
    raise SystemExit(f"bench: the polling thread never got {100 * share_wanted:.0f} % of its core in "
                     f"{ATTEMPTS} tries: the machine is too busy to measure")


def policy_change_ms(dut: SouthboundDut) -> float:
    """How long a change of the policy of all subscribers keeps the table writer busy."""
    took = []
    for weight in (3, 1):
        started = time.monotonic()
        dut.client.commit(sb.transaction([sb.policy(1, {"a": weight, "b": 1})]))
        dut.client.settle()
        took.append(time.monotonic() - started)
    return round(max(took) * 1e3, 1)


def update_southbound(options, build: str, work: str) -> dict:
    os.sched_setaffinity(0, {0})  # what feeds the table writer keeps off the worker's CPU
    rx = f"{work}/rx.pcap"
    write_packets(rx, options, keep_deleted=False)
    dut = SouthboundDut(build, f"{work}/southbound", rx, options.encapsulation, 4, options.subscribers,
                        distinct=options.distinct, huge=options.huge)
    try:
        reader = sb.Client(dut.socket, sb.READER)
        view = reader.counters()
        churn = Churn(dut, options)
        time.sleep(0.5)
        lost_before = view.exits()
        quiet, busy, done = [], [], []
        for _ in range(options.rounds):
            rate, _ = with_a_whole_core(dut, view, options.share, lambda: time.sleep(options.seconds))
            quiet.append(rate)
            rate, results = with_a_whole_core(
                dut, view, options.share, lambda: churn.run(dut.client, options.seconds, options.rate))
            busy.append(rate)
            done.extend(results)
        policy_ms = policy_change_ms(dut)
        after = view.exits()
        view.close()
        reader.close()
    finally:
        dut.close()
    lost = {k: v - lost_before[k] for k, v in after.items()
            if v > lost_before[k] and not k.startswith("forwarded.")}
    spent = sum(d["seconds"] for d in done)
    return {"name": "tables.update", "path": "southbound", "subscribers": options.subscribers,
            "upserts_per_s": round(sum(d["upserts"] for d in done) / spent),
            "deletes_per_s": round(sum(d["deletes"] for d in done) / spent),
            "packets_lost": sum(lost.values()), "lost_by_exit": lost,
            "mpps_quiet": round(statistics.median(quiet) / 1e6, 2),
            "mpps_busy": round(statistics.median(busy) / 1e6, 2),
            "ratio": round(statistics.median(b / q for b, q in zip(busy, quiet)), 3),
            "policy_change_ms": policy_ms, "rounds": options.rounds, "records_per_transaction": options.batch,
            "paced": bool(options.rate)}


def update_api(options, dut: Dut, view: sb.CountersView, work: str) -> dict:
    """drcli apply of changed subscribers. The API deletes one object a call: no rate of deletes."""
    paths = []
    for turn, mtu in enumerate((OTHER_MTU, MTU)):
        paths.append(f"{work}/changed-{turn}.ndjson")
        with open(f"{dut.work}/provision.ndjson", encoding="utf-8") as source, \
                open(paths[-1], "w", encoding="utf-8") as out:
            count = 0
            for line in source:
                if count == options.changed:
                    break
                resource = json.loads(line)
                if "subscriber" not in resource:
                    continue
                for tunnel in resource["subscriber"]["tunnels"]:
                    tunnel["mtu"] = mtu
                out.write(json.dumps(resource) + "\n")
                count += 1
    before = view.not_forwarded()
    quiet, busy, seconds = [], [], []
    for path in paths:
        rate, _ = with_a_whole_core(dut, view, options.share, lambda: time.sleep(options.seconds))
        quiet.append(rate)

        def apply(file=path):
            started = time.monotonic()
            dut.drcli("apply", "-f", file)
            return time.monotonic() - started
        rate, _, took = forwarding_rate(dut, view, apply)
        busy.append(rate)
        seconds.append(took)
    return {"name": "tables.update", "path": "api", "subscribers": options.subscribers,
            "upserts_per_s": round(options.changed * len(paths) / sum(seconds)),
            "deletes_per_s": None, "packets_lost": view.not_forwarded() - before,
            "mpps_quiet": round(statistics.median(quiet) / 1e6, 2),
            "mpps_busy": round(statistics.median(busy) / 1e6, 2)}


def memory_mib(pid: int) -> int:
    """Resident, huge pages included."""
    total = 0
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith(("VmRSS:", "HugetlbPages:")):
                total += int(line.split()[1])
    return total // 1024


def load_figures(options, dut: Dut) -> dict:
    status = json.loads(dut.drcli("-o", "json", "system", "status"))
    used = {m["what"]: int(m["bytes"]) for m in status["memory"]}
    tables = sum(v for k, v in used.items() if not k.startswith(("writer.", "counters")))
    rows = {r["table"]: int(r.get("installed", 0)) for r in status["rows"]}
    if rows["subscribers"] != options.subscribers or rows["tunnels"] != 2 * options.subscribers:
        raise SystemExit(f"bench: not everything was loaded: {rows}")
    return {"name": "tables.load", "subscribers": rows["subscribers"], "tunnels": rows["tunnels"],
            "seconds": round(dut.load_seconds, 1),
            "table_bytes_per_subscriber": round(tables / rows["subscribers"]),
            "cpu_seconds": {"drcli": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, 1),
                            "drd": round(sum(thread_cpu_times(dut.drd.pid).values()), 1),
                            "table_writer": round(thread_cpu_times(dut.dataplane.pid)[
                                str(dut.dataplane.pid)], 1)},
            "rss_mib": memory_mib(dut.dataplane.pid), "drd_rss_mib": memory_mib(dut.drd.pid),
            "memory": used}


def restart(dut: Dut, attribute: str, name: str) -> float:
    """Seconds from the new start until everything is installed."""
    old = getattr(dut, attribute)
    stop(old)
    dut.processes.remove(old)
    started = time.monotonic()
    setattr(dut, attribute, dut.start(name, old.args))
    if name == "drd":
        dut.uuid = ""  # the data plane is the same
    dut.wait_for_sync()
    return time.monotonic() - started


def resync(options, dut: Dut) -> list[dict]:
    reader = sb.Client(dut.socket, sb.READER)
    view = reader.counters()
    before = view.not_forwarded()
    seconds = restart(dut, "drd", "drd")
    lines = [{"name": "tables.resync", "who": "drd", "seconds": round(seconds, 2),
              "packets_lost": view.not_forwarded() - before, "subscribers": options.subscribers}]
    view.close()
    reader.close()
    seconds = restart(dut, "dataplane", "dr-dataplane")
    reader = sb.Client(dut.socket, sb.READER)
    view = reader.counters()
    lines.append({"name": "tables.resync", "who": "dr-dataplane", "seconds": round(seconds, 2),
                  "packets_lost": view.not_forwarded(), "subscribers": options.subscribers})
    view.close()
    reader.close()
    return lines


def with_drd(options, build: str, work: str, parts: list[str]) -> list[dict]:
    rx = f"{work}/rx.pcap"
    write_packets(rx, options, keep_deleted=True)
    dut = Dut(build, f"{work}/dut", rx, options.encapsulation, 4, options.subscribers,
              distinct=options.distinct, huge=options.huge)
    lines = []
    try:
        if "load" in parts:
            lines.append(load_figures(options, dut))
        if "update" in parts:
            reader = sb.Client(dut.socket, sb.READER)
            view = reader.counters()
            lines.append(update_api(options, dut, view, work))
            view.close()
            reader.close()
        if "resync" in parts:
            lines.extend(resync(options, dut))
    finally:
        dut.close()
    return lines


def main(arguments: list[str], build: str) -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench tables", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help="update, load, resync; all of them")
    parser.add_argument("--json", metavar="FILE", help="append the JSON lines to FILE")
    parser.add_argument("--subscribers", type=int, default=1_000_000)
    parser.add_argument("--encapsulation", choices=["gre", "gre-udp"], default="gre-udp")
    parser.add_argument("--direction", choices=["downlink", "uplink", "mixed"], default="mixed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a sample")
    parser.add_argument("--changed", type=int, default=100_000,
                        help="subscribers that are replaced, and that are deleted and brought back")
    parser.add_argument("--batch", type=int, default=256, help="records in a transaction")
    parser.add_argument("--rate", type=float, default=0,
                        help="deletes a second, and twice as many upserts; 0: as many as it takes")
    parser.add_argument("--path", choices=["southbound", "api"], action="append",
                        help="for update; both by default")
    parser.add_argument("--distinct", type=int, default=65536, help="packets in the source pcap")
    parser.add_argument("--share", type=float, default=0.97,
                        help="of its core that the polling thread must have got in a sample")
    parser.add_argument("--no-huge", dest="huge", action="store_false", help="small pages")
    options = parser.parse_args(arguments)
    parts = options.parts or ["update", "load", "resync"]
    if unknown := set(parts) - {"update", "load", "resync"}:
        parser.error(f"no part '{unknown.pop()}'; there are: update, load, resync")
    if os.geteuid() != 0:
        raise SystemExit("bench: needs root for DPDK memory; try sudo scripts/bench tables")
    paths = options.path or ["southbound", "api"]
    # So that what was started is ended, and huge pages are given back.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))

    def emit(result: dict) -> None:
        line = json.dumps(result)
        print(line, flush=True)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as f:
                f.write(line + "\n")

    pages = pages_for_pair(options.distinct, options.subscribers) + options.subscribers // 2000
    with HugePages(pages if options.huge else 0), tempfile.TemporaryDirectory(prefix="dr-bench-") as work:
        if "update" in parts and "southbound" in paths:
            emit(update_southbound(options, build, work))
            os.sched_setaffinity(0, range(os.cpu_count()))
        rest = [p for p in parts if p != "update" or "api" in paths]
        if rest:
            for result in with_drd(options, build, work, rest):
                emit(result)
    return 0
