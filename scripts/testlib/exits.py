"""Each file of dataplane/worker in which packets leave names the exits in its head.

    PYTHONPATH=scripts python3 -m testlib.exits            prints what is wrong; exit 1 with findings
    PYTHONPATH=scripts python3 -m testlib.exits --write    writes the heads
"""

import re
import sys
import textwrap
from pathlib import Path

WORKER = Path(__file__).resolve().parents[2] / "dataplane" / "worker"
# Of what has left: exits.h counts, context.h carries out, drop_note.cpp notes.
AFTERWARDS = {"exits.h", "context.h", "drop_note.cpp"}
HEAD = re.compile(r"^// Exits: .*\n(?://   .*\n)*", re.MULTILINE)


def names():
    """{identifier: counter}, in the order of exits.def."""
    return dict(re.findall(r'^X\((\w+), "([^"]+)"', (WORKER / "exits.def").read_text(), re.MULTILINE))


def head(text, known):
    """The lines that `text` has to have; empty: none leaves there."""
    used = set(re.findall(r"\bExit::(\w+)", text))
    counters = [counter for identifier, counter in known.items() if identifier in used]
    if not counters:
        return ""
    return "\n".join(textwrap.wrap("Exits: " + " ".join(counters) + ".", 100, initial_indent="// ",
                                   subsequent_indent="//   ", break_on_hyphens=False)) + "\n"


def with_head(text, known):
    """`text` with the right head: the last lines of its first comment."""
    text = HEAD.sub("", text)
    lines = text.splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if not line.startswith("//"))
    return "".join(lines[:end]) + head(text, known) + "".join(lines[end:])


def files():
    return [path for path in sorted(WORKER.iterdir())
            if path.suffix in (".h", ".cpp") and path.name not in AFTERWARDS]


def findings():
    known = names()
    for path in files():
        text = path.read_text()
        if with_head(text, known) != text:
            yield (f"dataplane/worker/{path.name}: its head does not name its exits: "
                   "PYTHONPATH=scripts python3 -m testlib.exits --write")


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        for each in files():
            each.write_text(with_head(each.read_text(), names()))
    wrong = list(findings())
    print("\n".join(wrong) or "each stage names its exits")
    sys.exit(1 if wrong else 0)
