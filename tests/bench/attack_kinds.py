"""The attacks that `scripts/bench attacks` measures.

Each is a context manager of a lab with signalled sites: it goes on until it is left. What it
yields is called afterwards and tells what was done. The attacker has seen, or has, the tunnels,
certificate and router of site-1; the others are bystanders.
"""

import itertools
import json
import random
import resource
import socket
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS.parent / "scripts"), str(TESTS / "netns")]

from attacks import frames as f
from attacks import hostile_dr as h
from attacks import icmp
from attacks import keepalives as k
from attacks import southbound as sb
from attacks import tls
from attacks.flood import Flood
from lablib import topology as t
from lablib.packets import mac
from lablib.programs import SIGNALLING_PORT
from second_ur.router import in_namespace

SITE = t.Site(1)
FRAMES = 4096
KINDS = {}
HALF_OPEN, CLIENTS, WATCHES, TUNNELS = 12_400, 200, 600, 1_000_000
HOSTILE_PORT = SIGNALLING_PORT + 1


def kind(name, what):
    def register(function):
        function.what = what
        KINDS[name] = function
        return function
    return register


@kind("none", "nothing, for comparison")
@contextmanager
def _(_lab):
    yield lambda: ""


# Floods

@contextmanager
def flood(lab, node, device, packets, rate, *, to=("dr", "ix0")):
    ends = mac(lab.net[node], device), mac(lab.net[to[0]], to[1])
    head = f.ethernet(*ends, packets[0])[:14]
    with Flood(lab, node, device, [head + p for p in packets], rate=rate) as running:
        yield lambda: f"{running.rate:,.0f} packets/s"


def key(lab):
    return lab.tunnels()[SITE.name, "a"]["tunnel"]["id"]


def somewhere():
    return f"198.18.{random.randrange(128, 250)}.{random.randrange(1, 250)}"


def random_keepalives(lab, rate):
    tunnel = key(lab)
    packets = [f.in_tunnel(somewhere(), t.DR_IX4, tunnel, f.KEEPALIVE, k.made_up(),
                           source_port=random.randrange(1024, 65536)) for _ in range(FRAMES)]
    return flood(lab, "inet", "ix0", packets, rate)


@kind("keepalives-5000", "keepalives of random bytes for a tunnel's id, 5,000/s")
def _(lab):
    return random_keepalives(lab, 5000)


@kind("keepalives", "the same as fast as one core sends")
def _(lab):
    return random_keepalives(lab, 0)


@kind("known-salt", "keepalives with the UR's address, salt and counter, 5,000/s")
def _(lab):
    up, _down = k.captured(lab)
    return flood(lab, "inet", "ix0", k.known_salt(k.Seen(up[-1]), FRAMES), 5000)


@kind("misplaced", "data with a tunnel's id from elsewhere, as fast as one core sends")
def _(lab):
    tunnel = key(lab)
    inner = f.ip(SITE.lan4, t.INET4, f.UDP, f.udp(5000, 7, bytes(18)))
    packets = [f.in_tunnel(somewhere(), t.DR_IX4, tunnel, f.IPV4, inner,
                           source_port=random.randrange(1024, 65536)) for _ in range(FRAMES)]
    return flood(lab, "inet", "ix0", packets, 0)


@kind("icmp", "ICMP errors of every kind about tunnel packets, 20,000/s")
def _(lab):
    inner = f.ip(t.INET4, SITE.lan4, f.UDP, f.udp(7, 5000, bytes(400)))
    about = f.in_tunnel(t.DR_IX4, SITE.wan4("a")[1], key(lab), f.IPV4, inner)
    packets = icmp.errors4(about, "198.51.100.77", t.DR_IX4, "198.51.100.78")
    return flood(lab, "inet", "ix0", packets, 20_000)


@kind("ttl-1", "packets for a site whose TTL ends at the DR, 5,000/s")
def _(lab):
    packets = [f.ip(t.INET4, SITE.lan4, f.UDP, f.udp(random.randrange(1024, 65536), 7, bytes(64)),
                    ttl=1) for _ in range(FRAMES)]
    return flood(lab, "inet", "eth0", packets, 5000, to=("dr", "up0"))


@kind("scan", "a site's host scans the /64 of the DR's uplink, 2,000 addresses/s")
def _(lab):
    prefix = t.DR_UP6.rpartition("::")[0]
    packets = [f.ip(SITE.lan6, f"{prefix}::{n >> 16:x}:{n & 0xffff:x}:1", f.UDP,
                    f.udp(5000, 7, bytes(16)))
               for n in random.sample(range(1 << 32), FRAMES)]
    return flood(lab, "lan1", "eth0", packets, 2000, to=("ur1", "lan0"))


# Sockets

def inside(lab, function, node="inet"):
    return in_namespace(lab.net[node].name, function)


def connect():
    sock = socket.socket()
    sock.settimeout(10)
    sock.connect((t.DR_IX4, SIGNALLING_PORT))
    return sock


@kind("half-open-tls", f"{HALF_OPEN:,} TLS handshakes at the signalling port, never finished")
@contextmanager
def _(lab):
    raise_descriptors()
    half = inside(lab, lambda: tls.HalfOpen(connect, HALF_OPEN))
    held = []
    try:
        yield lambda: f"{held[0]:,} of {HALF_OPEN:,} open at the end"
        held.append(half.still_open())
    finally:
        half.close()


def raise_descriptors():
    """Also before a lab starts its daemons, which inherit the limit."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(limits[1], HALF_OPEN + 1000)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class Background:
    """`step(number)` again and again, in a thread, until it raises Ended or the attack ends."""

    class Ended(Exception):
        pass

    def __init__(self, step):
        self.ending, self.steps, self.why = threading.Event(), 0, ""
        self.thread = threading.Thread(target=self._run, args=(step,), daemon=True)
        self.thread.start()

    def _run(self, step):
        while not self.ending.is_set():
            try:
                step(self.steps)
            except (OSError, self.Ended) as error:
                self.why = f"; ended by the other side: {error}"
                self.ending.wait(0.1)  # and again
                continue
            self.steps += 1

    def end(self):
        self.ending.set()
        self.thread.join(30)


def http2(lab, make, each):
    """`make(connection)` gives bytes to send, `each` of what is counted; a site's certificate."""
    from attacks import http2 as hostile

    credentials = json.loads((lab.directory / "urd-site-1.json").read_text())
    current = []

    def step(_number):
        try:
            if not current:
                current.append(inside(lab, lambda: hostile.Connection(
                    (t.DR_IX4, SIGNALLING_PORT), credentials)))
            current[0].send(make(current[0], hostile), seconds=2)
        except (hostile.Closed, OSError) as error:
            if current:
                current.pop().close()
            raise Background.Ended(str(error)) from error

    @contextmanager
    def run():
        background = Background(step)
        began = time.monotonic()
        try:
            yield lambda: f"{background.steps * each / took[0]:,.0f}/s{background.why}"
        finally:
            took.append(time.monotonic() - began)
            background.end()
            for one in current:
                one.close()

    took = []
    return run()


@kind("http2-streams", "HTTP/2 streams without end and without hello, by a site's certificate")
def _(lab):
    return http2(lab, lambda peer, _: peer.open_streams(1000), 1000)


@kind("http2-reset", "HTTP/2 streams opened and reset at once, by a site's certificate")
def _(lab):
    return http2(lab, lambda peer, _: peer.reset_streams(500), 500)


@kind("http2-pings", "HTTP/2 pings without end, by a site's certificate")
def _(lab):
    return http2(lab, lambda _, hostile: hostile.frame(hostile.PING, 0, 0, bytes(8)) * 500, 500)


def ended(connection):
    """Reads what the other side has sent; true when it has ended the connection."""
    connection.setblocking(False)
    try:
        while connection.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


@kind("watch-streams", f"{WATCHES} Watch streams on the operators' API, one connection each")
@contextmanager
def _(lab):
    from attacks import http2 as hostile

    raise_descriptors()
    opened = []
    left = []
    try:
        for _number in range(WATCHES):
            peer = hostile.Connection(lab.router.drd_socket, None)
            opened.append(peer)
            stream, frame = peer.open_stream("/dr.v1.Tunnels/Watch")
            peer.send(frame + hostile.frame(hostile.DATA, hostile.END_STREAM, stream, bytes(5)))
        yield lambda: f"{left[0]} open at the end"
    finally:
        left.append(sum(not ended(peer.socket) for peer in opened))
        for peer in opened:
            peer.close()


@kind("api-tunnels", f"a subscriber with {TUNNELS:,} tunnels through the API, again and again")
@contextmanager
def _(lab):
    path = lab.directory / "many.json"
    one = json.dumps({"line": "a", "encapsulation": "GRE_UDP", "local": t.DR_IX4})
    path.write_text('[{"subscriber": {"name": "many", "policy": "a-then-b", "prefixes": [], '
                    f'"tunnels": [{",".join([one] * TUNNELS)}]}}}}]\n')
    answers = []

    def step(_number):
        done = lab.router.drcli("apply", "-f", path, check=False, timeout=120)
        answers.append(len(done.stderr) + len(done.stdout))

    background = Background(step)
    try:
        yield lambda: (f"{background.steps} messages, answers of at most "
                       f"{max(answers, default=0):,} bytes")
    finally:
        background.end()


@kind("southbound-clients", f"{CLIENTS} clients on the data plane's socket, silent or with nonsense")
@contextmanager
def _(lab):
    crowds = []

    def step(_number):
        crowds.append(sb.Crowd(lab.router.dataplane_socket, CLIENTS))
        background.ending.wait(1)
        crowds.pop().close()

    background = Background(step)
    try:
        yield lambda: f"{background.steps} times {CLIENTS} clients{background.why}"
    finally:
        background.end()


@kind("hostile-dr", "a DR that was taken over sends attachments without end to a UR")
@contextmanager
def _(lab):
    state = lab.directory / "urd-site-1-state" / "attachment"
    attachment = state.read_bytes()[32:]
    made = h.certificate(lab.directory, lab.directory / "drd", t.DR_IX4)
    hostile = h.HostileDr(
        inside(lab, lambda: h.listener(t.DR_IX4, HOSTILE_PORT), "dr"), made,
        lambda: (h.attachment_message(attachment, 1000 + n) for n in itertools.count()))
    # Of this UR alone: it knows no other address.
    path = lab.directory / "urd-site-1.json"
    credentials = json.loads(path.read_text())
    credentials["drs"][0]["addresses"] = [f"{t.DR_IX4}:{HOSTILE_PORT}"]
    lab.urds[SITE.name].stop()
    state.unlink()
    path.write_text(json.dumps(credentials))
    lab.start_urd(lab.sites[0])
    try:
        yield lambda: f"{hostile.sent:,} attachments sent"
    finally:
        hostile.close()
