"""Test programs in sentences: `cases.run(...)`, then one line a case, and a summary at the end.

    cases = Cases("netns/traffic")
    @cases.case("curl downloads ... through both tunnels")
    def _(lab): ...
    sys.exit(cases.run(with_lab))
"""

import time
import traceback

from . import sanitizer
from .shell import LabError


class Skip(Exception):
    """Raised by a case that cannot run here; the text says why."""


def expect(condition, what):
    if not condition:
        raise LabError(what)


class Cases:
    def __init__(self):
        self.cases = []
        self.lost = ""  # the case that the others stand on, when it has failed
        self.counts = {"pass": 0, "FAIL": 0, "skip": 0}

    def case(self, sentence, *, needed=False):
        """`needed`: those that follow stand on it; when it does not pass they fail unrun."""
        def register(function):
            self.cases.append((sentence, function, needed))
            return function
        return register

    def run(self, make_context, describe=lambda context: ""):
        """Runs the cases in order with what `make_context()` (a context manager) yields.

        When that fails every case failed. A failed case shows what `describe` has to say.
        """
        try:
            with make_context() as context:
                for sentence, function, needed in self.cases:
                    if self.lost:
                        self._report("FAIL", sentence, 0, f"not run: it stands on \"{self.lost}\", "
                                                          "which did not pass")
                        continue
                    status = self._one(sentence, lambda f=function: f(context),
                                       lambda: describe(context))
                    if needed and status != "pass":
                        self.lost = sentence
        except Skip as why:
            self._rest("skip", str(why))
        except LabError as error:
            self._rest("FAIL", f"the lab did not come up: {error}")
        # Of the programs that ended with the lab.
        found = sanitizer.reports()
        if found:
            self._report("FAIL", "no sanitizer reports anything of the lab's programs", 0,
                         "\n".join(found))
        return self.finish()

    def _rest(self, status, why):
        for sentence, *_ in self.cases[sum(self.counts.values()):]:
            self._report(status, sentence, 0, why)

    def _one(self, sentence, function, describe):
        started = time.monotonic()
        status, why = "pass", ""
        try:
            note = function()
            why = note or ""
        except Skip as reason:
            status, why = "skip", str(reason)
        except LabError as error:
            status, why = "FAIL", str(error)
        except Exception:  # a defect of the test itself counts as a failure, with its place
            status, why = "FAIL", traceback.format_exc()
        found = sanitizer.reports()
        if found:
            status, why = "FAIL", "\n".join([*found, why])
        if status == "FAIL":
            try:
                why += "\n" + describe()
            except Exception as error:
                why += f"\n(no description of the lab: {error})"
        self._report(status, sentence, time.monotonic() - started, why)
        return status

    def _report(self, status, sentence, seconds, why):
        self.counts[status] += 1
        print(f"  {status}  {sentence} ({seconds:.1f} s)", flush=True)
        if why:
            print("".join(f"        {line}\n" for line in why.strip().splitlines()), end="",
                  flush=True)

    def finish(self):
        passed, failed, skipped = self.counts.values()
        print(summary(passed, failed, skipped), flush=True)
        return 1 if failed else 0


def summary(passed, failed, skipped):
    return f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
