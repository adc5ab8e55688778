"""scripts/bench instructions: the pipeline's instructions a packet, by stage, as callgrind counts.

They do not depend on what else the machine does. `scripts/test unit` compares them with
tests/instructions/baseline.json.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "instructions"))

import check
import measure


def main(arguments, _build):
    parser = argparse.ArgumentParser(prog="scripts/bench instructions",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--json", metavar="FILE", help="write the lines into FILE as well")
    parser.add_argument("--refresh", action="store_true",
                        help="make these counts the baseline of scripts/test unit")
    options = parser.parse_args(arguments)
    try:
        measure.check_machine()
        toolchain, cases = measure.count(measure.build())
    except (measure.CannotRun, measure.Failed) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    lines = [{"name": "instructions.toolchain"} | toolchain]
    lines += [{"name": "instructions"} | case for case in cases]
    lines += [{"name": "instructions.bursts"} | burst for burst in measure.bursts(cases)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    print(text, end="")
    if options.json:
        Path(options.json).write_text(text, encoding="utf-8")
    if options.refresh:
        check.refresh(toolchain, cases)
        print(f"bench: {check.BASELINE} is written", file=sys.stderr)
    return 0
