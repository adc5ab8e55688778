"""scripts/bench attacks: what attacks cost the daemons, and what other sites notice of them.

Each attack has a lab of its own in network namespaces, with the real dr-dataplane, drd and three
urd. It lasts --seconds; meanwhile a stream of 1,000 numbered packets a second goes to one
bystander, urd of another starts and attaches, and `drcli system status` is asked again and again.
Memory, open descriptors and CPU of the daemons are those before, at most during, and 10 s after the
attack. One JSON line each. Needs root.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import attack_kinds as kinds
from lablib import topology as t
from lablib import ur
from lablib.lab import may_use_namespaces, temporary_lab
from lablib.shell import LabError, run, wait_until
from lablib.stream import Stream

TICKS = os.sysconf("SC_CLK_TCK")
BYSTANDER, NEWCOMER = 2, 3  # sites
SETTLED, SAMPLE, AFTERWARDS = 1.0, 0.2, 10.0  # seconds
SHORT = 2.0  # over which the CPU of a quiet moment is taken
BEGIN, END = "<!-- attacks -->", "<!-- end of attacks -->"


class Daemon:
    """What a process costs now; `cpu` is seconds since its start."""

    def __init__(self, process):
        self.pid = process.pid

    def look(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as status:
            rss, = (int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return {"rss": rss / 1024, "fds": len(os.listdir(f"/proc/{self.pid}/fd")),
                "cpu": (int(fields[11]) + int(fields[12])) / TICKS, "at": time.monotonic()}


def cpu_between(first, last):
    return round((last["cpu"] - first["cpu"]) / max(last["at"] - first["at"], 1e-3), 2)


class Watch:
    """The daemons of a lab. Memory and descriptors are peaks of what `sample` has seen."""

    def __init__(self, lab):
        self.lab = lab

    def daemons(self):
        return {"dr-dataplane": self.lab.router.dataplane, "drd": self.lab.router.drd,
                "urd": self.lab.urds["site-1"]}

    def look(self):
        """A daemon that has ended is missing."""
        found = {}
        for name, process in self.daemons().items():
            try:
                found[name] = Daemon(process).look()
            except (FileNotFoundError, ProcessLookupError):
                pass
        return found

    def quiet(self):
        first = self.look()
        time.sleep(SHORT)
        last = self.look()
        return {name: {"rss_mib": round(now["rss"], 1), "fds": now["fds"],
                       "cpu": cpu_between(first[name], now)}
                for name, now in last.items() if name in first}

    def during(self, ending):
        """Until `ending` is set."""
        first, peaks = self.look(), {}
        last = first
        while not ending.wait(SAMPLE):
            last = self.look()
            for name, now in last.items():
                peak = peaks.setdefault(name, {"rss": 0, "fds": 0})
                for what in peak:
                    peak[what] = max(peak[what], now[what])
        return {name: {"rss_mib": round(peak["rss"], 1), "fds": peak["fds"],
                       "cpu": cpu_between(first[name], last[name])}
                for name, peak in peaks.items() if name in last and name in first}


class Newcomer(threading.Thread):
    """urd of a site starts and attaches. `seconds`: to the attachment; None: not in time."""

    def __init__(self, lab, patience):
        super().__init__(daemon=True)
        self.lab, self.patience, self.seconds = lab, patience, None
        self.start()

    def run(self):
        began = time.monotonic()
        try:
            self.lab.start_urd(self.lab.sites[NEWCOMER - 1])
            wait_until(self.attached, "an attachment", seconds=self.patience, interval=0.05)
            self.seconds = round(time.monotonic() - began, 2)
        except (LabError, ValueError):
            pass

    def attached(self):
        now = ur.status(self.lab, NEWCOMER)["signalling"]
        return now["connected"] and not now["cached"]


class Operator(threading.Thread):
    """Asks for the status until the end; how long each answer took, in ms. None: there was none."""

    def __init__(self, lab, ending):
        super().__init__(daemon=True)
        self.lab, self.ending, self.answers = lab, ending, []
        self.start()

    def run(self):
        while not self.ending.wait(0.5):
            began = time.monotonic()
            try:
                run(self.lab.router.drcli_command("system", "status"), timeout=30)
                self.answers.append(round((time.monotonic() - began) * 1000))
            except LabError:
                self.answers.append(None)


def measure(name, options):
    kinds.raise_descriptors()
    with temporary_lab(sites=3, signalled={"wait_to_restore": 5}) as lab:
        for site in lab.sites:
            ur.wait_up(lab, site=site.number, seconds=30)
        lab.urds[t.Site(NEWCOMER).name].stop()
        watch = Watch(lab)
        time.sleep(SETTLED)
        before = watch.quiet()
        stream = Stream(lab, "inet", f"lan{BYSTANDER}", t.Site(BYSTANDER).lan4, rate=options.rate)
        try:
            ending = threading.Event()
            begin = time.monotonic_ns()
            with kinds.KINDS[name](lab) as done:
                threading.Timer(options.seconds, ending.set).start()
                newcomer = Newcomer(lab, options.seconds)
                operator = Operator(lab, ending)
                during = watch.during(ending)
                operator.join(40)
                newcomer.join(options.seconds + 40)
            end = time.monotonic_ns()
            time.sleep(AFTERWARDS - SHORT)
            after = watch.quiet()
            recording = stream.end()
        finally:
            stream.kill()
        seen, later = recording.window(begin, end), recording.window(end, time.monotonic_ns())
    answered = [x for x in operator.answers if x is not None]
    return {"name": "attacks", "attack": name, "seconds": options.seconds, "done": done(),
            "daemons": {d: {"before": before.get(d), "during": during.get(d), "after": after.get(d)}
                        for d in before},
            "packets": seen["packets"], "lost": seen["lost"], "lost_after": later["lost"],
            "attach_s": newcomer.seconds,
            "status_p50_ms": statistics.median(answered) if answered else None,
            "status_max_ms": max(answered, default=None),
            "status_failed": operator.answers.count(None)}


# The table

def cell(daemon, what):
    values = [daemon[when][what] if daemon.get(when) else "ended"
              for when in ("before", "during", "after")]
    if what == "rss_mib":
        values = [v if isinstance(v, str) else f"{v:.0f}" for v in values]
    return " / ".join(str(v) for v in values)


def table(results):
    head = ["attack", "dr-dataplane: MiB", "fds", "CPU", "drd: MiB", "fds", "CPU", "urd: MiB",
            "fds", "CPU", "lost", "attach, s", "status, ms"]
    lines = ["| " + " | ".join(head) + " |", "|---" + "|---:" * (len(head) - 1) + "|"]
    for r in results:
        what = kinds.KINDS[r["attack"]].what
        row = [f"{what} ({r['done']})" if r["done"] else what]
        for daemon in ("dr-dataplane", "drd", "urd"):
            row += [cell(r["daemons"].get(daemon, {}), x) for x in ("rss_mib", "fds", "cpu")]
        status = "none" if r["status_p50_ms"] is None else \
            f"{r['status_p50_ms']:.0f} / {r['status_max_ms']}"
        if r["status_failed"]:
            status += f", {r['status_failed']} failed"
        row += [f"{r['lost']} of {r['packets']}", str(r["attach_s"] or "not in time"), status]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def document(path, results):
    """Puts the table between the markers of a document."""
    text = Path(path).read_text(encoding="utf-8")
    before, found, rest = text.partition(BEGIN)
    _old, found_too, after = rest.partition(END)
    if not found or not found_too:
        raise SystemExit(f"bench: {path}: has no lines {BEGIN} and {END} to put the table between")
    Path(path).write_text(f"{before}{BEGIN}\n{table(results)}\n{END}{after}", encoding="utf-8")


def load(path):
    """The results of a file; of an attack measured again, the last."""
    with open(path, encoding="utf-8") as lines:
        found = {r["attack"]: r for r in map(json.loads, lines) if r["name"] == "attacks"}
    return [found[name] for name in kinds.KINDS if name in found]


def main(argv, build):
    parser = argparse.ArgumentParser(
        prog="scripts/bench attacks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog="attacks:\n" + "\n".join(
            f"  {name:20}{function.what}" for name, function in kinds.KINDS.items()))
    parser.add_argument("--only", action="append", metavar="NAME", choices=list(kinds.KINDS),
                        help="one of several; default: all")
    parser.add_argument("--seconds", type=float, default=10, help="of each attack (default 10)")
    parser.add_argument("--rate", type=float, default=1000,
                        help="packets a second of the bystander")
    parser.add_argument("--json", metavar="FILE", help="also add the lines to this file")
    parser.add_argument("--table", metavar="FILE",
                        help="measure nothing; make the table of what a file has")
    parser.add_argument("--document", metavar="FILE",
                        help="put the table there, between its markers")
    options = parser.parse_args(argv)
    if options.table:
        results = load(options.table)
        if options.document:
            document(options.document, results)
        else:
            print(table(results))
        return 0
    os.environ["DR_BUILD"] = build
    why = may_use_namespaces()
    if why:
        print(f"bench attacks: error: {why}; run it as root", file=sys.stderr)
        return 2
    results, failed = [], 0
    for name in options.only or kinds.KINDS:
        try:
            results.append(measure(name, options))
        except (LabError, ModuleNotFoundError) as error:
            print(f"bench attacks: {name}: {error}", file=sys.stderr)
            failed = 1
            continue
        text = json.dumps(results[-1])
        print(text, flush=True)
        if options.json:
            with open(options.json, "a", encoding="utf-8") as lines:
                lines.write(text + "\n")
    if options.document:
        document(options.document, results)
    return failed
