"""Counting and printing of cases, the same for all suites."""

import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from threading import Lock

from lablib.cases import summary

ROOT = Path(__file__).resolve().parents[2]


class Report:
    """Cases of all suites, printed as they end."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0
        self._lock = Lock()  # cases may end in several threads

    def case(self, status, sentence, seconds=None, why=""):
        """status: pass, FAIL or skip."""
        taken = "" if seconds is None else f" ({seconds:.1f} s)"
        lines = [f"  {status}  {sentence}{taken}"]
        lines += [f"        {line}" for line in why.strip().splitlines()]
        with self._lock:
            self.passed += status == "pass"
            self.failed += status == "FAIL"
            self.skipped += status == "skip"
            print("\n".join(lines), flush=True)

    def summary(self):
        return summary(self.passed, self.failed, self.skipped)

    def command(self, sentence, args, *, timeout=1800, env=None, show=25):
        """A command as one case: passes with exit 0. Returns whether it did. Exit 77: it cannot run here."""
        started = time.monotonic()
        status, output = captured(args, timeout, env)
        lines = output.strip().splitlines()[-show:]
        if status == 77:
            self.case("skip", sentence, why="\n".join(lines))
            return False
        why = "" if status == 0 else f"{_ending(status)}: {_text(args)}\n" + "\n".join(lines)
        self.case("pass" if status == 0 else "FAIL", sentence, time.monotonic() - started, why)
        return status == 0

    def program(self, args, *, timeout=1800, env=None):
        """A program that prints its own cases; its last `N passed, N failed` line is counted."""
        self.programs([args], timeout=timeout, env=env)

    def programs(self, commands, *, at_once=1, timeout=1800, env=None):
        """Several of them; what each prints comes in one piece, when it has ended."""
        with ThreadPoolExecutor(at_once) as pool:
            running = {pool.submit(captured, args, timeout, env): args for args in commands}
            for done in as_completed(running):
                self._program(running[done], *done.result())

    def _program(self, args, status, output):
        print(f"  {_text(args)}")
        last = None
        for line in output.splitlines():
            counts = parse_summary(line)
            if counts:
                last = counts
            else:
                print(line)
        passed, failed, skipped = last or (0, 0, 0)
        self.passed += passed
        self.failed += failed
        self.skipped += skipped
        if last is None or (status != 0 and failed == 0):
            self.case("FAIL", f"{_text(args)} runs to its end",
                      why=f"{_ending(status)}" + ("" if last else ", no `N passed, N failed` line"))
        sys.stdout.flush()


def parse_summary(line):
    """(passed, failed, skipped) of a summary line, else None."""
    match = re.fullmatch(r"\s*(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*", line)
    return match and tuple(int(n or 0) for n in match.groups())


def captured(args, timeout, env=None, cwd=ROOT):
    """(exit status, output); status None when it took too long."""
    try:
        done = subprocess.run([str(a) for a in args], stdin=subprocess.DEVNULL, text=True,
                              errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=timeout, cwd=cwd, env=env, check=False)
        return done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return None, output.decode(errors="replace") if isinstance(output, bytes) else output
    except OSError as error:
        return 127, str(error)


def _ending(status):
    if status is None:
        return "took too long"
    return f"killed by signal {-status}" if status < 0 else f"exit {status}"


def _text(args):
    return " ".join(str(a).removeprefix(f"{ROOT}/") for a in args)


def as_root(args):
    """The command, by sudo when needed; None when there is no way to be root without asking."""
    if os.geteuid() == 0:
        return args
    if subprocess.run(["sudo", "-n", "true"], stdin=subprocess.DEVNULL, capture_output=True,
                      check=False).returncode == 0:
        return ["sudo", "-n", "--preserve-env=PYTHONPATH,PYTHONDONTWRITEBYTECODE,"
                "ASAN_OPTIONS,UBSAN_OPTIONS,TSAN_OPTIONS", *args]
    return None
