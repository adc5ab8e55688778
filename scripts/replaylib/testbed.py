"""One dr-dataplane with pcap ports and one drd, in a temporary folder of their own.

A pcap port takes its packets from files, each a receive queue, opened at start. The gate makes
steps of them: queue n is polled once the gate is beyond n. So each batch (what one port receives in
one step) is a queue of its own, opened when all before it is done; the other ports have an empty
file at that place.
"""

import json
import time
from pathlib import Path

from . import pcap
from .programs import Program, ProgramError, drcli
from .southbound import Client

# The pcap driver takes at most so many files for a port.
MAX_QUEUES = 16
STALL_SECONDS = 30
# What the queues of a port may hold, at most.
MBUFS_OF_A_PORT = 2560


class Testbed:
    def __init__(self, binaries, folder: Path, ports, capacity):
        self._binaries = binaries
        self._folder = folder
        self._ports = ports
        self._capacity = capacity
        self._dataplane = self._drd = self._client = self._counters = None
        self.config = None  # the file that dr-dataplane reads
        self._run = 0
        self._received = 0
        self._gate = 0

    # ---- life ----

    def start_dataplane(self, batches):
        """batches: [(port, frames)], at most MAX_QUEUES, in the order in which they are let in."""
        self._run += 1
        self._gate = self._received = 0
        config = self._folder / f"dataplane-{self._run}.json"
        self.config = config
        config.write_text(json.dumps(self._config(batches), indent=1))
        self._dataplane = Program("dr-dataplane", [
            self._binaries["dr-dataplane"], "--config", config, "--socket", self._socket,
            "--no-huge"], self._folder, self._run)
        self._dataplane.wait_ready()
        self._client = Client(self._socket, STALL_SECONDS)
        self._counters = self._client.counters()

    def start_drd(self):
        self._drd = Program("drd", [
            self._binaries["drd"], "--listen", f"unix:{self._api}", "--store",
            self._folder / "store.db", "--dataplane", self._socket], self._folder)
        self._drd.wait_ready()

    def end_dataplane(self) -> dict:
        """Ends it cleanly; what each port has sent since start_dataplane()."""
        self._client.close()
        self._counters.close()
        self._dataplane.end()
        self._dataplane = None
        return {p["name"]: self._sent(p["name"]) for p in self._ports}

    def end_drd(self):
        self._drd.end()
        self._drd = None

    def kill(self):
        for program in (self._dataplane, self._drd):
            if program is not None:
                program.kill()

    # ---- what a step does ----

    def apply(self, file):
        drcli(self._binaries, self._folder, self._api, "apply", "-f", Path(file).resolve())
        self.wait_installed()

    def delete(self, kind, name):
        drcli(self._binaries, self._folder, self._api, kind, "delete", name)
        self.wait_installed()

    def wait_installed(self):
        drcli(self._binaries, self._folder, self._api, "system", "wait")
        self._quiet()

    def let_in(self, packets):
        """Opens the next batch and waits until each of its packets has left through an exit."""
        self._gate += 1
        self._received += packets
        self._client.advance_gate(self._gate)
        last, moved = None, time.monotonic()
        while True:
            values = self._counters.snapshot()
            received = sum(v for k, v in values.items() if k.endswith(".rx_packets"))
            accounted = sum(values[name] for name in self._counters.exits)
            if received == accounted == self._received:
                break
            self._dataplane.check()
            if (received, accounted) != last:
                last, moved = (received, accounted), time.monotonic()
            if time.monotonic() - moved > STALL_SECONDS:
                raise ProgramError(
                    f"after {STALL_SECONDS} s: {received} of {self._received} packets received, "
                    f"{accounted} left through an exit")
            time.sleep(0.001)
        self._quiet()

    def snapshot(self) -> dict:
        return self._counters.snapshot()

    def noted(self) -> set:
        """Names of the exits of which a dropped packet is noted."""
        return {self._counters.exits[number] for number in self._client.noted_exits()}

    def _quiet(self):
        """Every worker has been through two idle rounds: the last burst is out and counted."""
        start = self._counters.idle_polls()
        deadline = time.monotonic() + STALL_SECONDS
        while self._counters.idle_polls() < start + 2:
            self._dataplane.check()
            if time.monotonic() > deadline:
                raise ProgramError(f"a worker did not come to rest in {STALL_SECONDS} s")
            time.sleep(0.001)

    # ---- files ----

    @property
    def _socket(self):
        return self._folder / "dataplane.sock"

    @property
    def _api(self):
        return self._folder / "drd.sock"

    def _tx_file(self, port):
        return self._folder / f"tx-{self._run}-{port}.pcap"

    def _sent(self, port):
        file = self._tx_file(port)
        if not file.is_file():
            raise ProgramError(f"dr-dataplane left no capture of what {port} sent")
        return pcap.read(file)

    def _config(self, batches):
        return {
            "socket": str(self._socket), "workers": 1, "idle": "sleep",
            "memory_mib": 256, "mbufs": max(8192, MBUFS_OF_A_PORT * (len(self._ports) + 2)),
            "capacity": self._capacity,
            "ports": [self._port(p, batches) for p in self._ports],
        }

    def _port(self, port, batches):
        files = []
        for number, (name, frames) in enumerate(batches or [(None, [])]):
            mine = name == port["name"]
            file = self._folder / (f"rx-{self._run}-{number}-{name}.pcap" if mine else "empty.pcap")
            pcap.write(file, frames if mine else [])
            files.append(str(file))
        return {**port, "kind": "pcap", "gated": True, "rx": files,
                "tx": str(self._tx_file(port["name"]))}
