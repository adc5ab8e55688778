"""The suites that are programs of their own: replay, netns, crash."""

import shutil

from lablib.programs import Programs

from .report import ROOT, as_root

# They mostly wait, and each has namespaces of its own. Those of crash measure how long things take.
AT_ONCE = {"netns": 3, "crash": 2}
# Takes the whole machine: nothing runs beside it.
ALONE = ("overload",)
# The others that take 35 s and more, the longest first, so that none of them runs alone at the end.
FIRST = ("urd_robust", "path_mtu", "ur_addresses", "ur_restart", "switching", "line_guard_qdiscs",
         "line_guard_stays", "prefixes", "urd_attach", "ur_changes")


def replay(report):
    _suite(report, [[ROOT / "tests" / "replay" / "run"]])


def netns(report):
    _suite(report, _programs("netns"), AT_ONCE["netns"])


def crash(report):
    _suite(report, _programs("crash"), AT_ONCE["crash"])


def _programs(folder):
    order = {name: place for place, name in enumerate(FIRST)}
    paths = sorted((ROOT / "tests" / folder).glob("*.py"), key=lambda p: (order.get(p.stem, len(order)), p.stem))
    return [["/usr/bin/python3", path] for path in paths]


def _suite(report, programs, at_once=1):
    if not report.command("the programs build", [ROOT / "scripts" / "build", "-q"]):
        return
    why = _why_not()
    if why:
        for program in programs:
            report.case("skip", f"{program[-1].relative_to(ROOT)}", why=why)
    else:
        alone = [p for p in programs if p[-1].stem in ALONE]
        report.programs([as_root(p) for p in programs if p not in alone], at_once=at_once)
        report.programs([as_root(p) for p in alone])


def _why_not():
    if as_root([]) is None:
        return "needs root, or sudo without a password"
    if not shutil.which("ip") and not shutil.which("/usr/sbin/ip"):
        return "iproute2 is not installed: run scripts/deps"
    missing = Programs().missing()
    return f"not built: {missing}" if missing else None
