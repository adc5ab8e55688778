#!/usr/bin/python3
"""One client of the operators' API takes all that it can: every other drcli has its answer.

On loopback: drd, drcli, and HTTP/2 clients by hand that withhold messages, take no answer, and
acknowledge no settings."""

import os
import struct
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from attacks import http2
from attacks.daemon import Daemon
from attacks.http2 import Closed, Connection
from lablib.cases import Cases, expect
from lablib.shell import wait_until

cases = Cases()

EXHAUSTED = 8
SECONDS = 2.0  # an operator has an answer within this, whatever goes on
MOST_MB = 500  # what a crowd may cost above what drd had before
NO_WINDOW = http2.frame(http2.SETTINGS, 0, 0, struct.pack("!HI", 4, 0))
EMPTY = bytes(5)  # a gRPC message
NOBODY = 65534  # another user than the one who runs the tests


def unix(daemon, acknowledge=False):
    return Connection(daemon.directory / "drd.sock", None, acknowledge=acknowledge)


def asked(daemon, seconds):
    """Asks as an operator, again and again: the longest time. Raises when there is no answer."""
    longest, until = 0.0, time.monotonic() + seconds
    while time.monotonic() < until:
        for words in (("policy", "list"), ("system", "status"), ("subscriber", "get", "site-1")):
            longest = max(longest, daemon.drcli_seconds(*words))
    return longest


def judge(daemon, seconds=4.0):
    longest = asked(daemon, seconds)
    cost = daemon.cost()
    note = f"drcli {longest:.2f} s, {cost.threads} threads, {cost.rss_mb} MB"
    expect(longest < SECONDS, note)
    return note


def calls(peer, path, count, message=EMPTY):
    """So many calls; without `message` they stay without one."""
    for _ in range(count):
        stream, opened = peer.open_stream(path)
        data = http2.frame(http2.DATA, http2.END_STREAM, stream, message) if message else b""
        peer.send(opened + data)


@cases.case("700 calls whose answers nobody takes leave every drcli its answer")
def _(daemon):
    with ExitStack() as stack:
        for _ in range(7):
            peer = stack.enter_context(unix(daemon))
            peer.send(NO_WINDOW)
            calls(peer, "/dr.v1.Policies/List", 100)
        return judge(daemon)


@cases.case("700 calls that never send their message, and streams that say nothing, do too")
def _(daemon):
    with ExitStack() as stack:
        for path in ("/dr.v1.Policies/List", "/dr.v1.Resources/Apply", "/dr.v1.Tunnels/Watch",
                     "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                     "/grpc.health.v1.Health/Watch"):
            for _ in range(7):
                calls(stack.enter_context(unix(daemon)), path, 100, b"")
        note = judge(daemon)
        with unix(daemon, acknowledge=True) as watcher:
            # A thread of gRPC's is left for who comes now.
            stream, opened = watcher.open_stream("/dr.v1.System/WatchCounters")
            watcher.send(opened + watcher.say(stream, b"", http2.END_STREAM))
            for kind, _, of, payload in watcher.frames(0.5):
                expect(of != stream or b"Threadpool" not in payload, f"{kind}: {payload!r}")
        return note


def open_many(peer, seconds):
    """25,000 streams, or as many as drd reads."""
    for _ in range(25):
        try:
            peer.send(peer.open_streams(1000, "/dr.v1.Policies/List"), seconds=seconds)
        except Closed:
            return


@cases.case("100,000 streams on 4 connections that acknowledge no settings cost little memory")
def _(daemon):
    before = daemon.cost()
    daemon.forget_peak()
    with ExitStack() as stack:
        for number in range(4):
            peer = stack.enter_context(unix(daemon))
            if number % 2:
                open_many(peer, 2)  # and reads nothing
                continue
            reader = threading.Thread(target=lambda peer=peer: [None for _ in peer.frames(60)])
            reader.start()
            stack.callback(reader.join)
            stack.callback(lambda peer=peer: peer.socket.shutdown(2))
            open_many(peer, 30)
        note = judge(daemon, 1.0)
        peak = daemon.cost().peak_mb
    expect(peak < before.rss_mb + MOST_MB, f"{before.rss_mb} -> {peak} MB at most; {note}")
    return f"{before.rss_mb} -> {peak} MB at most; {note}"


@cases.case("a peer is told how many streams it may have, and has as many")
def _(daemon):
    with unix(daemon, acknowledge=True) as peer:
        stream, opened = peer.open_stream("/dr.v1.Policies/List")
        peer.send(opened + peer.say(stream, b"", http2.END_STREAM))
        said = [payload for kind, flags, _, payload in peer.frames(1.0)
                if kind == http2.SETTINGS and not flags & http2.ACK]
    values = {n: v for n, v in struct.iter_unpack("!HI", said[0])}
    expect(values.get(3) == 100, f"settings: {values}")


@cases.case("of a user who opens 300 connections the oldest ones go, and drcli is let in")
def _(daemon):
    with ExitStack() as stack:
        peers = [stack.enter_context(unix(daemon)) for _ in range(300)]
        note = judge(daemon, 1.0)
        expect(peers[0].ended(5), "the first connection is still open")
        expect(daemon.cost().fds < 200, f"{daemon.cost().fds} descriptors")
        return note


WATCH = """
import sys
sys.path[:0] = sys.argv[1:3]
from attacks import http2
from attacks.http2 import Connection
import os
os.setgid({user}); os.setuid({user})
peers = []
for _ in range(12):
    peer = Connection(sys.argv[3], None, acknowledge=True)
    for _ in range(32):
        stream, opened = peer.open_stream("/dr.v1.Subscribers/Watch")
        peer.send(opened + peer.say(stream, b"", http2.END_STREAM))
    peers.append(peer)
print("ready", flush=True)
sys.stdin.read()
"""


@cases.case("one user's watches leave places for another user's")
def _(daemon):
    here = Path(__file__).resolve()
    os.chmod(daemon.directory, 0o755)
    os.chmod(daemon.directory / "drd.sock", 0o666)
    crowd = subprocess.Popen([sys.executable, "-c", WATCH.format(user=NOBODY),
                              here.parents[2] / "scripts", here.parent,
                              daemon.directory / "drd.sock"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        expect(crowd.stdout.readline() == "ready\n", "the crowd does not come")

        def refused():
            with unix(daemon, acknowledge=True) as peer:
                stream, opened = peer.open_stream("/dr.v1.Subscribers/Watch")
                peer.send(opened + peer.say(stream, b"", http2.END_STREAM))
                # One that is served answers, and goes on.
                return not any(of == stream and kind == http2.DATA
                               for kind, _, of, _ in peer.frames(1.0))
        wait_until(lambda: not refused(), "a watch of another user", seconds=10)
        expect(not refused(), "a watch of another user is refused")
    finally:
        crowd.stdin.close()
        crowd.wait(timeout=10)
        crowd.stdout.close()


def main():
    return cases.run(lambda: Daemon(sites=2), lambda daemon: daemon.log()[-2000:])


if __name__ == "__main__":
    sys.exit(main())
