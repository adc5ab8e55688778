#!/usr/bin/python3
"""Two urd as each other's peer: a site against its mirror image, over two lines.

    lan1 ── ur1 ══ line a (GRE) ══════ ur2 ── lan2
                ══ line b (GRE-in-UDP) ══

Each scenario runs the whole walk for one outer family; inner IPv4 and IPv6 both. Needs root.
Usage: ur_pair.py [--urd PATH]
"""
import argparse
import hashlib
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TAG = f"{os.getpid() % 100000}{secrets.token_hex(2)}"
SPACES = {name: f"ur{TAG}{name}" for name in ("lan1", "ur1", "ur2", "lan2")}
SITE = {1: ("203.0.113.8/29", "2001:db8:5000:100::/56"), 2: ("198.51.100.16/28", "2001:db8:6000::/56")}
HOST = {1: ("203.0.113.10", "2001:db8:5000:100::10"), 2: ("198.51.100.18", "2001:db8:6000::10")}
ROUTER = {1: ("203.0.113.9", "2001:db8:5000:100::1"), 2: ("198.51.100.17", "2001:db8:6000::1")}
OUTER = {4: {"a": ("192.0.2.1", "192.0.2.2", 30), "b": ("192.0.2.129", "192.0.2.130", 30)},
         6: {"a": ("2001:db8:a::1", "2001:db8:a::2", 64), "b": ("2001:db8:b::1", "2001:db8:b::2", 64)}}
passed = failed = 0


def run(*command, check=True, timeout=30, text=True, **more):
    r = subprocess.run([str(c) for c in command], capture_output=True, text=text, timeout=timeout, **more)
    if check and r.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {r.stderr.strip() or r.stdout.strip()}")
    return r


def inside(space, *command, **more):
    return run("ip", "netns", "exec", SPACES[space], *command, **more)


def case(sentence, ok, detail=""):
    global passed, failed
    passed, failed = passed + bool(ok), failed + (not ok)
    print(f"{'pass' if ok else 'FAIL'}  {sentence}" + (f"\n      {detail}" if detail and not ok else ""), flush=True)
    return ok


def wait_for(what, predicate, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if predicate():
            return
        time.sleep(0.02)
    raise RuntimeError(f"waited {seconds} s for {what}")


class Urd:
    def __init__(self, program, folder, number, config):
        self.space, self.program = f"ur{number}", program
        path = os.path.join(folder, f"ur{number}.json")
        with open(path, "w") as f:
            json.dump(config, f)
        self.log = open(os.path.join(folder, f"ur{number}.log"), "w+")
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", SPACES[self.space], program, "--config", path, "--lan", "lan",
             "--line", "a=linea", "--line", "b=lineb"],
            stdout=subprocess.PIPE, stderr=self.log, text=True)
        ready, _, _ = select.select([self.process.stdout], [], [], 15)
        line = self.process.stdout.readline() if ready else ""
        if line != "urd: ready\n":
            self.process.kill()
            self.process.wait()
            self.log.seek(0)
            raise RuntimeError(f"urd {number} did not start: {self.log.read()}")

    def status(self):
        return json.loads(inside(self.space, self.program, "status", "--json").stdout)

    def end(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        return self.process.wait(timeout=10)


def config(number, family, fixed_port=False):
    mine, peer = (0, 1) if number == 1 else (1, 0)
    tunnels = []
    for identity, line in ((16777257, "a"), (33554473, "b")):
        ends = OUTER[family][line]
        tunnels.append({"line": line, "encapsulation": "GRE" if line == "a" else "GRE_UDP",
                        "remote": ends[peer], "id": identity})
        if line == "b":
            tunnels[-1]["local"] = ends[mine]  # a's is taken from its device
    return {"subscriber": f"site-{number}", "prefixes": list(SITE[number]), "hashSeed": 12345,
            "policy": {"name": "both", "classes": [{"name": "all", "tiers": [{"lines": [
                {"line": "a", "weight": 1}, {"line": "b", "weight": 1}]}]}]},
            "tunnels": tunnels}


def build():
    for space in SPACES.values():
        run("ip", "netns", "add", space)
        run("ip", "-n", space, "link", "set", "lo", "up")
        for key in ("all", "default"):
            run("ip", "netns", "exec", space, "sysctl", "-qw", f"net.ipv6.conf.{key}.accept_dad=0")
    for left, right, names in (("lan1", "ur1", ("eth0", "lan")), ("lan2", "ur2", ("eth0", "lan")),
                               ("ur1", "ur2", ("linea", "linea")), ("ur1", "ur2", ("lineb", "lineb"))):
        run("ip", "-n", SPACES[left], "link", "add", names[0], "type", "veth", "peer", "name", names[1],
            "netns", SPACES[right])
        run("ip", "-n", SPACES[left], "link", "set", names[0], "up")
        run("ip", "-n", SPACES[right], "link", "set", names[1], "up")
    for n in (1, 2):
        for host, router, bits in zip(HOST[n], ROUTER[n], (SITE[n][0].split("/")[1], "64")):
            run("ip", "-n", SPACES[f"lan{n}"], "addr", "add", f"{host}/{bits}", "dev", "eth0")
            run("ip", "-n", SPACES[f"ur{n}"], "addr", "add", f"{router}/{bits}", "dev", "lan")
            run("ip", "-n", SPACES[f"lan{n}"], "route", "add", "default", "via", router)
        inside(f"ur{n}", "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
        for family in (4, 6):
            for line in "ab":
                ends = OUTER[family][line]
                run("ip", "-n", SPACES[f"ur{n}"], "addr", "add", f"{ends[n - 1]}/{ends[2]}", "dev", f"line{line}")


def destroy():
    for space in SPACES.values():
        run("ip", "netns", "del", space, check=False)


def snapshot(space):
    """What a run of urd may leave behind, of the kernel's state."""
    name = SPACES[space]
    parts = [sorted(run("ip", "-n", name, *c.split()).stdout.splitlines()) for c in (
        "-4 rule", "-6 rule", "-4 route show table all", "-6 route show table all", "-o link")]
    links = parts.pop()
    filters = [run("tc", "-n", name, *c.split(), check=False).stdout for c in (
        "qdisc show dev linea", "qdisc show dev lineb", "filter show dev linea ingress",
        "filter show dev lineb ingress")]
    forwarding = inside(space, "sysctl", "-n", "net.ipv4.conf.lan.forwarding").stdout
    return {"rules and routes": parts, "links": links, "filters": filters, "forwarding": forwarding}


def ping(number, family, size, *more):
    peer = HOST[3 - number][0 if family == 4 else 1]
    r = inside(f"lan{number}", "ping", f"-{family}", "-c", "3", "-i", "0.1", "-W", "2", "-s", size, *more, peer,
               check=False)
    return r.returncode == 0 and " 0% packet loss" in r.stdout, r.stdout[-300:] + r.stderr


def largest(family, mtu):
    return mtu - (28 if family == 4 else 48)


SERVE = """
import socket, sys
s = socket.create_server((sys.argv[1], 8080), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
c, _ = s.accept()
c.recv(1000)
data = open(sys.argv[2], "rb").read()
c.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(data) + data)
c.close()
"""


def transfer(folder, source, family, size=3_000_000):
    """A file over HTTP from lan<source> to the other; its SHA-256 must be the same."""
    sent, got = os.path.join(folder, "sent"), os.path.join(folder, "got")
    with open(sent, "wb") as f:
        f.write(os.urandom(size))
    address = HOST[source][0 if family == 4 else 1]
    server = subprocess.Popen(["ip", "netns", "exec", SPACES[f"lan{source}"], "/usr/bin/python3", "-c", SERVE, address,
                               sent], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        listening(f"lan{source}", 8080)
        host = address if family == 4 else f"[{address}]"
        r = inside(f"lan{3 - source}", "curl", "-gsS", "-m", "20", "-o", got, f"http://{host}:8080/", check=False)
        sums = []
        for path in (sent, got):
            with open(path, "rb") as f:
                sums.append(hashlib.sha256(f.read()).hexdigest())
        return sums[0] == sums[1], r.stderr[-300:]
    finally:
        server.kill()
        server.wait()


def listening(space, port):
    wait_for(f"port {port} in {space}", lambda: f":{port} " in inside(space, "ss", "-ltnH").stdout)


def iperf(source, family, *more):
    """From lan<source> to the other, several flows; Mbit/s that arrived."""
    sink = f"lan{3 - source}"
    server = subprocess.Popen(["ip", "netns", "exec", SPACES[sink], "iperf3", "-s", "-1"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        listening(sink, 5201)
        r = inside(f"lan{source}", "iperf3", "-J", "-t", "1", "-P", "4", "-c",
                   HOST[3 - source][0 if family == 4 else 1], *more, check=False)
        report = json.loads(r.stdout)
        if "error" in report:
            return 0, report["error"]
        return report["end"]["sum_received"]["bits_per_second"] / 1e6, ""
    finally:
        server.kill()
        server.wait()


def walk(folder, urds, outer):
    mtu = urds[1].status()["mtu"]
    for inner in (4, 6):
        label = f"IPv{inner} in IPv{outer}"
        case(f"{label}: a LAN host pings the other site's", *ping(1, inner, 56))
        case(f"{label}: an MTU-sized packet crosses unfragmented", *ping(1, inner, largest(inner, mtu), "-M", "do"))
        case(f"{label}: one byte more with DF is answered, not swallowed",
             "mtu" in (ping(2, inner, largest(inner, mtu) + 1, "-M", "do")[1]).lower())
        ping(2, inner, 4000)  # an IPv6 host learns the path MTU from its first packet, and loses it
        case(f"{label}: a fragmented packet of 4000 bytes crosses", *ping(2, inner, 4000))
        for source in (1, 2):
            case(f"{label}: a file from site {source} arrives with its checksum", *transfer(folder, source, inner))
        for source in (1, 2):
            rate, error = iperf(source, inner)
            case(f"{label}: iperf3 TCP from site {source} with offloads ({rate:.0f} Mbit/s)", rate > 100, error)
        rate, error = iperf(1, inner, "-u", "-b", "10M")
        case(f"{label}: iperf3 UDP from site 1 ({rate:.0f} Mbit/s)", rate > 38, error)
    for n in (1, 2):
        state = urds[n].status()
        used = [t["line"] for t in state["tunnels"] if t["uplinkPackets"] and t["downlinkPackets"]]
        case(f"IPv{outer} outer: site {n} used both lines in both directions", used == ["a", "b"], str(state))
        drops = {k: v for k, v in state["counters"].items() if k.startswith("drop.") and v}
        case(f"IPv{outer} outer: site {n} dropped nothing", not drops, str(drops))


JOIN = """
import socket, struct
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
group = socket.inet_pton(socket.AF_INET6, "ff02::abcd")
s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("i", socket.if_nametoindex("dr0")))
"""


def told_neighbours(urds):
    """The kernel reports membership of a group on the tunnel device, now and whenever it likes."""
    before = urds[1].status()["counters"]
    inside("ur1", "/usr/bin/python3", "-c", JOIN)
    try:
        wait_for("the kernel's report",
                 lambda: urds[1].status()["counters"]["ignored.group"] > before["ignored.group"])
    except RuntimeError:
        pass
    now = urds[1].status()["counters"]
    case("what the kernel tells neighbours on the tunnel device is counted apart from what the site loses",
         now["ignored.group"] > before["ignored.group"]
         and now["drop.site_source"] == before["drop.site_source"], str(now))


def no_offload(urds):
    """Lines that cannot split or checksum: the kernel must do it before they see a packet."""
    for n in (1, 2):
        for line in ("linea", "lineb"):
            inside(f"ur{n}", "ethtool", "-K", line, "tx", "off", "tso", "off", "gso", "off", check=False)
    for inner in (4, 6):
        rate, error = iperf(1, inner)
        case(f"IPv{inner}: iperf3 TCP over lines without offloads ({rate:.0f} Mbit/s)", rate > 50, error)
    for n in (1, 2):
        for line in ("linea", "lineb"):
            inside(f"ur{n}", "ethtool", "-K", line, "tx", "on", "tso", "on", "gso", "on", check=False)


def line_down(urds):
    run("ip", "-n", SPACES["ur1"], "link", "set", "lineb", "down")
    wait_for("line b to be unusable", lambda: not urds[1].status()["tunnels"][1]["usable"] and
             not urds[2].status()["tunnels"][1]["usable"])
    case("with line b down every flow takes line a", iperf(1, 4)[0] > 50)
    run("ip", "-n", SPACES["ur1"], "link", "set", "lineb", "up")
    for ends in OUTER.values():  # IPv6 addresses go with the link
        run("ip", "-n", SPACES["ur1"], "addr", "replace", f"{ends['b'][0]}/{ends['b'][2]}", "dev", "lineb")
    wait_for("line b to be usable", lambda: urds[1].status()["tunnels"][1]["usable"] and
             urds[2].status()["tunnels"][1]["usable"])
    case("and back up it is used again", ping(1, 4, 56)[0])


SPOOF = """
import socket, sys
from scapy.all import IP, ICMP, GRE, UDP, Raw, send, conf
conf.verb = 0
a, b = ("192.0.2.1", "192.0.2.2"), ("192.0.2.129", "192.0.2.130")
gre = lambda key, **k: GRE(key_present=1, key=key, proto=0x0800, **k)
good = IP(src="198.51.100.18", dst="203.0.113.10") / ICMP()
send([
    IP(src=a[1], dst=a[0]) / gre(99) / good,
    IP(src=a[1], dst=a[0]) / GRE(proto=0x0800) / good,
    IP(src="192.0.2.9", dst=a[0]) / gre(16777257) / good,
    IP(src=a[1], dst=a[0]) / UDP(sport=50000, dport=4754, chksum=0) / gre(16777257) / good,
    IP(src=a[1], dst=a[0]) / gre(16777257) / IP(src="203.0.113.11", dst="203.0.113.10") / ICMP(),
    IP(src=a[1], dst=a[0]) / gre(16777257) / IP(src="198.51.100.18", dst="8.8.8.8") / ICMP(),
    IP(src=a[1], dst=a[0], tos=3) / gre(16777257) / good,
    IP(src=a[1], dst=a[0], flags="MF") / gre(16777257) / good,
    IP(src=a[1], dst=a[0]) / GRE(key_present=1, key=16777257, proto=0x88b5) / Raw(b"x" * 20),
    IP(src=b[1], dst=b[0]) / UDP(sport=50000, dport=4754, chksum=0xbeef) / gre(33554473) / good,
])
"""
SPOOFED = ("unknown_tunnel", "gre_format", "outer_source", "encap_mismatch", "inner_source",
           "inner_destination", "ecn", "outer_fragment", "keepalive", "udp_checksum")


def default_deny(urds):
    before = urds[1].status()["counters"]
    inside("ur2", "/usr/bin/python3", "-c", SPOOF)
    deltas = {}

    def arrived():
        now = urds[1].status()["counters"]
        deltas.update({k: now["drop." + k] - before["drop." + k] for k in SPOOFED})
        return sum(deltas.values()) >= len(SPOOFED)

    try:
        wait_for("the spoofed packets", arrived, 5)
    except RuntimeError:
        pass
    for name in SPOOFED:
        case(f"a packet that must not get in is counted as drop.{name}", deltas[name] == 1, str(deltas))


def unused_address():
    r = inside("lan2", "ping", "-c", "1", "-W", "2", "203.0.113.14", check=False)
    case("an unused address of the site is answered as unreachable, not sent around",
         "nreachable" in r.stdout, r.stdout)


def start_both(program, folder, outer):
    return {n: Urd(program, folder, n, config(n, outer)) for n in (1, 2)}


def main_walk(program, folder):
    clean = {n: snapshot(f"ur{n}") for n in (1, 2)}
    for outer in (4, 6):
        urds = start_both(program, folder, outer)
        try:
            walk(folder, urds, outer)
            if outer == 4:
                told_neighbours(urds)
                no_offload(urds)
                default_deny(urds)
                line_down(urds)
        finally:
            codes = [u.end() for u in urds.values()]
        case(f"IPv{outer} outer: both urd end with 0 on SIGTERM", codes == [0, 0], str(codes))
        for n in (1, 2):
            left = snapshot(f"ur{n}")
            for what in clean[n]:
                case(f"IPv{outer} outer: ur{n} leaves {what} as they were", left[what] == clean[n][what],
                     f"before {clean[n][what]}\n      after {left[what]}")
    killed(program, folder, clean)


def killed(program, folder, clean):
    first = start_both(program, folder, 4)
    for u in first.values():
        u.end(signal.SIGKILL)
    r = inside("lan1", "ping", "-c", "1", "-W", "1", HOST[2][0], check=False)
    case("while urd is killed the site's packets stay off the lines", "nreachable" in r.stdout, r.stdout)
    second = start_both(program, folder, 4)
    try:
        case("after kill -9 a new urd starts and traffic is back", *ping(1, 4, 56))
    finally:
        for u in second.values():
            u.end()
    for n in (1, 2):
        left, want = snapshot(f"ur{n}"), clean[n]
        # What LAN forwarding was before cannot be known after kill -9.
        differs = [k for k in want if k != "forwarding" and left[k] != want[k]]
        case(f"and leaves nothing of either run on ur{n}", not differs, str([left[k] for k in differs]))


def main():
    parser = argparse.ArgumentParser()
    root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
    built = os.environ.get("DR_BUILD") or os.path.join(root, "build")
    parser.add_argument("--urd", default=os.path.join(built, "ur", "urd"))
    options = parser.parse_args()
    if os.geteuid() != 0:
        print("skip  two urd as each other's peer: needs root")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    if not os.access(options.urd, os.X_OK):
        print(f"ur_pair.py: error: no program {options.urd}; build it, or name it with --urd PATH", file=sys.stderr)
        return 2
    folder = tempfile.mkdtemp(prefix="ur-pair-")
    try:
        build()
        main_walk(os.path.abspath(options.urd), folder)
    except Exception as e:
        case("the test runs to its end", False, f"{type(e).__name__}: {e}")
    finally:
        destroy()
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
