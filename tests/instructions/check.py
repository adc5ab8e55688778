#!/usr/bin/python3
"""Instructions a packet, stage by stage, against tests/instructions/baseline.json.

Part of `scripts/test unit`; prints each figure as a case and `N passed, N failed` at the end.
`scripts/bench instructions --refresh` writes the baseline anew.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "scripts")]

import measure
from judge import figures, judge

from testlib.report import Report

BASELINE = HERE / "baseline.json"
REFRESH = "scripts/bench instructions --refresh"


def load():
    with open(BASELINE, encoding="utf-8") as f:
        return json.load(f)


def refresh(toolchain, cases):
    """Writes the counts as the new baseline; the margins stay."""
    baseline = toolchain | {"margin": load()["margin"], "cases": {
        case["label"]: figures(case) for case in cases}}
    BASELINE.write_text(json.dumps(baseline, indent=1) + "\n", encoding="utf-8")


def check(report, baseline, toolchain, cases):
    if toolchain["compiler"] != baseline["compiler"]:
        for case in cases:
            report.case("skip", f"{case['label']}: "
                        f"{case['instructions_per_packet']:.1f} instructions a packet",
                        why=f"compiled by {toolchain['compiler']}, the baseline by "
                            f"{baseline['compiler']}: they cannot be compared")
        return
    improved = 0
    for case in cases:
        for status, sentence, remark in judge(case, baseline["cases"].get(case["label"]),
                                              baseline["margin"]):
            report.case(status, sentence, why=remark)
            improved += remark.startswith("better")
    for label in baseline["cases"].keys() - {case["label"] for case in cases}:
        report.case("FAIL", f"{label} is counted", why="the baseline has it, this build does not")
    if improved:
        print(f"  {improved} figures are better than the baseline by more than the margin: keep "
              f"that with {REFRESH}")
    if report.failed:
        print(f"  When it is on purpose: {REFRESH}")
        for key in ("dpdk", "flags"):
            if toolchain[key] != baseline[key]:
                print(f"  The baseline has {key} {baseline[key]}, this build {toolchain[key]}")


def main():
    report = Report()
    try:
        measure.check_machine()
        check(report, load(), *measure.count(measure.build()))
    except measure.CannotRun as why:
        report.case("skip", "instructions a packet, stage by stage", why=str(why))
    except (measure.Failed, OSError, ValueError, KeyError) as error:
        report.case("FAIL", "instructions are counted", why=f"{type(error).__name__}: {error}")
    print(report.summary())
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
