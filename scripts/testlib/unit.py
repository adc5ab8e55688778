"""The unit suite: every test that meson knows, in a release build and under sanitizers.

Catch2 executables are asked for XML, so that each TEST_CASE counts by its own name.
"""

import json
import os
import re
import subprocess
import tempfile
import time
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .report import ROOT, as_root, captured

# Executables with cases that have more than one thread, where TSan may find something; those cases
# have the tag.
THREADED = ["lpm", "qsbr", "southbound", "several_workers", "control_threads"]
THREADS = "[threads]"

# Executables that make what only root may: network namespaces, eBPF programs, other users' files.
ROOTS = [f"unit-{name}" for name in
         ("netlink_mirror", "xdp_steer", "process", "urd_hash", "urd_downlink", "urd_guard")]
AT_ONCE = 2
# Not under sanitizers: tests of what only tests use, and one that traces the heap itself.
TOOLS = ["linkem", "swarm", "sim_scenario", "sim", "shared_lines"]


LINTS = {
    "format": "all sources are formatted",
    "rooms": "each room includes lower ones only, each stage names its exits",
    "python": "flake8 finds nothing in the Python programs",
    "docs": "lines of text in the documents have at most 120 columns",
    "shell": "shellcheck finds nothing in the shell scripts",
    "commits": "commits say what and why",
}


def run(report):
    for name, sentence in LINTS.items():
        report.command(f"{sentence} (scripts/lint {name})", [ROOT / "scripts" / "lint", name])
    _build_and_test(report, "release", "build", [])
    _build_and_test(report, "ASan+UBSan", "build-asan", ["--sanitize", "address"],
                    _all_but_tools("build-asan", ["--sanitize", "address"]))
    _build_and_test(report, "TSan", "build-tsan", ["--sanitize", "thread"], THREADED, THREADS)
    report.program([ROOT / "tests" / "instructions" / "check.py"])
    report.command("clang-tidy finds nothing in what forwards (scripts/lint looks at all)",
                   [ROOT / "scripts" / "lint", "quick"], show=60)


def tsan(report):
    """All unit tests under TSan: too long for every run."""
    _build_and_test(report, "TSan", "build-tsan", ["--sanitize", "thread"])


def _executables(folder, options):
    """Configures, and returns the executables among the tests by name: their targets."""
    captured([ROOT / "scripts" / "build", "-q", *options, "--only", "build.ninja"], 300)
    return {test["name"]: test["cmd"][0].split(f"/{folder}/")[1]
            for test in _registered(ROOT / folder) if f"/{folder}/" in test["cmd"][0]}


def _all_but_tools(folder, options):
    return [name for name in _executables(folder, options) if name not in TOOLS]


def _build_and_test(report, label, folder, options, only=(), tag=""):
    what = "everything builds" if not only else "the tests build"
    if only:
        targets = _executables(folder, options)
        options = [*options, "--only", " ".join(targets[name] for name in only)]
    if not report.command(f"{label}: {what} without a warning",
                          [ROOT / "scripts" / "build", "-q", *options]):
        return
    run_suite(report, label, ROOT / folder, "unit", only, tag)


def run_suite(report, label, build, suite, only=(), tag=""):
    """The tests of a suite that meson knows in a build directory; `only`: of these names; `tag`: of their
    cases, those with it."""
    tests = [test for test in _registered(build)
             if any(name.split(":")[-1] == suite for name in test["suite"])
             and (not only or test["name"] in only)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # Meson's own working directory for tests; their arguments may be relative to it.
        list(pool.map(lambda test: _test(report, label, test, test.get("workdir") or build, tag), tests))


def _registered(build):
    listed = subprocess.run(["meson", "introspect", "--tests", str(build)], capture_output=True,
                            text=True, check=True, stdin=subprocess.DEVNULL).stdout
    return json.loads(listed)


def _environment(test):
    suppressions = ROOT / "tests" / "unit" / "tsan.supp"
    return os.environ | {
        "ASAN_OPTIONS": "detect_leaks=1:strict_string_checks=1",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "TSAN_OPTIONS": f"suppressions={suppressions}:halt_on_error=0:second_deadlock_stack=1",
    } | test["env"]


def _is_catch2(command):
    """Our Catch2 programs link its runner in, whose option names then stand in the file."""
    try:
        with open(command[0], "rb") as program:
            return program.read(4) == b"\x7fELF" and b"list-test-names-only" in program.read()
    except OSError:
        return False


def _test(report, label, test, cwd, tag=""):
    timeout = max(test.get("timeout", 30), 30) * 10
    command = test["cmd"]
    if Path(command[0]).name in ROOTS:
        command = as_root(command) or command
    run_one = _catch2 if _is_catch2([cwd / test["cmd"][0]]) else _program
    run_one(report, label, test, lambda extra: captured(
        [*command, *([tag] if tag else []), *extra], timeout, _environment(test), cwd))


def _program(report, label, test, execute):
    """A test of its own kind: unittest's verbose lines count one by one, else the exit status."""
    started = time.monotonic()
    status, output = execute([])
    cases = re.findall(r"^(.+?) \.\.\. (ok|FAIL|ERROR|skipped.*)$", output, re.MULTILINE)
    for sentence, outcome in cases:
        what = {"ok": "pass", "FAIL": "FAIL", "ERROR": "FAIL"}.get(outcome, "skip")
        report.case(what, f"{label}: {test['name']}: {sentence}",
                    why=outcome if what == "skip" else "")
    if cases and status == 0:
        return
    outcome = {0: "pass", 77: "skip"}.get(status, "FAIL")  # 77: meson's code for skipped
    why = "" if status == 0 else f"exit {status}\n" + "\n".join(output.splitlines()[-25:])
    report.case(outcome, f"{label}: {test['name']} ends well", time.monotonic() - started, why)


def _catch2(report, label, test, execute):
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "report.xml"
        status, output = execute(["-r", "xml", "-d", "yes", "-o", str(out)])
        failed = _count(report, label, test["name"], out)
    # A sanitizer's finding, a crash or a time-out is no failed assertion, yet a failure.
    if status != 0 and not failed:
        ending = "took too long" if status is None else f"exit {status}"
        report.case("FAIL", f"{label}: {test['name']} ends well", time.monotonic() - started,
                    f"{ending}\n" + "\n".join(output.splitlines()[-40:]))


def _count(report, label, name, path):
    """Reports each test case of a Catch2 XML file; the number that failed."""
    try:
        cases = xml.parse(path).getroot().iter("TestCase")
    except (OSError, xml.ParseError):
        return 0  # it crashed on the way: the exit status tells
    failed = 0
    for case in cases:
        result = case.find("OverallResult")
        good = result is not None and result.get("success") == "true"
        failed += not good
        seconds = float(result.get("durationInSeconds", 0)) if result is not None else None
        sentence = f"{label}: {name}: {case.get('name')}"
        if good and (why := _why_skipped(case)):
            report.case("skip", sentence, why=why)
        else:
            report.case("pass" if good else "FAIL", sentence, seconds, "" if good else _failures(case))
    return failed


def _why_skipped(case):
    """A case that cannot run here warns of it, which for Catch2 is a pass."""
    warnings = [(warning.text or "").strip() for warning in case.iter("Warning")]
    return next((w.removeprefix("skipped: ") for w in warnings if w.startswith("skipped: ")), "")


def _failures(case):
    lines = []
    for bad in case.iter("Expression"):
        if bad.get("success") == "false":
            lines.append(f"{bad.get('filename')}:{bad.get('line')}: "
                         f"{(bad.findtext('Original') or '').strip()}")
            lines.append(f"    with {(bad.findtext('Expanded') or '').strip()}")
    for tag in ("Failure", "FatalErrorCondition", "Exception"):
        lines += [(e.text or "").strip() for e in case.iter(tag)]
    lines += ["  note: " + (e.text or "").strip() for e in case.iter("Info")]
    return "\n".join(lines[:20])
