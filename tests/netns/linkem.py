#!/usr/bin/python3
"""The link emulator, each impairment measured end to end with real packets.

    left 192.0.2.1 ── a  linkem  b ── right 192.0.2.2        "ab" is from left to right
"""

import ctypes
import os
import select
import socket
import struct
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib.cases import Cases, Skip, expect
from lablib.lab import may_use_namespaces, temporary_lab
from lablib.linkem import LinkEmulator
from lablib.netns import Namespace
from lablib.programs import Programs
from lablib.shell import LabError, run
from lablib.traffic import FileServer, download

cases = Cases()
LEFT, RIGHT, PUBLIC, PUBLIC2 = "192.0.2.1", "192.0.2.2", "192.0.2.77", "192.0.2.78"
LEFT6, RIGHT6 = "2001:db8::1", "2001:db8::2"
PORT = 4754
# asm-generic/socket.h; Python does not name them.
SO_NO_CHECK, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 11, 33, 35
CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def enter(namespace_fd):
    if libc.setns(namespace_fd, CLONE_NEWNET) != 0:
        raise LabError(f"setns: {os.strerror(ctypes.get_errno())}")


class Pair:
    """Two namespaces and the emulator between them."""

    def __init__(self, folder, name):
        self.folder = Path(folder)
        self.left, self.right = Namespace(f"{name}-left"), Namespace(f"{name}-right")
        self.line = LinkEmulator("pair", self.left, "eth0", self.right, "eth0", directory=folder)
        self.sockets = []

    def create(self):
        for namespace in (self.left, self.right):
            namespace.create()
        self.line.create_cables()
        self.left.addresses("eth0", f"{LEFT}/24", f"{LEFT6}/64")
        self.right.addresses("eth0", f"{RIGHT}/24", f"{RIGHT6}/64")
        for address in (PUBLIC, PUBLIC2):
            self.left.route(f"{address}/32", RIGHT)
        self.line.start()

    def close(self):
        self.forget_sockets()
        self.line.close()
        for namespace in (self.left, self.right):
            if namespace.exists():
                namespace.delete()

    def forget_sockets(self):
        for one in self.sockets:
            one.close()
        self.sockets = []

    def socket(self, namespace, address, port=0, kind=socket.SOCK_DGRAM, protocol=0):
        """A socket of this process inside a namespace, gone with the case."""
        home = os.open("/proc/self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{namespace.name}", os.O_RDONLY)
        try:
            enter(there)
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            one = socket.socket(family, kind, protocol)
        finally:
            enter(home)
            os.close(home)
            os.close(there)
        self.sockets.append(one)
        one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        one.bind((address, port))
        return one

    def flow(self, direction, count, interval=0.001, size=100, seed=None):
        """Probes over UDP; [(number, delay in ms)] in the order of their arrival."""
        ends = [(self.left, LEFT), (self.right, RIGHT)]
        (source, from_), (sink, to) = ends if direction == "ab" else reversed(ends)
        sender, receiver = self.socket(source, from_), self.socket(sink, to)
        receiver.setblocking(False)
        receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if seed is not None:
            self.line.reseed(seed)
        arrived, begin = [], time.monotonic()
        for number in range(count):
            take(receiver, arrived, begin + number * interval)
            sender.sendto(struct.pack("!IQ", number, time.time_ns()).ljust(size, b"."),
                          receiver.getsockname())
        while self.line.counters()[direction]["in_flight"]:
            take(receiver, arrived, time.monotonic() + 0.005)
        take(receiver, arrived, time.monotonic() + 0.02)
        return arrived


def take(receiver, arrived, until):
    """Receives probes until a point in time.

    The kernel stamps them when they come, on the clock of time.time_ns(): this process may be busy.
    """
    while True:
        left = until - time.monotonic()
        if not select.select([receiver], [], [], max(left, 0))[0]:
            if left <= 0:
                return
            continue
        data, ((_, _, stamp),), _, _ = receiver.recvmsg(2048, 64)
        seconds, rest = struct.unpack("qq", stamp)
        now = seconds * 1_000_000_000 + rest
        number, sent = struct.unpack("!IQ", data[:12])
        arrived.append((number, (now - sent) / 1e6))


@contextmanager
def pair():
    why = may_use_namespaces()
    if why:
        raise Skip(why)
    if not Programs().linkem.exists():
        raise LabError(f"not built: {Programs().linkem}; run scripts/build")
    with tempfile.TemporaryDirectory(prefix="linkem-test.") as folder:
        both = Pair(folder, f"lemt-{os.urandom(3).hex()}")
        try:
            both.create()
            yield both
        finally:
            both.close()


def case(sentence):
    """As cases.case, with every impairment, NAT and socket of the case gone after it."""
    def register(function):
        def fresh(both):
            try:
                return function(both)
            finally:
                both.line.clear()
                both.line.nat()
                both.forget_sockets()
        return cases.case(sentence)(fresh)
    return register


def delays(arrived):
    return sorted(delay for _, delay in arrived)


def quantile(ordered, q):
    return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


def near(value, expected, tolerance, what):
    expect(abs(value - expected) <= tolerance, f"{what} is {value:.2f}, not {expected} ± {tolerance}")


def overtaken(arrived):
    numbers = [number for number, _ in arrived]
    return sum(x > y for x, y in zip(numbers, numbers[1:]))


def change(line, direction, before, counter):
    return line.counters()[direction][counter] - before[direction][counter]


@case("without impairments ping passes in IPv4 and IPv6, and nothing is dropped")
def _(both):
    for address in (RIGHT, RIGHT6):
        both.left.run(["ping", "-n", "-c", 3, "-i", "0.05", "-W", 2, address])
    counters = both.line.settled()
    for direction in ("ab", "ba"):
        drops = {k: v for k, v in counters[direction].items() if k.startswith("drop_") and v}
        expect(not drops, f"{direction}: {drops}")
        expect(counters[direction]["sent"] == counters[direction]["received"], f"{counters}")


@case("a fixed delay delays one direction by itself, and never less")
def _(both):
    both.line.set("ab", delay=20)
    there, back = delays(both.flow("ab", 300)), delays(both.flow("ba", 300))
    expect(len(there) == len(back) == 300, f"{len(there)} and {len(back)} of 300 arrived")
    expect(there[0] >= 20, f"one took only {there[0]:.3f} ms")
    near(quantile(there, 0.5), 21, 1, "the median delay")
    near(quantile(back, 0.5), 1, 1, "the median delay of the other direction")
    return f"medians {quantile(there, 0.5):.2f} and {quantile(back, 0.5):.2f} ms"


def distribution_case(words, delay, points, jitter=None):
    @case(f"delays are {words}")
    def _(both):
        wish = dict(delay)
        if wish["kind"] == "trace":
            wish["file"] = str(both.folder / "trace.txt")
            Path(wish["file"]).write_text("# ms\n5\n10\n40\n")
        both.line.set("ab", delay=wish, jitter_ms=jitter, keep_order=False)
        got = delays(both.flow("ab", 2000, interval=0.0005))
        expect(len(got) == 2000, f"{len(got)} of 2000 arrived")
        for q, expected, tolerance in points:
            near(quantile(got, q), expected, tolerance, f"quantile {q}")
        return ", ".join(f"q{q} {quantile(got, q):.1f}" for q, _, _ in points) + " ms"


distribution_case("uniform from 10 to 30 ms", {"kind": "uniform", "min_ms": 10, "max_ms": 30},
                  [(0.25, 15.5, 2), (0.5, 20.5, 2), (0.75, 25.5, 2)])
distribution_case("normal, 40 ± 5 ms", {"kind": "normal", "mean_ms": 40, "sigma_ms": 5},
                  [(0.16, 35.5, 1.5), (0.5, 40.5, 1.5), (0.84, 45.5, 1.5)])
distribution_case("lognormal with median 20 and 90th percentile 100 ms, capped at 200",
                  {"kind": "lognormal", "median_ms": 20, "sigma": 1.256, "cap_ms": 200},
                  [(0.5, 21, 3), (0.9, 101, 18), (0.999, 200.5, 3)])
distribution_case("fixed with a jitter of ± 4 ms", {"kind": "fixed", "ms": 20},
                  [(0.25, 18.5, 1), (0.5, 20.5, 1), (0.75, 22.5, 1)], jitter=4)
distribution_case("replayed from a trace", {"kind": "trace"},
                  [(0.16, 5.5, 1), (0.5, 10.5, 1), (0.84, 40.5, 1)])


@case("jitter alone does not reorder, and does when it may")
def _(both):
    both.line.set("ab", delay=20, jitter_ms=10)
    expect(overtaken(both.flow("ab", 500)) == 0, "packets overtook each other")
    both.line.set("ab", keep_order=False)
    expect(overtaken(both.flow("ab", 500)) > 50, "none overtook another")


@case("reordering holds back the share of packets that was asked for")
def _(both):
    both.line.set("ab", reorder={"probability": 0.1, "hold_ms": 5})
    arrived = both.flow("ab", 1000)
    held = both.line.counters()["ab"]["reordered"]
    expect(len(arrived) == 1000, f"{len(arrived)} of 1000 arrived")
    near(held, 100, 35, "the number held back")
    expect(overtaken(arrived) > held / 2, f"{overtaken(arrived)} overtakings of {held} held back")


@case("independent loss of 20 % loses that share, and the same packets with the same seed")
def _(both):
    both.line.set("ab", loss=0.2)
    first = {n for n, _ in both.flow("ab", 1000, interval=0.0005, seed=42)}
    again = {n for n, _ in both.flow("ab", 1000, interval=0.0005, seed=42)}
    other = {n for n, _ in both.flow("ab", 1000, interval=0.0005, seed=43)}
    near(1000 - len(first), 200, 45, "the number lost")
    expect(first == again, f"{len(first ^ again)} packets fared otherwise")
    expect(first != other, "another seed lost the same")


@case("Gilbert-Elliott loss loses in bursts")
def _(both):
    both.line.set("ab", gilbert_elliott={"enter": 0.02, "leave": 0.2})
    got = {n for n, _ in both.flow("ab", 3000, interval=0.0004)}
    lost = [n for n in range(3000) if n not in got]
    bursts = sum(n - 1 not in lost for n in lost)
    near(len(lost), 273, 120, "the number lost")
    near(len(lost) / bursts, 5, 1.7, "the mean burst")


@case("a rate of 1 Mbit/s spaces packets, and drops those that find its queue full")
def _(both):
    before = both.line.counters()
    both.line.set("ab", rate={"bit_s": 1_000_000, "queue_bytes": 31_260})
    arrived = both.flow("ab", 100, interval=0, size=1000)  # frames of 1042 bytes: 30 fit
    dropped = change(both.line, "ab", before, "drop_queue")
    expect(len(arrived) + dropped == 100, f"{len(arrived)} arrived, {dropped} dropped")
    expect(30 <= len(arrived) <= 36, f"{len(arrived)} arrived")
    got = delays(arrived)
    near(got[-1], 30 * 8.336, 8, "the delay of the last in ms")  # ms of one frame at 1 Mbit/s


@case("an MTU hole with ICMP names its MTU to the sender, and splits what may be split")
def _(both):
    both.line.set("ab", mtu={"bytes": 1400})
    for address, header in ((RIGHT, 28), (RIGHT6, 48)):
        options = ["-n", "-c", 1, "-W", 1, "-M", "do"]
        big = both.left.run(["ping", *options, "-s", 1401 - header, address], check=False)
        expect("1400" in big.stdout, f"the ping shows no MTU:\n{big.stdout}")
        both.left.run(["ping", *options, "-s", 1400 - header, address])
        both.left.run(["ip", "route", "flush", "cache"])
        both.left.run(["ip", "-6", "route", "flush", "cache"])
    both.left.run(["ping", "-n", "-c", 1, "-W", 1, "-M", "dont", "-s", 1472, RIGHT])
    expect(both.line.counters()["ab"]["fragmented"] >= 1, "nothing was split")


@case("a silent MTU hole swallows what is longer, and passes the rest")
def _(both):
    both.line.set("ab", mtu={"bytes": 1400, "icmp": False})
    small = both.flow("ab", 20, size=1372)
    big = both.flow("ab", 20, size=1373)
    expect((len(small), len(big)) == (20, 0), f"{len(small)} and {len(big)} of 20 arrived")


@case("a one-way cut takes one direction, and only while it lasts")
def _(both):
    both.line.set("ab", cut=True)
    there, back = both.flow("ab", 50), both.flow("ba", 50)
    expect((len(there), len(back)) == (0, 50), f"{len(there)} and {len(back)} of 50 arrived")
    both.line.set("ab", cut=False)
    expect(len(both.flow("ab", 50)) == 50, "the cut did not end")


@case("duplication sends the share of packets twice")
def _(both):
    both.line.set("ab", duplicate=0.25)
    arrived = [n for n, _ in both.flow("ab", 1000, interval=0.0005)]
    twice = len(arrived) - len(set(arrived))
    expect(len(set(arrived)) == 1000, "some did not arrive")
    near(twice, 250, 60, "the number of duplicates")


def gre(protocol_type):
    return struct.pack("!HHI", 0x2000, protocol_type, 0x01000001) + b"tunnel"


def native(both, wish):
    """How many of 10 keepalives and 10 data packets arrive in native GRE."""
    both.line.set("ab", black_hole=wish)
    sender = both.socket(both.left, LEFT, kind=socket.SOCK_RAW, protocol=47)
    receiver = both.socket(both.right, RIGHT, kind=socket.SOCK_RAW, protocol=47)
    return count_kinds(both, lambda data: sender.sendto(data, (RIGHT, 0)), receiver, 20)


def in_udp(both, wish):
    both.line.set("ab", black_hole=wish)
    sender, receiver = both.socket(both.left, LEFT), both.socket(both.right, RIGHT, PORT)
    counts = count_kinds(both, lambda data: sender.sendto(data, (RIGHT, PORT)), receiver, 0)
    both.forget_sockets()
    return counts


def count_kinds(both, send, receiver, skip):
    for _ in range(10):
        send(gre(0x88B5))
        send(gre(0x0800))
    both.line.settled()
    counts = {0x88B5: 0, 0x0800: 0}
    while select.select([receiver], [], [], 0.05)[0]:
        counts[struct.unpack("!H", receiver.recv(2048)[skip + 2:skip + 4])[0]] += 1
    return counts[0x88B5], counts[0x0800]


@case("a black hole takes only keepalives, or only data, in native GRE and in GRE-in-UDP")
def _(both):
    for way in (native, in_udp):
        for wish, expected in ((None, (10, 10)), ("keepalives", (0, 10)), ("data", (10, 0))):
            got = way(both, wish)
            expect(got == expected, f"{way.__name__}, {wish}: {got} arrived, not {expected}")


def exchange(both, inner, outer):
    """One datagram out through the NAT and an answer back; the address that the left saw."""
    inner.sendto(b"out", (LEFT, PORT))
    data, seen = outer.recvfrom(100)
    expect(data == b"out", f"the left got {data}")
    outer.sendto(b"back", seen)
    data, source = inner.recvfrom(100)
    expect((data, source) == (b"back", (LEFT, PORT)), f"the right got {data} from {source}")
    return seen


def nat_case(words, checksum):
    @case(f"a NAT maps UDP ports and addresses {words}, and a rebinding moves them while it runs")
    def _(both):
        both.line.nat({"inside": RIGHT, "outside": PUBLIC, "first_port": 20000})
        inner = both.socket(both.right, RIGHT, PORT)
        outer = both.socket(both.left, LEFT, PORT)
        for one in (inner, outer):
            one.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, int(not checksum))
            one.settimeout(2)
        seen = exchange(both, inner, outer)
        expect(seen == (PUBLIC, 20000), f"the left saw {seen}")
        both.line.rebind(outside=PUBLIC2, first_port=31000)
        before = both.line.counters()
        outer.sendto(b"late", seen)
        both.line.settled()
        expect(change(both.line, "ab", before, "drop_nat_unmapped") == 1,
               "what went to the old mapping was not dropped")
        seen = exchange(both, inner, outer)
        expect(seen == (PUBLIC2, 31000), f"after the rebinding the left saw {seen}")


nat_case("of packets with checksums", True)
nat_case("of packets with checksum zero", False)


@case("a NAT translates native GRE by address, or refuses it")
def _(both):
    both.line.nat({"inside": RIGHT, "outside": PUBLIC})
    inner = both.socket(both.right, RIGHT, kind=socket.SOCK_RAW, protocol=47)
    outer = both.socket(both.left, LEFT, kind=socket.SOCK_RAW, protocol=47)
    for one in (inner, outer):
        one.settimeout(2)
    inner.sendto(gre(0x0800), (LEFT, 0))
    _, (source, _) = outer.recvfrom(2048)
    expect(source == PUBLIC, f"the left saw {source}")
    outer.sendto(gre(0x0800), (PUBLIC, 0))
    expect(inner.recv(2048)[20:] == gre(0x0800), "the answer came back changed")
    both.line.nat({"inside": RIGHT, "outside": PUBLIC, "gre": False})
    before = both.line.counters()
    inner.sendto(gre(0x0800), (LEFT, 0))
    both.line.settled()
    expect(change(both.line, "ba", before, "drop_nat_refused") == 1, "it was not refused")


@case("a command that is wrong is refused with words, and the link goes on")
def _(both):
    try:
        both.line.set("ab", loss=2)
    except LabError as error:
        expect("loss" in str(error), f"the error is {error}")
    else:
        raise LabError("it was accepted")
    expect(len(both.flow("ab", 10)) == 10, "the link does not pass packets")


def remains(line):
    """What a closed emulator must not leave."""
    pids = run(["pgrep", "-f", str(line.socket_path)], check=False).stdout.split()
    return {"namespace": line.namespace.exists(), "socket": line.socket_path.exists(),
            "processes": bool(pids)}


@case("an emulator that ends, or that could not start, leaves nothing behind")
def _(both):
    for options in ((), ("--frames", "none")):
        line = LinkEmulator("other", both.left, "eth1", both.right, "eth1",
                            directory=both.folder, options=options)
        failed = False
        try:
            with line:
                expect(line.socket_path.exists(), "no socket while it runs")
        except LabError as error:
            failed = True
            expect(options and "--frames" in str(error), f"it did not start: {error}")
        expect(failed == bool(options), "a wrong option was accepted")
        left = remains(line)
        expect(not any(left.values()), f"{options}: {left}")


@case("a lab whose lines pass through emulators carries traffic, and shows a line's impairments")
def _(_):
    Programs().require()
    with temporary_lab(emulated=True) as lab:
        site = lab.sites[0]
        for node, address in (("lan1", t.INET4), ("inet", site.lan6)):
            lab.ping(node, address, count=3)
        server = FileServer(lab, "inet")
        for _ in range(8):
            download(lab, "lan1", server, t.INET4)
        for line in ("a", "b"):
            counters = lab.line(line).counters()
            for direction in ("ab", "ba"):
                expect(counters[direction]["sent"] > 100, f"line {line} {direction}: {counters}")
                expect(not counters[direction]["drop_offload"], f"line {line}: {counters}")
        before = {line: lab.line(line).counters() for line in ("a", "b")}
        for line in ("a", "b"):
            lab.line(line).set("ab", black_hole="data")
        done = lab.ping("lan1", t.INET4, "-W", "0.3", count=3, check=False)
        expect(done.returncode != 0, "data passed two black holes")
        dropped = sum(change(lab.line(line), "ab", before[line], "drop_data") for line in "ab")
        expect(dropped == 3, f"{dropped} of 3 were dropped as data")


if __name__ == "__main__":
    sys.exit(cases.run(pair))
