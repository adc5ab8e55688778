"""dr-dataplane, drd and a swarm of simulated URs at a memif port: for benchmarks and tests.

Each site has two lines, `a` and `b`, that carry its traffic together, so that keepalives go at the
active interval on both. Its tunnels differ in outer family, encapsulation and in who knows the UR's
address beforehand. Keys are those that drd made, read from its store.
"""

import ipaddress
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests" / "bench")]

import southbound
from lablib.shell import LabError, run, wait_until

LOCAL4, LOCAL6 = "192.0.2.1", "2001:db8:ff::1"
NETWORK4, NETWORK6, NETWORK_MAC = "192.0.2.254", "2001:db8:ff::fe", "02:00:00:00:00:fe"
DR_MAC = "02:00:00:00:00:01"
SITES = ipaddress.ip_address("100.128.0.0")
LINES = "ab"
# Sites without keepalives have /29s from this one on, and tunnels in these networks.
FIRST_STILL = 1 << 19
STILL_SITES = "172.16.0.0/12"


class Tunnel:
    """Number n of a swarm: line n % 2 of site n // 2."""

    def __init__(self, n: int):
        self.site, self.line = divmod(n, 2)
        self.id = 1 << 24 | (n + 1)
        kind = 0 if self.line == 0 else 1 + self.site % 3
        self.v6 = kind == 1
        self.native = kind == 2
        self.learned = kind != 3
        self.port = 0 if self.native else 20_000 + n % 20_000
        base = "2001:db8:b::1:0" if self.v6 else "10.0.1.0"
        self.remote = str(ipaddress.ip_address(base) + n)
        self.local = LOCAL6 if self.v6 else LOCAL4

    def resource(self) -> dict:
        tunnel = {"line": LINES[self.line], "encapsulation": "GRE" if self.native else "GRE_UDP",
                  "local": self.local, "id": self.id, "keepalive": True}
        if not self.learned:
            tunnel |= {"remote": self.remote, "remotePort": self.port}
        return tunnel

    def fleet_line(self, number: int, key: bytes, profile: str) -> str:
        return (f"{self.site} {self.line} {self.id} {number} {key.hex()} {profile.lower()} "
                f"{self.remote} {self.port} {self.local}\n")


def site_prefix(n: int) -> str:
    return f"{SITES + 8 * n}/29"


def still_host(n: int) -> bytes:
    return int(SITES + 8 * (FIRST_STILL + n) + 1).to_bytes(4, "big")


def still_site(n: int, tunnel_id: int) -> dict:
    return {"name": f"still-{n}", "policy": "both", "prefixes": [site_prefix(FIRST_STILL + n)],
            "tunnels": [{"line": LINES[0], "encapsulation": "GRE_UDP", "local": LOCAL4, "id": tunnel_id,
                         "remote": str(ipaddress.ip_network(STILL_SITES)[n + 1])}]}


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 0x80:
            return value, at


def fields(data: bytes):
    """Numbers and values of a protobuf message of varints and byte strings."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        value, at = varint(data, at)
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        yield tag >> 3, value


def keys_of(store: str) -> dict[int, tuple[int, bytes]]:
    """Number and key of each tunnel (proto/dr/store/secrets.proto)."""
    keys = {}
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as database:
        for (secrets,) in database.execute("SELECT object FROM secrets"):
            for field, value in fields(secrets):
                if field == 1:
                    tunnel = dict(fields(value))
                    keys[tunnel[1]] = (tunnel[2], tunnel[3])
    return keys


class Process:
    """Ended at the end, whatever happened. `cpus`: empty: any."""

    def __init__(self, name: str, command: list[str], log: str, ready: str = "", pipes: bool = False):
        self.name, self.log = name, log
        self.out = open(log, "w", encoding="utf-8")
        pipe = subprocess.PIPE if pipes else None
        self.popen = subprocess.Popen([str(c) for c in command], text=True, stderr=self.out,
                                      stdin=pipe or subprocess.DEVNULL, stdout=pipe or self.out,
                                      preexec_fn=any_cpu)
        if ready:
            self.wait_for(ready)

    def text(self) -> str:
        return pathlib.Path(self.log).read_text(encoding="utf-8", errors="replace")

    def wait_for(self, line: str) -> None:
        def said():
            if self.popen.poll() is not None:
                raise LabError(f"{self.name} ended with {self.popen.returncode}:\n{self.text()[-2000:]}")
            return line in self.text()
        wait_until(said, f"'{line}' of {self.name}; see {self.log}", seconds=60, interval=0.002)

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            self.popen.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self.out.close()


def any_cpu() -> None:
    os.sched_setaffinity(0, range(os.cpu_count()))


class SwarmLab:
    """still: further sites, without keepalives, that no UR is simulated for; their tunnels lead into
    STILL_SITES. extra_ports: further ports of dr-dataplane, as in its configuration file. cpus: of the main
    thread and the worker; swarm_cpu: of the URs."""

    def __init__(self, build: str, work: str, sites: int, *, profile: str = "FIXED",
                 idle: str = "sleep", still: int = 0, huge: bool = False,
                 extra_ports: list[dict] = (), mbufs: int = 16_384,
                 cpus: tuple[int, int] = (0, 1), swarm_cpu: int = 1, start_rate: int = 5_000):
        self.build, self.work, self.sites, self.profile = build, work, sites, profile
        self.still, self.huge = still, huge
        self.idle, self.extra_ports, self.mbufs = idle, list(extra_ports), mbufs
        count = os.cpu_count()
        self.cpus, self.swarm_cpu = [c % count for c in cpus], swarm_cpu % count
        self.tunnels = [Tunnel(n) for n in range(2 * sites)]
        self.socket, self.memif = f"{work}/dp.sock", f"{work}/memif.sock"
        self.listen, self.store = f"unix:{work}/drd.sock", f"{work}/store.db"
        self.dataplane = self.drd = self.swarm = None
        self.start_rate = start_rate
        self.starts = 0

    def __enter__(self):
        try:
            self.start_dataplane()
            self.start_drd()
            self.provision()
            self.wait_in_sync()
            self.start_swarm()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        # The swarm leaves the shared memory before its other end does.
        if self.swarm is not None and self.swarm.popen.poll() is None:
            try:
                self.ask("disconnect")
            except (LabError, OSError):
                pass
        for process in (self.drd, self.dataplane, self.swarm):
            if process is not None:
                process.stop()

    def log(self, name: str) -> str:
        self.starts += 1
        return f"{self.work}/{name}-{self.starts}.log"

    def start_dataplane(self, ready: bool = True) -> None:
        port = {"name": "net0", "kind": "memif", "memif": self.memif, "mac": DR_MAC,
                "addresses": [f"{LOCAL4}/24", f"{LOCAL6}/64"],
                "routes": [{"prefix": "0.0.0.0/0", "via": NETWORK4},
                           {"prefix": "::/0", "via": NETWORK6}],
                "neighbours": [{"address": a, "mac": NETWORK_MAC} for a in (NETWORK4, NETWORK6)]}
        sites, tunnels = self.sites + self.still, len(self.tunnels) + self.still
        config = {"socket": self.socket, "workers": 1, "lcores": self.cpus, "idle": self.idle,
                  "mbufs": self.mbufs, "memory_mib": 160 + (self.mbufs * 2500 >> 20),
                  "capacity": {"subscribers": max(2_000, sites + 16),
                               "tunnels": max(4_000, tunnels + 16),
                               "prefixes4": sites + 4_096, "prefixes6": 4_096,
                               "groups4": sites // 32 + 1_024, "groups6": 8_192},
                  "ports": [port, *self.extra_ports]}
        pathlib.Path(f"{self.work}/dataplane.json").write_text(json.dumps(config), encoding="utf-8")
        self.dataplane = Process(
            "dr-dataplane", [f"{self.build}/dataplane/dr-dataplane", "--config",
                             f"{self.work}/dataplane.json", *([] if self.huge else ["--no-huge"])],
            self.log("dr-dataplane"), "dr-dataplane: ready" if ready else "")

    def start_drd(self) -> None:
        self.drd = Process("drd", [f"{self.build}/control/drd", "--listen", self.listen, "--store",
                                   self.store, "--dataplane", self.socket],
                           self.log("drd"), "drd: ready")

    def drcli(self, *arguments: str) -> str:
        return run([f"{self.build}/cli/drcli", "--server", self.listen, *arguments]).stdout

    def buffers(self) -> int:
        """Packet buffers of dr-dataplane that are in use."""
        status = json.loads(self.drcli("-o", "json", "system", "status"))
        return sum(row["rows"] for row in status["memory"] if row["what"].startswith("buffers"))

    def provision(self) -> None:
        lines = [{"line": line, "weight": 1} for line in LINES]
        resources = [{"pool": {"name": "sites", "prefix": "100.128.0.0/9"}},
                     {"policy": {"name": "both", "classes": [
                         {"name": "all", "tiers": [{"lines": lines}]}]}}]
        for n in range(self.sites):
            resources.append({"subscriber": {
                "name": f"site-{n}", "policy": "both", "profile": self.profile,
                "prefixes": [site_prefix(n)],
                "tunnels": [t.resource() for t in self.tunnels[2 * n:2 * n + 2]]}})
        for n in range(self.still):
            resources.append({"subscriber": still_site(n, 1 << 24 | (len(self.tunnels) + n + 1))})
        path = pathlib.Path(f"{self.work}/provision.ndjson")
        path.write_text("".join(json.dumps(r) + "\n" for r in resources), encoding="utf-8")
        self.drcli("apply", "-f", str(path))

    def in_sync(self) -> bool:
        status = json.loads(self.drcli("-o", "json", "system", "status"))
        rows = [r for r in status.get("rows", []) if r["table"] in ("subscribers", "tunnels")]
        return (status.get("dataplaneState") == "IN_SYNC" and bool(rows) and
                all(r.get("desired") == r.get("installed") for r in rows))

    def wait_in_sync(self) -> None:
        wait_until(self.in_sync, "drd in sync with the data plane", seconds=60)

    def start_swarm(self) -> None:
        keys = keys_of(self.store)
        path = pathlib.Path(f"{self.work}/fleet.txt")
        path.write_text("".join(t.fleet_line(*keys[t.id], self.profile) for t in self.tunnels),
                        encoding="ascii")
        self.swarm = Process("swarm", [f"{self.build}/tests/swarm/swarm", path, self.memif, "--cpu",
                                       str(self.swarm_cpu), "--start-rate", str(self.start_rate)],
                             self.log("swarm"), pipes=True)
        self.answer()
        self.ask("connect")

    def answer(self) -> dict:
        line = self.swarm.popen.stdout.readline()
        if not line:
            self.swarm.popen.wait()
            raise LabError(f"the swarm ended with {self.swarm.popen.returncode}: {self.swarm.text()}")
        reply = json.loads(line)
        if "error" in reply:
            raise LabError(f"the swarm refuses: {reply['error']}")
        return reply

    def ask(self, command: str) -> dict:
        self.swarm.popen.stdin.write(command + "\n")
        self.swarm.popen.stdin.flush()
        return self.answer()

    def status(self) -> dict:
        return self.ask("status")

    def all_up(self) -> bool:
        status = self.status()
        return status["unstarted"] == 0 and status["up"] == len(self.tunnels)

    def settled(self) -> bool:
        """Each site's lines are Up and eligible at both ends."""
        return self.all_up() and self.status()["settled"] == self.sites

    def reader(self) -> southbound.Client:
        return southbound.Client(self.socket, southbound.READER)

    def kill_dataplane(self) -> float:
        """The moment of it."""
        self.ask("disconnect")
        self.ask("mark")
        killed = time.monotonic()
        self.dataplane.kill()
        self.dataplane.out.close()
        self.ask("connect")
        return killed
