"""What sanitizers report of the programs under test (scripts/build --sanitize address --programs).

Many tests stop or kill a program on purpose, and nobody looks at its exit status. So whoever ends a
program shows its output here, and cases.py fails the case that has a report.
"""

import os
import re
from pathlib import Path

SUPPRESSIONS = Path(__file__).resolve().parents[2] / "tests" / "unit" / "lsan.supp"
# Also where a daemon ends by SIGTERM: what it leaks then, it leaks on the way too.
# Little memory waits in quarantine, and free memory goes back soon: tests that say what a daemon
# may hold mean what it has in use.
# Clocks are moved by a library that is loaded before the sanitizer's.
os.environ.setdefault("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1:abort_on_error=0:"
                      "quarantine_size_mb=1:thread_local_quarantine_size_kb=16:"
                      "allocator_release_to_os_interval_ms=200:"
                      "verify_asan_link_order=0")
os.environ.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
os.environ.setdefault("LSAN_OPTIONS", f"suppressions={SUPPRESSIONS}:print_suppressions=0")

BEGIN = re.compile(r"ERROR: (Address|Leak)Sanitizer|LeakSanitizer has encountered a fatal error|"
                   r"WARNING: ThreadSanitizer|: runtime error: ")
LINES = 40  # of a report, at most: the rest is shadow memory and registers

_reports = []
_seen = {}  # how much of each log


def look_at(log):
    """What a log has had added since the last look; a log may be of several starts of a program."""
    log = str(log)
    if os.path.exists(log):
        with open(log, "rb") as file:
            file.seek(_seen.get(log, 0))
            look(log, file.read().decode(errors="replace"))
            _seen[log] = file.tell()


def look(name, output):
    """Keeps the report that stands in a program's output, if there is one."""
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if BEGIN.search(line):
            _reports.append(f"{name}:\n" + "\n".join(
                "    " + text for text in lines[number:number + LINES]))
            return


def reports():
    """Those since the last call; empty when all is well."""
    taken = _reports[:]
    _reports.clear()
    return taken
