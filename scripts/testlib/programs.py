"""The suites that are programs of their own: replay, netns, crash."""

import shutil

from lablib.programs import Programs

from .report import ROOT, as_root

AT_ONCE = 2
# The longest ones, so that none of them runs alone at the end.
FIRST = ("overload", "urd_robust", "path_mtu")


def replay(report):
    _suite(report, [[ROOT / "tests" / "replay" / "run"]])


def netns(report):
    _suite(report, _programs("netns"))


def crash(report):
    _suite(report, _programs("crash"))


def _programs(folder):
    paths = sorted((ROOT / "tests" / folder).glob("*.py"), key=lambda p: (p.stem not in FIRST, p.stem))
    return [["/usr/bin/python3", path] for path in paths]


def _suite(report, programs):
    if not report.command("the programs build", [ROOT / "scripts" / "build", "-q"]):
        return
    why = _why_not()
    if why:
        for program in programs:
            report.case("skip", f"{program[-1].relative_to(ROOT)}", why=why)
    else:
        # They mostly wait, and each has namespaces of its own.
        report.programs([as_root(program) for program in programs], at_once=AT_ONCE)


def _why_not():
    if as_root([]) is None:
        return "needs root, or sudo without a password"
    if not shutil.which("ip") and not shutil.which("/usr/sbin/ip"):
        return "iproute2 is not installed: run scripts/deps"
    missing = Programs().missing()
    return f"not built: {missing}" if missing else None
