#!/usr/bin/python3
"""What an operator does about a site takes effect, and is told, whatever the site and strangers do.

On loopback: drd, drcli, and a hostile HTTP/2 client over TLS."""

import ssl
import socket
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from attacks import http2
from attacks.daemon import Daemon
from attacks.http2 import Closed
from lablib.cases import Cases, expect
from lablib.shell import run, wait_until

cases = Cases()

EVENTS_AT_ONCE = 30  # that a site may cause (control/events/journal.cpp)


def attach_often(daemon, context, times):
    """Attaches and leaves so many times, as fast as drd lets it."""
    deadline = time.monotonic() + 120
    while times > 0:
        expect(time.monotonic() < deadline, f"{times} attachments are missing: {daemon.log()[-500:]}")
        try:
            http2.attach(daemon.address, None, context=context)[1].close()
            times -= 1
        except Closed:
            time.sleep(0.1)  # it connects too often


@cases.case("a stranger's name cannot leave its quotation marks in drd's log")
def _(daemon):
    folder = daemon.directory
    name = 'x": enroll: subscriber site-1: issued (by "root'
    run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", folder / "s.key", "-out", folder / "s.pem", "-subj", f"/CN={name}",
         "-days", "9"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(folder / "s.pem", folder / "s.key")
    try:
        with context.wrap_socket(socket.create_connection(daemon.address, timeout=10)) as peer:
            peer.recv(1)
    except OSError:
        pass  # refused, as is right

    def said():
        return [line for line in daemon.log().splitlines() if "by the name of" in line]
    wait_until(said, "the stranger is told of", seconds=10)
    quoted = name.replace('"', "\\x22")
    expect(f'refused: by the name of "{quoted}": ' in said()[-1], said()[-1])


@cases.case("a subscriber's keys are rotated and its credentials revoked though an address of "
            "signalling has come to lie in its prefix")
def _(daemon):
    daemon.process.stop()
    daemon.options = ["--signalling-name", "203.0.113.5:4755"]  # in site-1's 203.0.113.4/30
    daemon.start()
    refused = daemon.apply([{"subscriber": {"name": "site-9", "policy": "p",
                                            "prefixes": ["203.0.113.0/29"]}}], check=False)
    expect(refused.returncode == 1, "a new prefix around signalling is accepted")
    for command in ("enroll", "rotate-keys", "revoke"):
        done = daemon.drcli("subscriber", command, "site-1", check=False)
        expect(done.returncode == 0, f"{command}: exit {done.returncode}: {done.stderr}")
    try:
        http2.attach(daemon.address, daemon.credentials["site-1"])[1].close()
        expect(False, "the certificate that was revoked attaches")
    except Closed as why:
        expect("enroll the subscriber again" in str(why), str(why))


@cases.case("what an operator does about a site is logged, however often the site attaches")
def _(daemon):
    context = http2.tls(daemon.credentials["site-2"])
    attach_often(daemon, context, EVENTS_AT_ONCE // 2 + 3)
    wait_until(lambda: daemon.log().count(": subscriber site-2: from ") >= EVENTS_AT_ONCE,
               "as many events of the site as are told", seconds=10)
    daemon.drcli("subscriber", "enroll", "site-2")
    attach_often(daemon, context, 2)
    daemon.drcli("subscriber", "revoke", "site-2")
    for kind in ("enroll", "revoke"):
        expect(f"drd: info: {kind}: subscriber site-2" in daemon.log(), daemon.log()[-1500:])
        wait_until(lambda kind=kind: "site-2" in daemon.drcli("event", "list", "--kind", kind,
                                                              "--subscriber", "site-2").stdout,
                   f"the event of {kind}", seconds=10)
    told = daemon.log().count(": subscriber site-2: from ")
    expect(told <= EVENTS_AT_ONCE + 6, f"{told} lines of what the site did")


def main():
    return cases.run(lambda: Daemon(sites=2), lambda daemon: daemon.log()[-2000:])


if __name__ == "__main__":
    sys.exit(main())
