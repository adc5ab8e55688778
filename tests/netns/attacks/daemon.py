"""drd by itself on loopback, with sites enrolled, and what it costs: memory, descriptors, CPU."""

import json
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path

from lablib.process import Process
from lablib.programs import Programs
from lablib.shell import run

TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Cost:
    """Of a process, now."""

    def __init__(self, pid):
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            fields = dict(line.split(":", 1) for line in status)
        self.rss_mb = int(fields["VmRSS"].split()[0]) // 1024
        self.peak_mb = int(fields["VmHWM"].split()[0]) // 1024
        self.threads = int(fields["Threads"])
        self.fds = len(os.listdir(f"/proc/{pid}/fd"))
        with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        self.cpu_s = (int(fields[11]) + int(fields[12])) / TICKS
        self.at = time.monotonic()

    def cpu_since(self, earlier):
        """Of one core, in per cent."""
        return 100 * (self.cpu_s - earlier.cpu_s) / max(1e-3, self.at - earlier.at)


class Daemon:
    """A context manager. `sites`: how many are provisioned and enrolled, as site-1, ..."""

    def __init__(self, *options, sites=2):
        self.programs = Programs()
        self.sites = sites
        self.options = list(options)
        self.credentials = {}
        self.process = None

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="drt-api."))
        self.address = ("127.0.0.1", free_port())
        self.server = f"unix:{self.directory}/drd.sock"
        try:
            self.start()
            self.provision()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process is not None:
            self.process.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def start(self):
        self.process = Process.start(
            "drd", [self.programs.drd, "--listen", self.server,
                    "--store", self.directory / "drd.db",
                    "--dataplane", self.directory / "nobody.sock",
                    "--signalling", "%s:%d" % self.address, *self.options],
            self.directory / "drd.log", ready="drd: ready", seconds=30)

    def provision(self):
        lines = [{"lines": [{"line": name}]} for name in ("a", "b")]
        objects = [{"policy": {"name": "p", "classes": [{"name": "all", "tiers": lines}]}}]
        for n in range(1, self.sites + 1):
            objects.append({"subscriber": {
                "name": f"site-{n}", "policy": "p", "prefixes": [f"203.0.113.{n * 4}/30"],
                "tunnels": [{"line": name, "encapsulation": "GRE_UDP", "local": "192.0.2.1"}
                            for name in ("a", "b")]}})
        self.apply(objects)
        for n in range(1, self.sites + 1):
            name = f"site-{n}"
            self.credentials[name] = json.loads(self.drcli("subscriber", "enroll", name).stdout)

    def apply(self, objects, check=True):
        path = self.directory / "objects.ndjson"
        path.write_text("".join(json.dumps(o) + "\n" for o in objects))
        return self.drcli("apply", "-f", path, check=check)

    def drcli(self, *args, check=True, timeout=30):
        return run([self.programs.drcli, "--server", self.server, *args], check=check,
                   timeout=timeout)

    def drcli_seconds(self, *args):
        """How long the operator waits for an answer."""
        started = time.monotonic()
        self.drcli(*(args or ("system", "status")))
        return time.monotonic() - started

    def cost(self):
        return Cost(self.process.pid)

    def forget_peak(self):
        """The peak of memory is counted from now on."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def log(self):
        return self.process.output()
