"""scripts/lint commits: what it finds in commits, and where it cannot look."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "scripts"))

from testlib import commits

CODE = ["dataplane/worker/steer.cpp"]


def found(subject, body="Because.", parents=1, files=CODE):
    return list(commits.findings(subject, body, parents, files))


class Commits(unittest.TestCase):
    def test_area_and_what_with_a_body_pass(self):
        for subject in ("worker: count what leaves", "cli, docs: name the option",
                        "ur/bpf: drop what has no key", "x: " + "y" * 69):
            self.assertEqual(found(subject), [], subject)

    def test_a_subject_without_an_area_is_found(self):
        for subject in ("count what leaves", "Worker: count", "worker:count", "worker: "):
            self.assertEqual(len(found(subject)), 1, subject)

    def test_a_subject_of_73_characters_is_found(self):
        self.assertEqual(found("x: " + "y" * 70), ["its subject has 73 characters, at most 72"])

    def test_code_needs_a_body_and_docs_and_tests_do_not(self):
        self.assertEqual(len(found("worker: count", body="\n")), 1)
        self.assertEqual(len(found("worker: count", body="", files=["docs/speed.md", *CODE])), 1)
        plain = ["docs/speed.md", "README.md", "tests/netns/deny.py", "pcap-fixtures/generate"]
        self.assertEqual(found("tests: count", body="", files=plain), [])

    def test_merges_and_reverts_pass(self):
        self.assertEqual(found("Merge branch 'x'", body="", parents=2), [])
        self.assertEqual(found('Revert "worker: count"', body=""), [])

    def test_a_shallow_clone_without_the_base_passes_and_a_whole_one_does_not(self):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.net"]
        with tempfile.TemporaryDirectory() as folder:
            whole, shallow = Path(folder) / "whole", Path(folder) / "shallow"

            def git(*args):
                subprocess.run(["git", *identity, *args], check=True, capture_output=True)

            git("init", "-q", whole)
            for subject in ("base", "no area"):
                git("-C", whole, "commit", "-q", "--allow-empty", "-m", subject)
            base = subprocess.run(["git", "-C", whole, "rev-parse", "HEAD~1"], check=True,
                                  capture_output=True, text=True).stdout.strip()
            git("clone", "-q", "--depth", "1", f"file://{whole}", shallow)
            self.assertEqual(self.look(whole, base), (1, "its subject is not"))
            self.assertEqual(self.look(shallow, base), (77, "another base"))
            self.assertEqual(self.look(whole, "0" * 40), (77, "another base"))

    def look(self, clone, base):
        """(exit status, what is said) of the check in that clone."""
        program = ("import sys, pathlib; from testlib import commits; "
                   "commits.ROOT = pathlib.Path(sys.argv[1]); sys.exit(commits.main(sys.argv[2]))")
        done = subprocess.run([sys.executable, "-c", program, clone, base], capture_output=True,
                              text=True, check=False, cwd=Path(commits.__file__).parents[1])
        said = [words for words in ("its subject is not", "another base")
                if words in done.stdout]
        return done.returncode, *said


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=2))
