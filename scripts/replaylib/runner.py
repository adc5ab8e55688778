"""One case against the real programs: the steps, then the judgement."""

import time
from dataclasses import dataclass, field

from . import capacity, compare
from .case import CaseError
from .programs import ProgramError, discard_folder, temporary_folder
from .southbound import SouthboundError
from .testbed import MAX_QUEUES, Testbed


@dataclass
class Failure:
    kind: str    # "frames", "counters" or "run"
    lines: list


@dataclass
class Result:
    case: object
    failures: list = field(default_factory=list)
    unreadable: str = ""
    seconds: float = 0.0
    kept: str = ""
    sent: dict = field(default_factory=dict)      # (step, port) -> frames, in order
    counters: dict = field(default_factory=dict)  # deltas over the case

    @property
    def passed(self):
        return not self.failures and not self.unreadable


@dataclass
class _Mark:
    """How much each port had sent when a step, or one receiving port's part of it, was over."""
    run: int
    step: int
    sent: dict  # port -> packets since the data plane's start


def batches_of(case):
    """[(step, port, frames)]: what is let in together, in order."""
    return [(step, port, frames) for step in case.sends for port, frames in step.send.items()
            if frames]


def run(case, binaries, keep=False) -> Result:
    result = Result(case)
    start = time.monotonic()
    folder = temporary_folder()
    try:
        _Run(case, binaries, folder, result).go()
    except CaseError as error:
        result.unreadable = str(error)
    except (ProgramError, SouthboundError, OSError) as error:
        result.failures.append(Failure("run", str(error).splitlines()))
    finally:
        if keep:
            result.kept = str(folder)
        else:
            discard_folder(folder)
    result.seconds = time.monotonic() - start
    return result


class _Run:
    def __init__(self, case, binaries, folder, result):
        self._case = case
        self._result = result
        self._bed = Testbed(binaries, folder, case.ports, capacity.needed(case))
        self._batches = batches_of(case)
        self._run = 0        # incarnations of the data plane so far
        self._next = 0       # batch
        self._marks = []
        self._captures = {}  # run -> port -> frames
        self._total = {}     # counters of the incarnations that have ended
        self._unnoted = set()  # drop reasons that counted packets, and noted none

    def go(self):
        try:
            self._start_dataplane()
            self._check_counter_names()
            self._bed.start_drd()
            for step in self._case.steps:
                self._at(step, self._do)
            self._end_dataplane()
            self._bed.end_drd()
        finally:
            self._bed.kill()
        self._cut()
        self._judge_frames()
        self._judge_counters()

    def _at(self, step, what):
        try:
            what(step)
        except (ProgramError, SouthboundError) as error:
            raise ProgramError(f"steps[{step.number}] ({step.kind}): {error}") from error

    def _do(self, step):
        for file in step.apply:
            self._bed.apply(file)
        for kind, name in step.delete:
            self._bed.delete(kind, name)
        for port, frames in step.send.items():
            if frames:
                self._let_in(step, port, len(frames))
        self._mark(step, None)

    def _let_in(self, step, port, packets):
        if self._next == self._run * MAX_QUEUES:
            # The pcap driver opens so many files and no more: a new incarnation takes the rest.
            self._end_dataplane()
            self._start_dataplane()
            self._bed.wait_installed()
        self._next += 1
        self._bed.let_in(packets)
        self._mark(step, port)

    def _start_dataplane(self):
        chunk = self._batches[self._run * MAX_QUEUES:(self._run + 1) * MAX_QUEUES]
        self._run += 1
        try:
            self._bed.start_dataplane([(port, frames) for _, port, frames in chunk])
        except ProgramError as error:
            # What dr-dataplane says of its file is about the case: the ports are copied from there.
            if str(self._bed.config) not in str(error):
                raise
            text = str(error).replace(str(self._bed.config), str(self._case.file))
            raise CaseError(f"{self._case.file}: the ports are not as dr-dataplane takes them: "
                            f"{text}") from error
        self._before = self._bed.snapshot()

    def _end_dataplane(self):
        for name, value in self._bed.snapshot().items():
            delta = value - self._before.get(name, 0)
            self._total[name] = self._total.get(name, 0) + delta
        noted = self._bed.noted()
        self._unnoted |= {name for name, value in self._bed.snapshot().items()
                          if name.startswith("drop.") and value and name not in noted}
        self._captures[self._run] = self._bed.end_dataplane()

    def _mark(self, step, port):
        values = self._bed.snapshot()
        names = [p["name"] for p in self._case.ports]
        self._marks.append((_Mark(self._run, step.number,
                                  {n: values[f"port.{n}.tx_packets"] for n in names}), port))

    def _check_counter_names(self):
        for key in ("counters", "countersAtLeast"):
            names = self._case.counters if key == "counters" else self._case.counters_at_least
            for name in names:
                if name not in self._before:
                    raise CaseError(f"{self._case.file}: {key}.{name}: no such counter; "
                                    "`drcli stats drops -o json` lists them, and port.NAME."
                                    "{rx,tx}_{packets,bytes} are known")

    # ---- judgement ----

    def _cut(self):
        """Streams: (step, port) -> [frames caused by each receiving port]."""
        self._streams = {}
        at = {}
        for mark, _ in self._marks:
            for port, until in mark.sent.items():
                start = at.get((mark.run, port), 0)
                frames = self._captures[mark.run][port][start:until]
                at[mark.run, port] = until
                self._streams.setdefault((mark.step, port), []).append(frames)
        for (run, port), until in at.items():
            captured = len(self._captures[run][port])
            if captured != until:
                self._fail("run", [f"port {port}: the counters say {until} frames were sent, "
                                   f"the capture holds {captured}"])
        self._result.sent = {key: [f for s in streams for f in s]
                             for key, streams in self._streams.items()}

    def _judge_frames(self):
        for step in self._case.steps:
            for port in (p["name"] for p in self._case.ports):
                streams = self._streams.get((step.number, port), [])
                expected = step.expect.get(port, [])
                if not compare.same(expected, streams, self._case.mask):
                    self._differ(step, port, expected, [f for s in streams for f in s])

    def _differ(self, step, port, expected, sent):
        named = "" if port in step.expect else ", which \"expect\" does not name"
        n = compare.first_difference(expected, sent, self._case.mask)
        lines = [f"steps[{step.number}] ({step.kind}), port {port}{named}: {len(expected)} frames "
                 f"expected, {len(sent)} sent; frame {n + 1} is the first that differs"]
        want = expected[n] if n < len(expected) else None
        have = sent[n] if n < len(sent) else None
        if not any(f.kind == "frames" for f in self._result.failures):
            from . import decode  # here, because scapy takes long to load
            cause = compare.likely_cause(want or have, step.send, n)
            if cause:
                lines.append(f"    it comes of packet {cause[1] + 1} into {cause[0]}, by its bytes")
            lines += decode.side_by_side(want, have)
        self._fail("frames", lines)

    def _fail(self, kind, lines):
        self._result.failures.append(Failure(kind, lines))

    def _judge_counters(self):
        totals, case = self._total, self._case
        self._result.counters = totals
        lines = [f"counter {name}: {totals[name]}, expected {value}"
                 for name, value in case.counters.items() if totals[name] != value]
        lines += [f"counter {name}: {totals[name]}, expected at least {value}"
                  for name, value in case.counters_at_least.items() if totals[name] < value]
        if case.counters_exact:
            named = {*case.counters, *case.counters_at_least}
            lines += [f"counter {name}: {value}, expected 0 (countersExact)"
                      for name, value in totals.items()
                      if name.startswith("drop.") and value and name not in named]
        lines += [f"counter {name} counted, and no packet of it is noted (`drcli stats drops --last`)"
                  for name in sorted(self._unnoted)]
        if lines:
            moved = [f"{n} {v}" for n, v in totals.items() if v and not n.startswith("port.")]
            lines.append(f"all exits that moved: {', '.join(moved) or 'none'}")
            self._fail("counters", lines)
