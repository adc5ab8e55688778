"""The command line of scripts/replay."""

import argparse
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from . import case as cases
from . import regen, report, runner
from .programs import Binaries, ProgramError, clean_up

EPILOG = """\
exit code: 0 every case passed, 1 a case failed, 2 wrong usage or a case that cannot be read.
masks a case may name: outer.udp.sport, outer.ipv6.flowlabel, outer.ipv4.id; a checksum over a
masked field must still be right, its value is not compared."""


_keep = False


def _arguments(argv):
    parser = argparse.ArgumentParser(
        prog="replay", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Replays pcap cases against the real dr-dataplane and drd.")
    parser.add_argument("cases", nargs="+", metavar="CASE_DIR",
                        help="a folder with a case.json, or one with such folders beneath it")
    parser.add_argument("--junit", metavar="FILE", help="also write the results as JUnit XML")
    parser.add_argument("--regen", action="store_true",
                        help="rewrite the expect captures that differ, and say which")
    parser.add_argument("--regen-counters", action="store_true",
                        help="with --regen: rewrite \"counters\" too")
    parser.add_argument("--keep", action="store_true",
                        help="keep the temporary folder of each case and say where it is")
    parser.add_argument("--build", metavar="DIR",
                        help="build folder of the programs (default: $DR_BUILD, build/, PATH)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N",
                        help="cases to run at a time (default 2)")
    options = parser.parse_args(argv)
    if options.regen_counters and not options.regen:
        parser.error("--regen-counters needs --regen")
    if options.jobs < 1:
        parser.error("--jobs must be at least 1")
    return options


def _load(folders, regenerating):
    readable, unreadable = [], {}
    for folder in folders:
        try:
            readable.append(cases.load(folder, regenerating))
        except cases.CaseError as error:
            unreadable[folder] = str(error)
    return readable, unreadable


def _interrupted(signum, _frame):
    """Ends at once: threads that wait for a program would keep the interpreter alive."""
    clean_up(and_folders=not _keep)
    os._exit(128 + signum)


def main(argv) -> int:
    global _keep
    options = _arguments(argv)
    _keep = options.keep
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupted)
    try:
        folders, empty = cases.find(options.cases)
        readable, unreadable = _load(folders, options.regen)
        binaries = Binaries(options.build) if readable else None
    except (cases.CaseError, ProgramError) as error:
        print(f"replay: error: {error}", file=sys.stderr)
        return 2
    for folder in empty:
        print(f"replay: notice: {folder}: no case in it", file=sys.stderr, flush=True)
    for why in unreadable.values():
        print(f"replay: error: {why}", file=sys.stderr, flush=True)
    results = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for result in pool.map(lambda c: runner.run(c, binaries, options.keep), readable):
            results.append(result)
            rewritten = regen.regenerate(result, options.regen_counters) if options.regen else []
            print("\n".join(report.lines(result)), flush=True)
            for line in rewritten:
                print(f"    rewrote {line}", flush=True)
    if options.junit:
        report.junit(options.junit, results, unreadable)
    passed = sum(r.passed for r in results)
    print(f"{passed} passed, {len(results) + len(unreadable) - passed} failed", flush=True)
    if unreadable or any(r.unreadable for r in results):
        return 2
    return 0 if passed == len(results) else 1
