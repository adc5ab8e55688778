"""What the checks share."""

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SUMMARY = re.compile(r"^(\d+) passed, (\d+) failed$")


class Failed(Exception):
    """The sentence is not true; the text says why."""


class Suite:
    def __init__(self):
        self.passed = self.failed = 0

    def report(self, sentence, why, seconds):
        sentence = " ".join(sentence.split())
        if why is None:
            self.passed += 1
            print(f"pass  {sentence} ({seconds:.1f} s)", flush=True)
            return
        self.failed += 1
        print(f"FAIL  {sentence} ({seconds:.1f} s)", flush=True)
        for line in why.splitlines():
            print(f"    {line}", flush=True)


class Tools:
    def __init__(self, root: Path, build):
        self.root = root
        self.fixtures = root / "pcap-fixtures"
        self._build = ["--build", str(Path(build).resolve())] if build else []

    def replay_command(self, *arguments):
        return [str(self.root / "scripts" / "replay"), *self._build, *map(str, arguments)]

    def replay(self, *arguments):
        """(exit code, standard output, standard error) of scripts/replay."""
        done = subprocess.run(self.replay_command(*arguments), capture_output=True, text=True,
                              timeout=600, check=False)
        return done.returncode, done.stdout, done.stderr

    def case_folders(self):
        return sorted(p.parent for p in self.fixtures.glob("*/case.json"))

    @contextlib.contextmanager
    def folder(self):
        path = Path(tempfile.mkdtemp(prefix="dr-replay-test-"))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    @contextlib.contextmanager
    def copy_of(self, name):
        """A case that may be spoilt."""
        with self.folder() as path:
            shutil.copytree(self.fixtures / name, path / name)
            yield path / name


def expect(condition, why):
    if not condition:
        raise Failed(why)


def run_cases(suite, tools):
    """All fixtures, each counted as a test; their lines appear as they come."""
    process = subprocess.Popen(tools.replay_command(tools.fixtures), stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    summary = None
    for line in process.stdout:
        summary = SUMMARY.match(line)
        if summary is None:
            sys.stdout.write(line)
            sys.stdout.flush()
    code = process.wait()
    if summary is None:
        suite.report("all cases run to the end", f"scripts/replay ended with exit code {code} and "
                     "without its last line", 0)
        return
    suite.passed += int(summary[1])
    suite.failed += int(summary[2])
    if code != 0 and summary[2] == "0":
        suite.report("a replay without failed case ends with exit code 0", f"it is {code}", 0)
