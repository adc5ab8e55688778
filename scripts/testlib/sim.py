"""The sim suite: the simulator's scenarios, shortened. `scripts/sim SCENARIO` runs them in full."""

from . import unit
from .report import ROOT

BUILD = ROOT / "build"


def run(report):
    if not report.command("the simulator builds", [ROOT / "scripts" / "build", "-q", "--only",
                                                   "tests/sim/sim tests/sim/sim-test"]):
        return
    unit.run_suite(report, "release", BUILD, "sim")
