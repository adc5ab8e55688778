"""Long-running programs of a lab: started in a session of their own, watched by log and pid."""

import os
import signal
import subprocess

from . import sanitizer
from .shell import LabError, wait_until


def start_time(pid):
    """The kernel's start time of a process, None when there is none: tells a reused pid."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as stat:
            fields = stat.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # After a kill the first thread may be a zombie while others still hold locks and sockets.
    ended = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if ended else int(fields[19])


class Process:
    """One program. `record` can be stored, and given to `Process.from_record` by a later run."""

    def __init__(self, name, log):
        self.name = name
        self.log = log
        self.pid = 0
        self.started = None
        self._child = None

    @classmethod
    def start(cls, name, args, log, *, ready=None, seconds=30):
        """Starts `args`, output to the file `log`; returns when a line `ready` stands there."""
        process = cls(name, log)
        args = [str(a) for a in args]
        with open(log, "ab") as output:
            offset = output.tell()
            process._child = subprocess.Popen(
                args, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True)
        process.pid = process._child.pid
        process.started = start_time(process.pid)
        if ready is not None:
            try:
                process._wait_ready(ready, offset, seconds)
            except LabError:
                process.stop()
                raise
        return process

    def _wait_ready(self, line, offset, seconds):
        def ready():
            if line in self.output(offset).splitlines():
                return True
            if not self.alive():
                raise LabError(f"{self.name} ended before it was ready; its log {self.log}:\n"
                               + tail(self.output(offset)))
            return False

        try:
            wait_until(ready, f"the line `{line}` of {self.name}", seconds=seconds)
        except LabError as error:
            if self.alive():
                raise LabError(f"{error}; its log {self.log}:\n"
                               + tail(self.output(offset))) from error
            raise

    def output(self, offset=0):
        with open(self.log, "rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def alive(self):
        if self._child is not None:
            self._child.poll()  # reaps it
        return self.started is not None and start_time(self.pid) == self.started

    def send(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def kill(self):
        """kill -9, and wait for the end."""
        self.send(signal.SIGKILL)
        self._wait_end(5)
        sanitizer.look_at(self.log)

    def stop(self, seconds=10):
        """SIGTERM; SIGKILL when that is not enough. True when SIGTERM was enough."""
        self.send(signal.SIGTERM)
        try:
            self._wait_end(seconds)
        except LabError:
            self.kill()
            return False
        sanitizer.look_at(self.log)
        return True

    def _wait_end(self, seconds):
        wait_until(lambda: not self.alive(), f"the end of {self.name} (pid {self.pid})",
                   seconds=seconds)

    def record(self):
        return {"name": self.name, "pid": self.pid, "started": self.started,
                "log": str(self.log)}

    @classmethod
    def from_record(cls, record):
        process = cls(record["name"], record["log"])
        process.pid = record["pid"]
        process.started = record["started"]
        return process


def tail(text, lines=15):
    return "\n".join("    " + line for line in text.splitlines()[-lines:]) or "    (empty)"
