#!/usr/bin/python3
"""Neighbours at the exchange that claim addresses which are not on it: the kernel learns them from
one ARP request or neighbour solicitation for an address of the DR. And what of the router's own a
restart of dr-dataplane finds inside prefixes of sites."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture, inject, mac
from lablib.shell import LabError, wait_until

cases = Cases()
SITE = t.Site(1)
FAR4, FAR6 = "9.9.9.9", "2001:db8:9::9"
COUNT = 10
# More than a replay of drd leaves out.
MANY = 90


@contextmanager
def claims(lab, *addresses, node="ispb"):
    """The node has asked the DR, in the name of each address, for the DR's own."""
    own, dr = mac(lab.net[node], "ix0"), mac(lab.net["dr"], "ix0")
    inject(lab.net[node], "ix0", [bytes(
        Ether(src=own, dst=dr) / IPv6(src=a, dst=t.DR_IX6, hlim=255)
        / ICMPv6ND_NS(tgt=t.DR_IX6) / ICMPv6NDOptSrcLLAddr(lladdr=own)
        if ":" in a else Ether(src=own, dst=dr) / ARP(op=1, hwsrc=own, psrc=a, pdst=t.DR_IX4))
        for a in addresses])
    missing = set(addresses)

    def learned():
        entries = json.loads(lab.net["dr"].ip("-j", "neighbour", "show", "dev", "ix0").stdout)
        missing.difference_update(e["dst"] for e in entries if e.get("lladdr") == own)
        return not missing

    wait_until(learned, "the kernel to learn the claims, without which this proves nothing",
               seconds=5)
    # The data plane hears of neighbours in order: it has heard of these when it knows a true one.
    lab.ping(node, t.DR_IX4)
    try:
        yield
    finally:
        lab.net["dr"].ip("neighbour", "flush", "dev", "ix0")


def arrive(lab, node, device, destination, *, seconds=5, expected=COUNT):
    """Packets of site 1's host to the address, at a node beyond the DR."""
    ip = IPv6 if ":" in destination else IP
    source = SITE.lan6 if ":" in destination else SITE.lan4
    frame = bytes(Ether(src=mac(lab.net["lan1"], "eth0"), dst=mac(lab.net["ur1"], "lan0"))
                  / ip(src=source, dst=destination) / UDP(sport=5000, dport=9999) / b"private")
    with Capture(lab, node, device, f"udp port 9999 and dst host {destination}",
                 direction="in") as capture:
        inject(lab.net["lan1"], "eth0", [frame] * COUNT)
        wait_until(lambda: len(capture.packets()) >= expected,
                   f"packets for {destination} at {node}", seconds=seconds)


def arrives(lab, *where):
    try:
        arrive(lab, *where, seconds=1)
    except LabError:
        return False
    return True


def reached(lab, what):
    for address in (SITE.lan4, SITE.lan6):
        done = lab.ping("inet", address, "-W", "1", count=5, check=False)
        expect(" 0% packet loss" in done.stdout, f"{what}: {address}: {done.stdout}")


@cases.case("a neighbour that claims a site's addresses, in ARP and ND, takes nothing from the site")
def _(lab):
    reached(lab, "before")
    with claims(lab, SITE.lan4, SITE.lan6):
        reached(lab, "with the claims")


@cases.case("a neighbour that claims addresses of the Internet gets none of the sites' packets")
def _(lab):
    with claims(lab, FAR4, FAR6):
        for address in (FAR4, FAR6):
            arrive(lab, "inet", "eth0", address)


@cases.case("a neighbour that claims the far end of a tunnel gets none of the tunnel's packets")
def _(lab):
    for node, end in (("ispb", SITE.wan4("a")[1]), ("ispa", SITE.wan6()[1])):
        with claims(lab, end, node=node):
            with Capture(lab, node, "ix0", f"dst host {end}", direction="in") as capture:
                reached(lab, f"with the claim of {end}")
            expect(not capture.packets(), f"{len(capture.packets())} for {end} came to {node}")


@cases.case("a neighbour of a network that is connected later is reached there, and not when the "
            "network is gone")
def _(lab):
    dr = lab.net["dr"]
    for own, neighbour in (("10.9.9.1/24", "10.9.9.9"), ("2001:db8:99::1/64", "2001:db8:99::9")):
        with claims(lab, neighbour):
            arrive(lab, "inet", "eth0", neighbour)
            dr.ip("address", "add", own, "dev", "ix0", "nodad")
            wait_until(lambda n=neighbour: arrives(lab, "ispb", "ix0", n), "the network", seconds=5)
            dr.ip("address", "del", own, "dev", "ix0")
            wait_until(lambda n=neighbour: arrives(lab, "inet", "eth0", n), "its end", seconds=5)


def restart_dataplane(lab):
    lab.router.dataplane.kill()
    lab.router.start_dataplane()
    lab.wait_in_sync()


@cases.case("a restart of dr-dataplane installs every subscriber, though a neighbour claims an "
            "address of each")
def _(lab):
    sites = [{"subscriber": {
        "name": f"x-{n}", "prefixes": [f"100.64.5.{n + 1}/32"], "policy": "both-lines",
        "tunnels": [{"line": "a", "encapsulation": "GRE_UDP", "local": t.DR_IX4,
                     "remote": f"198.18.1.{100 + n}"}]}} for n in range(MANY)]
    lab.router.drcli("apply", "-f", "-", stdin="".join(json.dumps(s) + "\n" for s in sites))
    with claims(lab, *(f"100.64.5.{n + 1}" for n in range(MANY)), SITE.lan4):
        restart_dataplane(lab)
        status = lab.router.drcli_json("system", "status")
        expect(not status.get("detail"), status.get("detail"))
        rows = next(r for r in status["rows"] if r["table"] == "subscribers")
        expect(rows["installed"] == rows["desired"] == MANY + 1, rows)
        wait_until(lambda: lab.ping("inet", SITE.lan4, check=False).returncode == 0, "the site",
                   seconds=10)
        reached(lab, "after the restart")
        # Nor do they keep a subscriber from being provisioned.
        sites[0]["subscriber"]["prefixes"] = ["100.64.5.0/30"]
        for site in sites[1:]:
            lab.router.drcli("subscriber", "delete", site["subscriber"]["name"])
        lab.router.drcli("apply", "-f", "-", stdin=json.dumps(sites[0]))
        lab.router.drcli("subscriber", "delete", "x-0")


@cases.case("an address of the DR inside a site's prefix is told, and a restart of dr-dataplane leaves "
            "the site in service")
def _(lab):
    own = SITE.lan4.rsplit(".", 1)[0] + f".{8 * SITE.number + 6}"

    def told(kind):
        return [e["cause"] for e in lab.router.drcli_json("event", "list", "--kind", kind)]

    lab.net["dr"].ip("address", "add", f"{own}/32", "dev", "up0")
    restart_dataplane(lab)
    wait_until(lambda: lab.ping("inet", SITE.lan4, check=False).returncode == 0, "the site",
               seconds=10)
    reached(lab, "after the restart")
    wait_until(lambda: f"subscriber/{SITE.name} has a prefix around an address"
               in lab.router.drcli_json("system", "status").get("detail", ""), "a warning", seconds=5)
    lab.ping("inet", own)
    wait_until(lambda: told("own-in-prefix"), "an event", seconds=5)
    lab.net["dr"].ip("address", "del", f"{own}/32", "dev", "up0")
    wait_until(lambda: not lab.router.drcli_json("system", "status").get("detail"),
               "no warning any more", seconds=5)
    wait_until(lambda: told("own-in-prefix-cleared"), "an event", seconds=5)


if __name__ == "__main__":
    sys.exit(cases.run(temporary_lab, Lab.describe))
