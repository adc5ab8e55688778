#!/usr/bin/python3
"""A site whose certificate is good asks signalling for all that it can: the others notice nothing.

On loopback: drd and a hostile HTTP/2 client over TLS."""

import itertools
import struct
import sys
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from attacks import http2  # noqa: E402
from attacks.daemon import Daemon  # noqa: E402
from attacks.http2 import Closed, Connection  # noqa: E402
from lablib.cases import Cases, expect  # noqa: E402
from lablib.shell import LabError, wait_until  # noqa: E402

cases = Cases()

# Another site attaches, and the operator has an answer, within this, whatever goes on.
SECONDS = 2.0
SITES = 12
# What an attack may cost above what drd had before, and what may stay of it.
MOST_MB = 150
STAYS_MB = 40
SETTINGS = http2.frame(http2.SETTINGS, 0, 0, struct.pack("!HI", 4, 65535))
PING = http2.frame(http2.PING, 0, 0, b"12345678")


def endless_header(peer):
    """A header block that does not end."""
    if peer.next_stream == 1:
        peer.next_stream = 3
        return http2.frame(http2.HEADERS, 0, 1, peer.headers())
    return http2.frame(http2.CONTINUATION, 0, 1,
                       http2.literal(0, b"x-b", b"v" * 16000, False))


def slow_body(peer):
    """A message of 60 KB that comes byte by byte."""
    if peer.next_stream == 1:
        stream, opened = peer.open_stream()
        return opened + http2.frame(http2.DATA, 0, stream, b"\0\0\0\xf0\0")
    time.sleep(0.02)
    return http2.frame(http2.DATA, 0, 1, b"x")


def attack(daemon, make, seconds, connections=1):
    """Runs an attack of site-2 for `seconds`, on that many connections at a time, each anew when
    drd has ended it; meanwhile other sites attach again and again and the operator asks. Returns the
    longest times of both, and what it cost."""
    context = http2.tls(daemon.credentials["site-2"])
    # Several, since none of them connects as often as it is tried here.
    honest = itertools.cycle([http2.tls(daemon.credentials[f"site-{n}"]) for n in range(3, SITES)])
    over = threading.Event()

    def run():
        while not over.is_set():
            try:
                with Connection(daemon.address, None, context=context) as peer:
                    while not over.is_set():
                        peer.send(make(peer), seconds=1.0)
            except (OSError, Closed):
                over.wait(0.02)

    daemon.forget_peak()
    before = daemon.cost()
    threads = [threading.Thread(target=run) for _ in range(connections)]
    for thread in threads:
        thread.start()
    attached, asked = 0.0, 0.0
    try:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                took, peer = http2.attach(daemon.address, None, context=next(honest))
            except Closed as why:
                raise LabError(f"another site cannot attach: {why}; drd has "
                               f"{daemon.cost().peak_mb} MB") from why
            peer.close()
            attached = max(attached, took)
            asked = max(asked, daemon.drcli_seconds())
            time.sleep(0.2)  # between two attachments, as a UR
    finally:
        over.set()
        for thread in threads:
            thread.join()
    return before, attached, asked, daemon.cost()


def judge(daemon, make, seconds=1.5, connections=1):
    before, attached, asked, after = attack(daemon, make, seconds, connections)
    note = (f"attach {attached:.2f} s, drcli {asked:.2f} s, RSS {before.rss_mb} -> "
            f"{after.peak_mb} MB at most, {after.fds} descriptors, "
            f"{after.cpu_since(before):.0f} % of a core")
    expect(attached < SECONDS and asked < SECONDS and after.peak_mb < before.rss_mb + MOST_MB, note)
    wait_until(lambda: daemon.cost().rss_mb < before.rss_mb + STAYS_MB,
               f"memory given back: {note}", seconds=15, interval=0.2)
    return note


@cases.case("streams without a hello, thousands on a connection")
def _(daemon):
    note = judge(daemon, lambda peer: peer.open_streams(3000))
    expect('the certificate of "site-2" begins too many streams' in daemon.log(), daemon.log())
    return note


@cases.case("streams that are reset at once")
def _(daemon):
    return judge(daemon, lambda peer: peer.reset_streams(2000))


@cases.case("streams of methods that there are not, reflection among them")
def _(daemon):
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    before = daemon.cost()
    note = judge(daemon, lambda peer: peer.open_streams(200, path))
    expect(daemon.cost().threads < before.threads + 50, f"{daemon.cost().threads} threads")
    return note


@cases.case("pings, and settings")
def _(daemon):
    return judge(daemon, lambda peer: (PING + SETTINGS) * 500)


@cases.case("headers of 16 KB, and headers without end")
def _(daemon):
    big = http2.literal(0, b"x-a", b"v" * 15000, False)
    first = judge(daemon, lambda peer: peer.open_stream(more=big)[1], seconds=0.8)
    return first + "\n" + judge(daemon, endless_header, seconds=0.8)


@cases.case("twelve connections at a time, each with thousands of streams")
def _(daemon):
    return judge(daemon, lambda peer: peer.open_streams(3000), connections=12)


@cases.case("bodies that come byte by byte, on twelve connections")
def _(daemon):
    return judge(daemon, slow_body, connections=12)


def main():
    return cases.run(lambda: Daemon(sites=SITES), lambda daemon: daemon.log()[-2000:])


if __name__ == "__main__":
    sys.exit(main())
