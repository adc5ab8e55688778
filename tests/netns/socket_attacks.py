#!/usr/bin/python3
"""What somebody does to the sockets that the daemons listen on: signalling's TLS, the data plane's.

With DR_ATTACK_CONNECTIONS=N so many handshakes are begun and not finished.
"""

import json
import os
import resource
import socket
import ssl
import sys
import time
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "scripts"),
                str(Path(__file__).resolve().parent)]

from attacks import southbound as sb
from attacks import tls
from attacks.witness import Undisturbed
from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.probe import four_probes, lost_nothing
from lablib.programs import SIGNALLING_PORT, signalled_resources
from lablib.shell import wait_until
from second_ur.router import in_namespace

cases = Cases()
CONNECTIONS = int(os.environ.get("DR_ATTACK_CONNECTIONS", 2500))
CLIENTS = 200
SPARE = 100  # descriptors of this process itself


@contextmanager
def attached_lab():
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(limits[1], CONNECTIONS + SPARE)
    # Before drd starts: it inherits the limit.
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with temporary_lab(sites=2, signalled={"wait_to_restore": 5}) as lab:
        for site in (1, 2):
            ur.wait_up(lab, site=site)
        yield lab


def connect(source=""):
    sock = socket.socket()
    sock.settimeout(10)
    sock.bind((source, 0))
    sock.connect((t.DR_IX4, SIGNALLING_PORT))
    return sock


def inside(lab, function, node="inet"):
    return in_namespace(lab.net[node].name, function)


def credentials(lab, site=1):
    return json.loads((lab.directory / f"urd-site-{site}.json").read_text())


@cases.case("signalling refuses TLS 1.0, 1.1 and 1.2 to a site's own certificate, and takes 1.3")
def _(lab):
    known = credentials(lab)
    version = ssl.TLSVersion
    agreed = inside(lab, lambda: tls.handshake(connect, known, version.TLSv1_3))
    expect(agreed == "TLSv1.3", f"1.3: {agreed}")
    for old in (version.TLSv1, version.TLSv1_1, version.TLSv1_2):
        agreed = inside(lab, lambda old=old: tls.handshake(connect, known, old))
        # It is the server that ends it, and not this library that does not begin.
        expect(any(x in agreed for x in ("closed", "reset", "EOF", "ALERT_PROTOCOL_VERSION")),
               f"{old.name}: {agreed}")


@cases.case("signalling answers nothing in clear")
def _(lab):
    def speak():
        with connect() as sock:
            sock.sendall(tls.PLAIN_HTTP2)
            try:
                return sock.recv(4096)
            except ConnectionError:
                return b""
    answer = inside(lab, speak)
    # At most a TLS alert.
    expect(answer[:1] in (b"", b"\x15"), f"it answered {answer[:40]}")


@cases.case(f"while {CONNECTIONS} handshakes stand half open a site attaches, and the tunnels of "
            "the other do not notice")
def _(lab):
    expect(lab.urds["site-2"].stop(), "urd did not end")
    with Undisturbed(lab, counters=()):  # those are of both sites
        half = inside(lab, lambda: tls.HalfOpen(connect, CONNECTIONS))
        try:
            began = time.monotonic()
            lab.start_urd(lab.sites[1])
            wait_until(lambda: (now := ur.status(lab, 2)["signalling"])["connected"] and
                       not now["cached"], "site-2 attached", seconds=20)
            took = time.monotonic() - began
            left = half.still_open()
            began = time.monotonic()
            lab.router.drcli("system", "status")
            answered = time.monotonic() - began
        finally:
            half.close()
    ur.wait_up(lab, site=2)
    expect(left > CONNECTIONS / 2, f"only {left} of {CONNECTIONS} stood open: it proves little")
    return f"{left} open; attached after {took:.1f} s, drcli answered in {answered * 1000:.0f} ms"


@cases.case("strangers from several addresses who hold all connections that there are keep no site out")
def _(lab):
    expect(lab.urds["site-2"].stop(), "urd did not end")
    few = 400  # of which drd keeps a half for itself
    sources = [f"198.51.100.{n}" for n in (240, 241, 242, 243)]
    for source in sources:
        lab.net["inet"].ip("address", "add", f"{source}/24", "dev", "ix0")
    turn = iter(sources * few)

    def from_next():
        return connect(next(turn))

    lab.router.drd.stop()
    lab.router.start_drd(before=["prlimit", f"--nofile={few}:{few}"])
    crowd = inside(lab, lambda: tls.HalfOpen(from_next, few))
    try:
        began = time.monotonic()
        lab.start_urd(lab.sites[1])
        wait_until(lambda: (now := ur.status(lab, 2)["signalling"])["connected"] and
                   not now["cached"], "site-2 attached", seconds=5)
        took = time.monotonic() - began
    finally:
        crowd.close()
        lab.router.drd.stop()
        lab.router.start_drd()
    for site in (1, 2):
        ur.wait_up(lab, site=site)
    return f"attached after {took:.1f} s"


@cases.case("counters, liveness rows and notes of drops that a client of the data plane is handed can "
            "be neither written nor resized by it")
def _(lab):
    for what in ("counters", "liveness", "drops"):
        descriptor, size = sb.memory(lab.router.dataplane_socket, what)
        try:
            found = sb.attempts(descriptor, size)
        finally:
            os.close(descriptor)
        done = {k: v for k, v in found.items() if v is not None}
        expect(not done, f"{what}: {done}")
    lab.counters()


@cases.case(f"with {CLIENTS} clients on the data plane's socket, silent and talking nonsense, "
            "changes are installed, packets pass, and most clients are turned away")
def _(lab):
    probes = four_probes(lab, seconds=2)
    with Undisturbed(lab):
        crowd = sb.Crowd(lab.router.dataplane_socket, CLIENTS)
        try:
            path = lab.directory / "more.ndjson"
            more = dict(signalled_resources([t.Site(3)], wait_to_restore=5)[-1]["subscriber"])
            path.write_text(json.dumps({"subscriber": more}) + "\n")
            lab.router.drcli("apply", "-f", path)
            lab.wait_in_sync()
            away = crowd.turned_away()
        finally:
            crowd.close()
    expect(away > CLIENTS / 2, f"{away} of {CLIENTS} were turned away")
    lost_nothing(probes)
    lab.router.drcli("subscriber", "delete", more["name"])
    return f"{away} turned away"


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
