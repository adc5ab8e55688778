"""The fuzz suite: each libFuzzer target for a short, fixed time. `scripts/soak fuzz` for longer."""

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .report import ROOT, Report, captured

BUILD = ROOT / "build-fuzz"
SECONDS = 4


def run(report, seconds=SECONDS, only=()):
    if not report.command("the fuzzers build with clang++",
                          [ROOT / "scripts" / "build", "-q", "--fuzz"]):
        return
    targets = [t for t in _targets() if not only or t.name in only]
    if not targets:
        report.case("skip", "fuzzing", why="no fuzzer was built"
                    + (f" with a name of: {' '.join(only)}" if only else ""))
    # Each has one thread.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda target: _fuzz(report, target, seconds), targets))


def _targets():
    folder = BUILD / "tests" / "fuzz"
    return sorted(p for p in folder.glob("*") if p.is_file() and os.access(p, os.X_OK))


def _fuzz(report, target, seconds):
    findings = BUILD / "findings" / target.name
    findings.mkdir(parents=True, exist_ok=True)
    seeds = ROOT / "tests" / "fuzz" / "corpus" / target.name
    started = time.monotonic()
    # In memory: what a fuzzer writes for each input is not to wait for a disk.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as corpus, \
            tempfile.TemporaryDirectory(dir=memory) as scratch:
        command = [target, f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=4096",
                   f"-artifact_prefix={findings}/", "-print_final_stats=1", corpus]
        if seeds.is_dir():
            command.append(seeds)
        status, output = captured(command, seconds + 120, {**os.environ, "TMPDIR": scratch})
    runs = next((line.split()[-1] for line in output.splitlines()
                 if "stat::number_of_executed_units" in line), "?")
    sentence = f"{target.name} finds nothing in {seconds} s"
    if status == 0:
        report.case("pass", sentence, time.monotonic() - started, f"{runs} inputs")
    else:
        report.case("FAIL", sentence, time.monotonic() - started,
                    f"exit {status}; the input is in {Path(findings).relative_to(ROOT)}\n"
                    + "\n".join(output.splitlines()[-40:]))


if __name__ == "__main__":
    whole = Report()
    run(whole, int(sys.argv[1]), sys.argv[2:])
    print(whole.summary())
    sys.exit(1 if whole.failed else 0)
