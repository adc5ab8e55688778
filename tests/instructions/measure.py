"""Builds the pipeline without AVX-512, which valgrind does not know, and counts its instructions."""

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from profile_reader import Profile

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build-instructions"
PROGRAM = "tests/instructions/pipeline_instructions"
TIMEOUT = 300


class CannotRun(Exception):
    """This machine cannot count; the text says why."""


class Failed(Exception):
    """The build or the program failed."""


def check_machine():
    if shutil.which("valgrind") is None:
        raise CannotRun("valgrind is not installed: run scripts/deps")
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        if not re.search(r"^flags\s*:.*\bavx2\b", f.read(), re.MULTILINE):
            raise CannotRun("the processor has no AVX2, which the build for x86-64-v3 uses")


def build():
    """The folder of the build; DR_BUILD is not asked, as that has another -march."""
    _run([ROOT / "scripts" / "build", "-q", "--instructions"])
    return BUILD


def _run(command):
    try:
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise Failed(f"{command[0]} took more than {TIMEOUT} s") from None
    if done.returncode != 0:
        raise Failed(f"{command[0]}: exit {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def flags(folder):
    """The options that the stages are compiled with and that change their code."""
    with open(folder / "compile_commands.json", encoding="utf-8") as f:
        command = next(entry["command"] for entry in json.load(f)
                       if entry["file"].endswith("worker/parse.cpp"))
    # Debian's DPDK gives a -march of its own, and the last one counts.
    words = [w for w in command.split() if re.match(r"-(O|m|f(?!diagnostics)|std=)", w)]
    last = max((i for i, w in enumerate(words) if w.startswith("-march=")), default=None)
    return " ".join(w for i, w in enumerate(words) if not w.startswith("-march=") or i == last)


def count(folder):
    """(toolchain, cases): what scripts/bench instructions prints, without the names."""
    with tempfile.TemporaryDirectory(prefix="dr-instructions-") as work:
        output = _run(["valgrind", "-q", "--tool=callgrind", "--instr-atstart=no",
                       f"--callgrind-out-file={work}/profile", folder / PROGRAM])
        lines = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
        profiles = {}
        for path in Path(work).glob("profile.*"):
            with open(path, encoding="utf-8", errors="replace") as f:
                profile = Profile(f)
            profiles[profile.label] = profile
    toolchain = lines[0] | {"flags": flags(folder)}
    return toolchain, [_case(line, profiles[line["label"]]) for line in lines[1:]]


def _case(line, profile):
    packets = line.pop("packets")
    stages = profile.stages()
    return line | {"instructions_per_packet": round(sum(stages.values()) / packets, 2),
                   "stages": {name: round(cost / packets, 2) for name, cost in stages.items()
                              if cost != 0}}


def bursts(cases):
    """What a burst costs once, and a packet in it, from bursts of 1 and of 64 packets."""
    for small in cases:
        if small["burst"] != 1:
            continue
        same = [c for c in cases if all(c[k] == small[k] for k in (
            "direction", "encapsulation", "outer", "inner"))]
        per_packet = {c["burst"]: c["instructions_per_packet"] for c in same}
        packet = (64 * per_packet[64] - per_packet[1]) / 63
        yield {k: small[k] for k in ("direction", "encapsulation", "outer", "inner")} | {
            "instructions_per_packet": {str(n): c for n, c in sorted(per_packet.items())},
            "per_burst": round(per_packet[1] - packet, 1), "per_packet": round(packet, 1)}
