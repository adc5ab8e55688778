"""scripts/test: the suites that were named, or all."""

import sys
import time

from . import fuzz, programs, sim, unit
from .report import Report

SUITES = {
    "unit": unit.run,
    "replay": programs.replay,
    "netns": programs.netns,
    "crash": programs.crash,
    "fuzz": fuzz.run,
    "sim": sim.run,
}
# Run only when named.
MORE = {"tsan": unit.tsan}


def main(names):
    suites = SUITES | MORE
    unknown = [name for name in names if name not in suites]
    if unknown:
        print(f"scripts/test: error: no suite {', '.join(unknown)}; there are: "
              f"{' '.join(suites)}", file=sys.stderr)
        return 2
    report = Report()
    taken = []
    started = time.monotonic()
    for name in names or SUITES:
        begun = time.monotonic()
        print(f"== {name}", flush=True)
        suites[name](report)
        taken.append(f"{name} {time.monotonic() - begun:.0f} s")
    print(f"== time: {', '.join(taken)}; in all {time.monotonic() - started:.0f} s")
    print(report.summary(), flush=True)
    return 1 if report.failed else 0


sys.exit(main(sys.argv[1:]))
