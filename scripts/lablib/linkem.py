"""The link emulator (tests/linkem) between two namespaces: cables, process, control socket.

    with LinkEmulator("line-a", isp, "ur1", ur, "wan-a", directory=folder) as line:
        line.set("ab", delay=20, loss=0.05)
        line.set("ba", cut=True)
        line.counters()["ba"]["drop_cut"]

Direction "ab" is from the first namespace to the second. tests/linkem/README.md describes each
impairment.
"""

import json
import socket
import uuid
from pathlib import Path

from .netns import Namespace, cable, without_offloads
from .process import Process
from .programs import Programs
from .shell import LabError, wait_until


class LinkEmulator:
    """One link. `a_device` in namespace `a` and `b_device` in `b` are made by it.

    With `namespace` and `devices` it makes none: it runs there, between these two.
    """

    def __init__(self, name, a, a_device, b, b_device, *, directory, seed=1, programs=None,
                 options=(), namespace=None, devices=("line-a", "line-b"), socket_path=None):
        self.name = name
        self.ends = ((a, a_device), (b, b_device))
        self.directory = Path(directory)
        self.seed = seed
        self.options = options
        self.program = (programs or Programs()).linkem
        self.devices = devices
        self.namespace = namespace or Namespace(f"lem-{uuid.uuid4().hex[:8]}")
        # A Unix socket's path is short, however deep the lab's directory is.
        self.socket_path = socket_path or Path(f"/run/{self.namespace.name}.sock")
        self.process = None
        self._connection = None

    def create_cables(self):
        """The namespace of the emulator, and a cable to each end."""
        self.namespace.create()
        try:
            # The emulator's interfaces carry other people's packets; the kernel stays out of it.
            for family in ("all", "default"):
                self.namespace.sysctl(f"net.ipv6.conf.{family}.disable_ipv6", 1)
            for (namespace, device), side in zip(self.ends, self.devices):
                cable(self.namespace, side, namespace, device)
                # A wire carries finished checksums and no segments of 64 KiB.
                for at in ((namespace, device), (self.namespace, side)):
                    without_offloads(*at)
                    at[0].run(["ethtool", "-K", at[1], "gro", "off"], check=False)
        except BaseException:
            self.close()
            raise

    def start(self):
        """The process; the cables must be there."""
        if not self.program.exists():
            raise LabError(f"not built: {self.program}; run scripts/build")
        self.process = Process.start(
            f"linkem {self.name}",
            self.namespace.command([self.program, "--a", self.devices[0], "--b", self.devices[1],
                                    "--control", self.socket_path, "--seed", self.seed,
                                    *self.options]),
            self.directory / f"linkem-{self.name}.log", ready="linkem: ready")
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._connection.settimeout(10)
        self._connection.connect(str(self.socket_path))

    def command(self, cmd, **members):
        """Any command of the control socket; LabError with what the emulator has to say."""
        if self._connection is None:
            raise LabError(f"linkem {self.name} does not run")
        self._connection.sendall(json.dumps({"cmd": cmd, **members}).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            part = self._connection.recv(65536)
            if not part:
                raise LabError(f"linkem {self.name} ended; its log: {self.process.output()}")
            answer += part
        answer = json.loads(answer)
        if not answer.pop("ok"):
            raise LabError(f"linkem {self.name}: {cmd}: {answer['error']}")
        return answer

    def set(self, direction="both", **impairments):
        """Changes the impairments named; None sets one back. Direction: ab, ba or both."""
        self.command("set", direction=direction, impairments=impairments)

    def clear(self, direction="both"):
        self.command("clear", direction=direction)

    def get(self):
        return self.command("get")

    def counters(self):
        """{"ab": {...}, "ba": {...}, "lateness": {...}}"""
        return self.command("counters")

    def nat(self, *nats, inside_side="b"):
        """NATs, at most one a family: nat({"inside": "198.18.1.2", "first_port": 20000})."""
        self.command("nat", nats=list(nats), inside_side=inside_side)

    def rebind(self, **changes):
        """New ports, and a new `outside` address if named; the old mappings are gone."""
        return self.command("rebind", **changes)["nat"]

    def reseed(self, seed):
        self.command("seed", seed=seed)

    def settled(self, seconds=10):
        """Waits until nothing is on its way, and returns the counters."""
        def done():
            now = self.counters()
            return now if not now["ab"]["in_flight"] and not now["ba"]["in_flight"] else None
        return wait_until(done, f"an empty link {self.name}", seconds=seconds)

    def close(self):
        """The process, the cables and the namespace go."""
        try:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self.process is not None:
                self.process.stop()
                self.process = None
        finally:
            self.socket_path.unlink(missing_ok=True)
            if self.namespace.exists():
                self.namespace.delete()

    def __enter__(self):
        self.create_cables()
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()
