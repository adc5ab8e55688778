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


class HugePages:
    """2 MiB pages for both of a pair; as many as there were before are left afterwards."""

    PATH = "/proc/sys/vm/nr_hugepages"

    def __init__(self, pages: int):
        self.pages = pages

    def __enter__(self):
        with open(self.PATH, encoding="ascii") as f:
            self.before = int(f.read())
        self.set(self.before + self.pages)
        with open(self.PATH, encoding="ascii") as f:
            got = int(f.read()) - self.before
        if got < self.pages:
            self.set(self.before)
            raise SystemExit(f"bench: only {got} of {self.pages} huge pages of 2 MiB can be had: "
                             "free memory, or measure fewer subscribers")

    def __exit__(self, *_):
        self.set(self.before)

    def set(self, pages: int):
        with open(self.PATH, "w", encoding="ascii") as f:
            f.write(str(pages))


class Paused:
    """A process that only runs while it is measured: the two of a pair share one core."""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def __enter__(self):
        self.process.send_signal(signal.SIGCONT)

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGSTOP)


def worker_cpu_time(pid: int) -> float:
    """CPU seconds of the busiest thread: the polling one."""
    best = 0.0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as f:
            best = max(best, int(f.read().split()[0]) / 1e9)
    return best


class Dut:
    def __init__(self, build: str, work: str, rx: str, encapsulation: str, outer: int,
                 subscribers: int, measure: bool = False, cpu: int = 1):
        self.build, self.work = build, work
        self.processes: list[subprocess.Popen] = []
        os.makedirs(work, exist_ok=True)
        self.socket = f"{work}/dp.sock"
        self.listen = f"unix:{work}/drd.sock"
        peer = "02:00:00:00:00:fe"
        config = {
            "socket": self.socket, "workers": 1, "lcores": [0, cpu], "idle": "poll",
            "memory_mib": 1024, "mbufs": 131072, "measure_stages": measure,
            "capacity": {"subscribers": max(2000, subscribers + 16),
                         "tunnels": max(4000, 2 * subscribers + 16),
                         "prefixes4": subscribers + 4096, "prefixes6": subscribers + 4096,
                         "groups4": subscribers // 32 + 1024, "groups6": subscribers // 256 + 8192},
            "ports": [
                {"name": "in", "kind": "pcap", "rx": [rx], "infinite": True,
                 "mac": "02:00:00:00:00:01", "addresses": ["192.0.2.1/24", "2001:db8:ff::1/64"]},
                {"name": "out", "kind": "null",
                 "mac": "02:00:00:00:00:02", "addresses": ["198.51.100.1/24", "2001:db8:fe::1/64"],
                 "routes": [{"prefix": "0.0.0.0/0", "via": "198.51.100.254"},
                            {"prefix": "::/0", "via": "2001:db8:fe::fe"}],
                 "neighbours": [{"address": "198.51.100.254", "mac": peer},
                                {"address": "2001:db8:fe::fe", "mac": peer}]}]}
        with open(f"{work}/dataplane.json", "w", encoding="utf-8") as f:
            json.dump(config, f, indent=1)
        self.dataplane = self.start("dr-dataplane", [f"{build}/dataplane/dr-dataplane", "--config",
                                                     f"{work}/dataplane.json"])
        self.drd = self.start("drd", [f"{build}/control/drd", "--listen", self.listen, "--store",
                                      f"{work}/store.db", "--dataplane", self.socket])
        self.provision(encapsulation, outer, subscribers)

    def start(self, name: str, command: list[str]) -> subprocess.Popen:
        log = f"{self.work}/{name}.log"
        with open(log, "w", encoding="utf-8") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        wait_for_line(process, f"{name}: ready", log)
        return process

    def drcli(self, *arguments: str) -> str:
        return subprocess.run([f"{self.build}/cli/drcli", "--server", self.listen, *arguments],
                              check=True, capture_output=True, text=True).stdout

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
                                 "remote": text(remotes[k]), "id": site.tunnel_id(k)}
                                for k, line in enumerate("ab")]}}) + "\n")
        started = time.monotonic()
        self.drcli("apply", "-f", path)
        self.drcli("system", "wait", "--timeout", "120s")
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
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


class Testpmd:
    """dpdk-testpmd in io mode on the same ports and packets."""

    def __init__(self, work: str, rx: str, cpu: int = 1):
        self.log = f"{work}/testpmd.log"
        self.out = open(self.log, "w", encoding="utf-8")
        self.process = subprocess.Popen(
            # Unbuffered, because its answers are read while it runs.
            ["stdbuf", "-o0", "dpdk-testpmd", "--in-memory", "--no-pci", "--no-telemetry",
             f"--file-prefix=bench{os.getpid()}", "--lcores", f"0@0,1@{cpu}",
             "--vdev", f"net_pcap0,rx_pcap={rx},infinite_rx=1", "--vdev", "net_null1,no-rx=1",
             "--", "-i", "--total-num-mbufs=131072", "--forward-mode=io", "--no-flush-rx",
             "--no-lsc-interrupt"],
            stdin=subprocess.PIPE, stdout=self.out, stderr=subprocess.STDOUT, text=True)
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
            time.sleep(0.005)
        raise SystemExit(f"bench: dpdk-testpmd did not answer; see {self.log}")

    def transmitted(self) -> tuple[float, int]:
        marker = "NIC statistics for port 1"
        seen = open(self.log, encoding="utf-8", errors="replace").read().count(marker)
        self.command("show port stats 1")
        now = time.monotonic()
        content = self.wait(marker, seen + 1)
        tail = ""
        while "TX-packets" not in tail:
            content = open(self.log, encoding="utf-8", errors="replace").read()
            tail = content[content.rindex(marker):]
        return now, int(tail.split("TX-packets:")[1].split()[0])

    def close(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.out.close()
