#!/usr/bin/python3
"""Lines that carry less than 1500 bytes: what a tunnel that is UP says fits is what passes.

Line a first, line b when a is down; both are IPv4 and GRE-in-UDP, whose headers take 36 bytes. Real
dr-dataplane, drd and urd; a link emulator in each line.
"""

import re
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import switching, ur  # noqa: E402
from lablib import topology as t  # noqa: E402
from lablib.cases import Cases, expect  # noqa: E402
from lablib.lab import temporary_lab  # noqa: E402
from lablib.shell import LabError, wait_until  # noqa: E402
from lablib.traffic import FileServer, download, upload  # noqa: E402

cases = Cases()
HEADERS = 36
WHOLE = 1500


@contextmanager
def attached_site():
    with temporary_lab(emulated=True, signalled={"wait_to_restore": 2}) as lab:
        switching.wait_up(lab)
        lab.servers = {node: FileServer(lab, node) for node in ("inet", "lan1")}
        yield lab


def narrow(lab, size, icmp, lines=switching.LINES):
    for line in lines:
        lab.line(line).set(mtu=None if size == WHOLE else {"bytes": size, "icmp": icmp})


def dr_mtu(lab, line):
    return lab.tunnels()["site-1", line]["liveness"].get("pathMtu")


def wait_mtu(lab, size, lines=switching.LINES, seconds=10):
    """Until both ends of the tunnels use exactly what a line of this size carries."""
    wanted = size - HEADERS

    def there():
        return all(ur.tunnel(lab, line)["pathMtu"] == wanted and dr_mtu(lab, line) == wanted
                   for line in lines)
    try:
        wait_until(there, f"path MTU {wanted} of {lines}", seconds=seconds, interval=0.1)
    except LabError as error:
        found = {line: (ur.tunnel(lab, line)["pathMtu"], dr_mtu(lab, line)) for line in lines}
        raise LabError(f"{error}; UR and DR have {found}") from error


def look_again(lab):
    """Takes the lines down and up: coming up, a tunnel looks for its full size."""
    for line in switching.LINES:
        lab.line(line).set(cut="all")
    wait_until(lambda: all(s != "up" for s in switching.states(lab).values()), "both lines down",
               seconds=10, interval=0.05)
    for line in switching.LINES:
        lab.line(line).set(cut=False)
    switching.wait_up(lab)


def downloads(lab):
    """A file each way in each family."""
    site = lab.sites[0]
    for client, server, address in (("lan1", "inet", t.INET4), ("lan1", "inet", t.INET6),
                                    ("inet", "lan1", site.lan4), ("inet", "lan1", site.lan6)):
        download(lab, client, lab.servers[server], address, seconds=20)


@cases.case("a whole line has the whole size, at both ends, and says how it knows")
def _(lab):
    wait_mtu(lab, WHOLE)
    shown = lab.router.drcli("tunnel", "get", "--subscriber", "site-1", "--line", "a",
                             check=False).stdout
    if "Path MTU" not in shown:
        number = lab.tunnels()["site-1", "a"]["tunnel"]["id"]
        shown = lab.router.drcli("tunnel", "get", str(number)).stdout
    expect(re.search(r"Path MTU:\s+1464 \(downlink 1464, uplink 1464, of at most 1464\), found by "
                     r"probes at", shown), shown)


for bytes_, told in ((1492, True), (1454, False), (1400, True), (1280, False)):
    @cases.case(f"lines of {bytes_} bytes{'' if told else ' that say nothing'}: found exactly, and "
                "files pass in both directions and families")
    def _(lab, size=bytes_, icmp=told):
        narrow(lab, size, icmp)
        look_again(lab)
        wait_mtu(lab, size)
        downloads(lab)


@cases.case("a packet too large for its line earns an ICMP error with the tunnel's MTU at both ends")
def _(lab):
    narrow(lab, 1400, False)
    look_again(lab)
    wait_mtu(lab, 1400)
    inner = 1400 - HEADERS
    for node, address in (("lan1", t.INET4), ("inet", lab.sites[0].lan4)):
        lab.ping(node, address, "-M", "do", "-s", str(inner - 28))
        refused = lab.ping(node, address, "-M", "do", "-s", str(inner - 27), check=False)
        expect(f"mtu={inner}" in refused.stdout + refused.stderr
               or f"mtu = {inner}" in refused.stdout + refused.stderr,
               f"{node}: {refused.stdout}{refused.stderr}")
    narrow(lab, WHOLE, False)
    look_again(lab)
    wait_mtu(lab, WHOLE)


@cases.case("a line that shrinks in the middle of a download is found, and the download ends well")
def _(lab):
    site = lab.sites[0]
    for direction in ("down", "up"):
        failed = []

        def transfer():
            try:
                if direction == "down":
                    upload(lab, "inet", "lan1", site.lan4, mebibytes=16, seconds=40)
                else:
                    upload(lab, "lan1", "inet", t.INET4, mebibytes=16, seconds=40)
            except LabError as error:
                failed.append(error)

        for line in switching.LINES:
            lab.line(line).set(rate={"bit_s": 20_000_000, "queue_bytes": 100_000})
        thread = threading.Thread(target=transfer)
        thread.start()
        try:
            carrying = next(line for line in ("a", "b") if ur.tunnel(lab, line)["carries"])
            wait_until(lambda: lab.line(carrying).counters()["ab"]["sent"] > 500, "a transfer",
                       seconds=10)
            narrow(lab, 1400, False)
            wait_mtu(lab, 1400, (carrying,), seconds=15)
        finally:
            thread.join()
            for line in switching.LINES:
                lab.line(line).set(rate=None)
        expect(not failed, f"{direction}: {failed}")
        narrow(lab, WHOLE, False)
        look_again(lab)
        wait_mtu(lab, WHOLE)


@cases.case("the MTU of the router's own device counts, and its change too")
def _(lab):
    lab.net["ur1"].ip("link", "set", "wan-a", "mtu", "1454")
    try:
        wait_mtu(lab, 1454, ("a",))
        downloads(lab)
    finally:
        lab.net["ur1"].ip("link", "set", "wan-a", "mtu", str(WHOLE))
    wait_mtu(lab, WHOLE, ("a",))


if __name__ == "__main__":
    sys.exit(cases.run(attached_site, lambda lab: lab.describe()))
