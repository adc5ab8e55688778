#!/usr/bin/python3
"""scripts/lab as a user runs it: it shows what it promises, lines are pulled and plugged, all goes again."""

import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from lablib import faults, saved, ur  # noqa: E402
from lablib.cases import Cases, expect  # noqa: E402
from lablib.shell import run  # noqa: E402

cases = Cases()
NAME = f"t{uuid.uuid4().hex[:6]}"


def scripts_lab(*arguments, timeout=90):
    return run([ROOT / "scripts" / "lab", "--name", NAME, *arguments], timeout=timeout).stdout


@contextmanager
def lab_of_a_user():
    try:
        yield None
    finally:
        subprocess.run([ROOT / "scripts" / "lab", "--name", NAME, "down"], check=False,
                       stdout=subprocess.DEVNULL)


@cases.case("scripts/lab up: a site attaches, downloads, survives its line, and goes back later")
def _(_context):
    shown = scripts_lab("up", "--no-build")
    for text in ("attached after", "checksums right", "carries traffic", "packets lost",
                 "no sign of life", "waits to be restored", "Try next"):
        expect(text in shown, f"\"{text}\" is not in\n{shown}")


@cases.case("scripts/lab cut takes the line that carries: traffic moves to the other one")
def _(_context):
    lab = saved.load(NAME)
    ur.wait_carries(lab, "b")
    scripts_lab("cut", "b")
    expect(faults.state(lab, "b") == "cut", faults.state(lab, "b"))
    ur.wait_carries(lab, "a")
    scripts_lab("mend", "b")
    ur.wait_up(lab, "b", seconds=20)


@cases.case("scripts/lab unplug takes a link down, and mend brings it back with its IPv6 address")
def _(_context):
    lab = saved.load(NAME)
    for line, other in (("a", "b"), ("b", "a")):
        scripts_lab("unplug", line)
        expect(faults.state(lab, line) == "unplugged", faults.state(lab, line))
        ur.wait_carries(lab, other)
        expect("link is down" in ur.tunnel(lab, line)["cause"], f"{ur.tunnel(lab, line)}")
        scripts_lab("mend", line)
        expect(faults.state(lab, line) == "plugged in", faults.state(lab, line))
        ur.wait_up(lab, line, seconds=20)


@cases.case("scripts/lab down leaves no process, namespace or file behind")
def _(_context):
    lab = saved.load(NAME)
    scripts_lab("down")
    left = [n.name for n in lab.net.nodes.values() if n.exists()]
    expect(not left, f"{left}")
    expect(not [p.name for p in lab.processes() if p.alive()], "processes")
    expect(not os.path.exists(lab.directory), f"{lab.directory} is there")


if __name__ == "__main__":
    sys.exit(cases.run(lab_of_a_user))
