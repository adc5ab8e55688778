#!/usr/bin/python3
"""A site whose certificate is good asks signalling for all that it can: the others notice nothing.

On loopback: drd and a hostile HTTP/2 client over TLS."""

import itertools
import json
import re
import struct
import sys
import threading
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from attacks import http2
from attacks.daemon import Daemon
from attacks.http2 import Closed, Connection, varint
from lablib.cases import Cases, expect
from lablib.shell import LabError, wait_until

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


def revoked(daemon, name):
    """A certificate of the site that is revoked; the site has another one, which is good."""
    old = daemon.credentials[name]
    daemon.drcli("subscriber", "revoke", name)
    daemon.credentials[name] = json.loads(daemon.drcli("subscriber", "enroll", name).stdout)
    return old


def refusal(daemon, credentials):
    """What drd answers to a site that may not attach."""
    try:
        http2.attach(daemon.address, credentials)[1].close()
    except Closed as why:
        return str(why)
    raise LabError("it is attached")


@cases.case("a certificate that is revoked is refused with the reason, and that is no attachment")
def _(daemon):
    why = refusal(daemon, revoked(daemon, "site-1"))
    expect("refused: " in why and "is revoked or was not issued here" in why, why)
    http2.attach(daemon.address, daemon.credentials["site-1"])[1].close()


@cases.case("a flood with a revoked certificate ends no connection of the site's good one")
def _(daemon):
    old = http2.tls(revoked(daemon, "site-1"))
    _, good = http2.attach(daemon.address, daemon.credentials["site-1"])
    told = 'the certificate of "site-1" begins too many streams'
    with good:
        def flood():
            try:
                with Connection(daemon.address, None, context=old) as peer:
                    peer.send(peer.open_streams(14))
                    return peer.ended(2)
            except (OSError, Closed):
                return True

        ended = 0
        until = time.monotonic() + 8
        while time.monotonic() < until:
            ended += flood()
            expect(not good.ended(0.5), "the good router's connection is ended")
        expect(ended >= 3 and told in daemon.log(), f"{ended} floods ended: {daemon.log()}")
        # The stream is still the site's: a change reaches it.
        attached = json.loads(daemon.drcli("-o", "json", "subscriber", "attachments").stdout)
        expect("site-1" in json.dumps(attached), f"{attached}")
    return f"{ended} floods ended, the good router's connection stands"


def declining(number):
    """A UrMessage that declines an attachment, in words that look like drd's own."""
    text = b"%06d\" drd: error: port ix0 is stalled " % number * 25
    return http2.field(4, varint(1 << 3) + varint(number) + http2.field(2, text))


def decline_much(daemon, credentials, seconds):
    """Attaches again and again, and declines as much as the stream takes. How many streams."""
    context, streams, number = http2.tls(credentials), 0, 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with Connection(daemon.address, None, context=context, acknowledge=True) as peer:
                while time.monotonic() < until:
                    stream, opened = peer.open_stream()
                    peer.send(opened + peer.say(stream, http2.hello(("a",))))
                    for _ in range(30):
                        number += 1
                        peer.send(peer.say(stream, declining(number)))
                    streams += 1
                    for _ in peer.frames(0.5):
                        pass
        except (OSError, Closed):
            time.sleep(0.2)
    return streams


@cases.case("what a router declines, a thousand times and in its own words, is a few lines of the log "
            "that cannot pass for drd's; of a revoked one nothing is logged")
def _(daemon):
    before = len(daemon.log())
    streams = decline_much(daemon, daemon.credentials["site-1"], 5)
    lines = daemon.log()[before:].splitlines()
    of_router = [line for line in lines if "declines generation" in line]
    expect(1 <= len(of_router) <= 6, f"{len(of_router)} lines of {streams} streams")
    expect(all(re.fullmatch(r'drd: the router of subscriber "site-1" declines generation \d+, and says '
                            r'"[^"]*"( \(\d+ like this were not logged\))?', line)
               for line in of_router), f"{of_router}")
    more = len(daemon.log()) - before
    before = len(daemon.log())
    old = revoked(daemon, "site-1")
    refused = decline_much(daemon, old, 3)
    lines = [line for line in daemon.log()[before:].splitlines() if "declines" in line]
    expect(not lines and refused >= 3, f"{refused} streams: {lines}")
    return f"{more} bytes of log for {streams} streams"


def main():
    return cases.run(lambda: Daemon(sites=SITES), lambda daemon: daemon.log()[-2000:])


if __name__ == "__main__":
    sys.exit(main())
