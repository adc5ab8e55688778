"""How commits are worded: subject, and a body where one is due (CONTRIBUTING.md).

    PYTHONPATH=scripts python3 -m testlib.commits BASE    commits since BASE; exit 1 with findings,
                                                          77 where the history lacks BASE
"""

import re
import subprocess
import sys

from .report import ROOT

LONGEST = 72
CANNOT = 77
SUBJECT = re.compile(r"[a-z0-9][a-z0-9_./-]*(, [a-z0-9_./-]+)*: \S")
REVERT = re.compile(r'(Revert|Reapply) "')
# What may change without a word of why.
PLAIN = re.compile(r"(docs|tests|pcap-fixtures)/|.*\.md$|.*_test\.(cpp|py)$")


def findings(subject, body, parents, files):
    """What is wrong with one commit, as texts. `parents`: how many; `files`: the paths it changes."""
    if parents > 1 or REVERT.match(subject):
        return
    if not SUBJECT.match(subject):
        yield "its subject is not `area: what`"
    if len(subject) > LONGEST:
        yield f"its subject has {len(subject)} characters, at most {LONGEST}"
    if not body.strip() and not all(PLAIN.match(file) for file in files):
        yield "it has no body, and changes more than docs and tests: say why"


def _git(*args):
    done = subprocess.run(["git", "-C", str(ROOT), *args], capture_output=True, text=True,
                          errors="replace", check=False)
    return done.stdout if done.returncode == 0 else None


def commits(base):
    """(hash, subject, body, parents, files) of each commit since `base`."""
    log = _git("log", "-z", "--format=%h%x01%p%x01%s%x01%b", f"{base}..HEAD")
    for record in filter(None, log.split("\0")):
        name, parents, subject, body = record.split("\x01")
        files = _git("show", "--format=", "--name-only", "-z", name).split("\0")
        yield name, subject, body, len(parents.split()), [file for file in files if file]


def main(base):
    if _git("merge-base", "--is-ancestor", base, "HEAD") is None:
        print(f"commits are not looked at: {base[:7]} is not in this clone's history; a whole clone has it, "
              "or scripts/lint has to name another base")
        return CANNOT
    wrong = count = 0
    for name, subject, *rest in commits(base):
        count += 1
        for finding in findings(subject, *rest):
            wrong += 1
            print(f"commit {name} \"{subject}\": {finding}")
    if not wrong:
        print(f"{count} commits since {base[:7]} are worded well")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
