"""A sanitizer's report fails the case of a test program in which the process ended."""

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

from lablib.cases import Cases
from lablib.process import Process

REPORT = "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x0"


def outcome(*, end_in_case, says=REPORT):
    """What a program of one case prints, whose process says that."""
    cases = Cases()
    with tempfile.TemporaryDirectory() as folder:
        @contextlib.contextmanager
        def lab():
            script = f"echo '{says}' >&2; echo ready; sleep 60"
            process = Process.start("daemon", ["sh", "-c", script], Path(folder) / "log",
                                    ready="ready")
            try:
                yield process
            finally:
                process.stop()

        @cases.case("something holds")
        def _(process):
            if end_in_case:
                process.kill()

        with contextlib.redirect_stdout(io.StringIO()) as printed:
            status = cases.run(lab)
    return status, printed.getvalue()


class Reports(unittest.TestCase):
    def test_in_case(self):
        """a process that ends in a case with a report fails that case"""
        status, printed = outcome(end_in_case=True)
        self.assertEqual(status, 1)
        self.assertIn("FAIL  something holds", printed)
        self.assertIn("heap-use-after-free", printed)

    def test_with_lab(self):
        """a process that ends with the lab with a report is a failure of its own"""
        status, printed = outcome(end_in_case=False)
        self.assertEqual(status, 1)
        self.assertIn("pass  something holds", printed)
        self.assertIn("FAIL  no sanitizer reports", printed)

    def test_without(self):
        """without a report nothing fails"""
        status, printed = outcome(end_in_case=True, says="all is well")
        self.assertEqual((status, printed.splitlines()[-1]), (0, "1 passed, 0 failed"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
