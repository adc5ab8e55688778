"""Cases of a test program that stand on one that did not pass fail unrun, and say so."""

import contextlib
import io
import sys
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

from lablib.cases import Cases, Skip, expect


def outcome(first, *, needed):
    """(what is printed, which cases ran) of a program of two cases."""
    cases, ran = Cases(), []

    @cases.case("the first", needed=needed)
    def _(_lab):
        ran.append("first")
        first()

    @cases.case("the second")
    def _(_lab):
        ran.append("second")

    with contextlib.redirect_stdout(io.StringIO()) as printed:
        cases.run(contextlib.nullcontext)
    return printed.getvalue(), ran


def fails():
    expect(False, "it is not so")


def skips():
    raise Skip("it cannot run here")


class Needed(unittest.TestCase):
    def test_what_stands_on_a_failed_case_fails_unrun_and_names_it(self):
        printed, ran = outcome(fails, needed=True)
        self.assertEqual(ran, ["first"])
        self.assertIn('FAIL  the second (0.0 s)\n        not run: it stands on "the first"', printed)
        self.assertIn("0 passed, 2 failed", printed)

    def test_what_stands_on_a_skipped_case_fails_unrun(self):
        printed, ran = outcome(skips, needed=True)
        self.assertEqual(ran, ["first"])
        self.assertIn("0 passed, 1 failed, 1 skipped", printed)

    def test_what_stands_alone_runs_after_a_failed_case(self):
        printed, ran = outcome(fails, needed=False)
        self.assertEqual(ran, ["first", "second"])
        self.assertIn("1 passed, 1 failed", printed)

    def test_what_stands_on_a_case_that_passed_runs(self):
        self.assertIn("2 passed, 0 failed", outcome(lambda: None, needed=True)[0])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
