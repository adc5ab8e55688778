"""The device under test for benchmarks: the real dr-dataplane, drd and drcli on in-memory ports."""

import ipaddress
import json
import os
import signal
import subprocess
import time

import packets


def wait_for_line(process: subprocess.Popen, line: str, log: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if line in open(log, encoding="utf-8", errors="replace").read():
            return
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"bench: no '{line}' within {seconds:.0f} s; see {log}:\n" +
                     open(log, encoding="utf-8", errors="replace").read()[-2000:])


SYNC_LIMIT = 60
PROMPT = 0.02  # seconds, of an answer


class HugePages:
    """2 MiB pages for both of a pair; given back afterwards."""

    PATH = "/proc/sys/vm/nr_hugepages"

    def __init__(self, pages: int):
        self.pages = pages

    def __enter__(self):
        before = self.add(self.pages)
        got = self.count() - before
        if got < self.pages:
            self.add(-got)
            raise SystemExit(f"bench: only {got} of {self.pages} huge pages of 2 MiB can be had: free "
                             "memory, measure fewer subscribers, or take small pages (--no-huge)")

    def __exit__(self, *_):
        self.add(-self.pages)

    def count(self) -> int:
        with open(self.PATH, encoding="ascii") as f:
            return int(f.read())

    def add(self, pages: int) -> int:
        """How many there were before."""
        before = self.count()
        with open(self.PATH, "w", encoding="ascii") as f:
            f.write(str(max(0, before + pages)))
        return before


MBUF_BYTES = 2048 + 128 + 128 + 64 + 64  # data, headroom, structure, mempool header, alignment


def buffers(distinct: int) -> int:
    """net_pcap keeps each packet of an infinite source in a buffer of its own."""
    return distinct + 32768


def pool_mib(distinct: int) -> int:
    return (buffers(distinct) * MBUF_BYTES >> 20) + 128


def pages_for_pair(distinct: int, subscribers: int) -> int:
    """Buffers of both; ours has the tables too."""
    return pool_mib(distinct) + 512 + subscribers // 1000


class Paused:
    """A process that only runs while it is measured: the two of a pair share one core."""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def __enter__(self):
        self.process.send_signal(signal.SIGCONT)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGSTOP)


def thread_cpu_times(pid: int) -> dict[str, float]:
    """CPU seconds of each thread."""
    times = {}
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
            times[task] = int(f.read().split()[0]) / 1e9
    return times


def worker_cpu_time(pid: int) -> float:
    """CPU seconds of the busiest thread: the polling one."""
    return max(thread_cpu_times(pid).values())


class Dut:
    """measure: the worker takes the time of its stages; distinct: packets in the source; store: a
    database that outlives this object; provisions only when there is none yet."""

    def __init__(self, build: str, work: str, rx: str, encapsulation: str, outer: int,
                 subscribers: int, measure: bool = False, cpu: int = 1, distinct: int = 65536,
                 store: str | None = None, huge: bool = True):
        self.build, self.work, self.cpu = build, work, cpu
        self.subscribers, self.distinct, self.huge = subscribers, distinct, huge
        self.uuid = ""  # of the data plane that was last seen in sync
        self.processes: list[subprocess.Popen] = []
        os.makedirs(work, exist_ok=True)
        self.socket = f"{work}/dp.sock"
        self.listen = f"unix:{work}/drd.sock"
        store = store or f"{work}/store.db"
        complete = f"{store}.complete"
        if not os.path.exists(complete) and os.path.exists(store):
            os.unlink(store)
        try:
            self.start_dataplane(rx, measure)
            self.drd = self.start("drd", [f"{build}/control/drd", "--listen", self.listen,
                                          "--store", store, "--dataplane", self.socket])
            if os.path.exists(complete):
                self.wait_for_sync()
            else:
                self.provision(encapsulation, outer, subscribers)
                open(complete, "w", encoding="ascii").close()
        except BaseException:
            self.close()
            raise

    def start_dataplane(self, rx: str, measure: bool) -> None:
        subscribers = self.subscribers
        peer = "02:00:00:00:00:fe"
        config = {
            "socket": self.socket, "workers": 1, "lcores": [0, self.cpu], "idle": "poll",
            "memory_mib": pool_mib(self.distinct), "mbufs": buffers(self.distinct),
            "measure_stages": measure,
            "capacity": {"subscribers": max(2000, subscribers + 16),
                         "tunnels": max(4000, 2 * subscribers + 16),
                         "prefixes4": subscribers + 4096, "prefixes6": subscribers + 4096,
                         "groups4": subscribers // 32 + 1024, "groups6": subscribers // 256 + 8192},
            "ports": [
                {"name": "in", "kind": "pcap", "rx": [rx], "infinite": True,
                 "mac": "02:00:00:00:00:01", "addresses": ["192.0.2.1/24", "2001:db8:ff::1/64"]},
                {"name": "out", "kind": "null", "mtu": 1600,
                 "mac": "02:00:00:00:00:02", "addresses": ["198.51.100.1/24", "2001:db8:fe::1/64"],
                 "routes": [{"prefix": "0.0.0.0/0", "via": "198.51.100.254"},
                            {"prefix": "::/0", "via": "2001:db8:fe::fe"}],
                 "neighbours": [{"address": "198.51.100.254", "mac": peer},
                                {"address": "2001:db8:fe::fe", "mac": peer}]}]}
        with open(f"{self.work}/dataplane.json", "w", encoding="utf-8") as f:
            json.dump(config, f, indent=1)
        command = [f"{self.build}/dataplane/dr-dataplane", "--config", f"{self.work}/dataplane.json"]
        self.dataplane = self.start("dr-dataplane", command + ([] if self.huge else ["--no-huge"]))

    def restart_dataplane(self, rx: str, measure: bool) -> None:
        """Another source, or other measuring, with the same subscribers: drd replays them."""
        stop(self.dataplane)
        self.processes.remove(self.dataplane)
        self.start_dataplane(rx, measure)
        self.wait_for_sync()

    def wait_for_sync(self) -> None:
        """All that is stored is installed in the data plane that runs now."""
        deadline = time.monotonic() + SYNC_LIMIT
        while time.monotonic() < deadline:
            status = json.loads(self.drcli("-o", "json", "system", "status"))
            now = status.get("dataplaneUuid", "")
            missing = [row for row in status.get("rows", [])
                       if row["table"] in ("subscribers", "tunnels")
                       and row.get("desired") != row.get("installed")]
            if status.get("dataplaneState") == "IN_SYNC" and now != self.uuid and not missing:
                if status.get("detail"):
                    raise SystemExit(f"bench: the data plane refuses objects: {status['detail']}")
                self.uuid = now
                return
            time.sleep(0.05)
        raise SystemExit(f"bench: the data plane is not in sync within {SYNC_LIMIT} s: {status}")

    def start(self, name: str, command: list[str]) -> subprocess.Popen:
        log = f"{self.work}/{name}.log"
        with open(log, "w", encoding="utf-8") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                       preexec_fn=any_cpu if name == "dr-dataplane" else None)
        self.processes.append(process)
        wait_for_line(process, f"{name}: ready", log)
        return process

    def drcli(self, *arguments: str) -> str:
        result = subprocess.run([f"{self.build}/cli/drcli", "--server", self.listen, *arguments],
                                capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise SystemExit(f"bench: drcli {' '.join(arguments)} fails:\n{result.stderr[-2000:]}")
        return result.stdout

    def provision(self, encapsulation: str, outer: int, subscribers: int) -> None:
        path = f"{self.work}/provision.ndjson"
        kind = {"gre": "GRE", "gre-udp": "GRE_UDP"}[encapsulation]
        text = lambda raw: str(ipaddress.ip_address(raw))
        with open(path, "w", encoding="utf-8") as f:
            for name, prefix in (("v4", "100.128.0.0/9"), ("v6", "2001:db8:5000::/36")):
                f.write(json.dumps({"pool": {"name": name, "prefix": prefix}}) + "\n")
            f.write(json.dumps({"policy": {"name": "p", "classes": [{"name": "all", "tiers": [
                {"lines": [{"line": "a", "weight": 1}, {"line": "b", "weight": 1}]}]}]}}) + "\n")
            for n in range(subscribers):
                site = packets.Site(n)
                remotes = site.remote4 if outer == 4 else site.remote6
                local = packets.DR_LOCAL4 if outer == 4 else packets.DR_LOCAL6
                f.write(json.dumps({"subscriber": {
                    "name": f"site-{n}", "policy": "p",
                    "prefixes": [text(site.v4) + "/29", text(site.v6) + "/56"],
                    "tunnels": [{"line": line, "encapsulation": kind, "local": text(local),
                                 "remote": text(remotes[k]), "id": site.tunnel_id(k),
                                 "mtu": 1500}  # IMIX has full frames, with DF
                                for k, line in enumerate("ab")]}}) + "\n")
        started = time.monotonic()
        self.drcli("apply", "-f", path)
        self.wait_for_sync()
        self.load_seconds = time.monotonic() - started

    def counters(self) -> tuple[float, dict[str, int]]:
        snapshot = json.loads(self.drcli("-o", "json", "stats", "show"))
        values = {k: int(v) for k, v in snapshot["counters"].items()}
        return int(snapshot["sampledAtNs"]) / 1e9, values

    def close(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes:
            stop(process)


def any_cpu() -> None:
    """The benchmark itself keeps off the measured CPU; what it measures may use all."""
    os.sched_setaffinity(0, range(os.cpu_count()))


def stop(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Testpmd:
    """dpdk-testpmd in io mode on the same ports and packets."""

    def __init__(self, work: str, rx: str, cpu: int = 1, distinct: int = 65536, huge: bool = True):
        self.log = f"{work}/testpmd.log"
        self.out = open(self.log, "w", encoding="utf-8")
        memory = (["--in-memory"] if huge else
                  ["--no-huge", "--no-shconf", "-m", str(pool_mib(distinct))])
        self.process = subprocess.Popen(
            # Unbuffered, because its answers are read while it runs.
            ["stdbuf", "-o0", "dpdk-testpmd", *memory, "--no-pci", "--no-telemetry",
             f"--file-prefix=bench{os.getpid()}", "--lcores", f"0@0,1@{cpu}",
             "--vdev", f"net_pcap0,rx_pcap={rx},infinite_rx=1", "--vdev", "net_null1,no-rx=1",
             "--", "-i", f"--total-num-mbufs={buffers(distinct)}", "--forward-mode=io", "--no-flush-rx",
             "--no-lsc-interrupt"],
            stdin=subprocess.PIPE, stdout=self.out, stderr=subprocess.STDOUT, text=True,
            preexec_fn=any_cpu)
        self.command("start")
        self.wait("io packet forwarding", 1)

    def command(self, text: str) -> None:
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def wait(self, text: str, count: int, seconds: float = 30) -> str:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            content = open(self.log, encoding="utf-8", errors="replace").read()
            if content.count(text) >= count:
                return content
            time.sleep(0.001)
        raise SystemExit(f"bench: dpdk-testpmd did not answer; see {self.log}")

    def transmitted(self) -> tuple[float, int]:
        """An answer that comes late says nothing about when it was true: then it is asked again."""
        for _ in range(100):
            asked = time.monotonic()
            count = self.ask_transmitted()
            answered = time.monotonic()
            if answered - asked < PROMPT:
                return (asked + answered) / 2, count
        raise SystemExit(f"bench: dpdk-testpmd takes more than {PROMPT} s to answer each time: the "
                         "machine is too busy to measure")

    def ask_transmitted(self) -> int:
        marker = "NIC statistics for port 1"
        seen = open(self.log, encoding="utf-8", errors="replace").read().count(marker)
        self.command("show port stats 1")
        content = self.wait(marker, seen + 1)
        tail = ""
        while "TX-errors" not in tail:  # the number before it is whole
            content = open(self.log, encoding="utf-8", errors="replace").read()
            tail = content[content.rindex(marker):]
        return int(tail.split("TX-packets:")[1].split()[0])

    def close(self) -> None:
        stop(self.process)
        self.out.close()
