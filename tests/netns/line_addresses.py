#!/usr/bin/python3
"""Addresses and routes inside a site's prefixes that somebody on a line gives the router (router
advertisements, DHCP): the line does without them, and the site keeps its prefix on all lines."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.guard import dropped, nothing_in_clear, onto_line, ports, udp, unseen
from lablib.lab import Lab, temporary_lab
from lablib.packets import inject
from lablib.probe import four_probes, lost_nothing
from lablib.shell import wait_until

cases = Cases()
LAN = ("lan1", "eth0")
# What a neighbour on line b makes of it; the site's prefix is a /56.
INSIDE6 = "2001:db8:5000:199::2"
INSIDE4 = "203.0.113.14"


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 1}) as lab:
        ur.wait_up(lab)
        ur.wait_carries(lab, "a")
        yield lab


def said(lab, text):
    wait_until(lambda: text in lab.urds["site-1"].output(), f"a line that says: {text}", seconds=5)


def advertise(lab, *options):
    """A router advertisement of a neighbour on line b, who is no router."""
    from scapy.layers.inet6 import ICMPv6ND_RA, IPv6
    from scapy.layers.l2 import Ether

    packet = IPv6(src="fe80::bad", dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=0)
    for option in options:
        packet /= option
    inject(lab.net["ispb"], "ur1", [bytes(
        Ether(src="02:00:00:00:0b:ad", dst="33:33:00:00:00:01") / packet)])


def guarded(lab):
    """Nothing of the site passes line b in clear, neither way."""
    site, port = lab.sites[0], ports()
    with unseen(lab, LAN, ("inet", "eth0"), expression=f"udp port {port}"), \
            dropped(lab, "drop.line_in", 3):
        onto_line(lab, "b", udp(t.INET6, site.lan6, port), udp(t.INET4, site.lan4, port),
                  udp(site.lan6, t.INET6, port))


def whole(lab):
    """The site has both of its prefixes, and loses nothing."""
    left_out = ur.status(lab)["leftOutPrefixes"]
    expect(not left_out, f"{left_out}")
    guarded(lab)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("a router advertisement on a line that names a part of the site's prefix is dropped, and "
            "one that does not is heard")
def _(lab):
    from scapy.layers.inet6 import ICMPv6NDOptMTU, ICMPv6NDOptPrefixInfo, ICMPv6NDOptRouteInfo

    net = lab.net["ur1"]
    net.sysctl("net.ipv6.conf.wan-b.accept_ra", 2)
    net.sysctl("net.ipv6.conf.wan-b.autoconf", 1)
    life = {"validlifetime": 7200, "preferredlifetime": 0}
    part = ICMPv6NDOptPrefixInfo(prefix="2001:db8:5000:177::", prefixlen=64, L=0, A=1, **life)
    link = ICMPv6NDOptPrefixInfo(prefix="2001:db8:5000:100:8000::", prefixlen=65, L=1, A=0, **life)
    route = ICMPv6NDOptRouteInfo(prefix="2001:db8:5000:100::", plen=64, rtlifetime=7200)
    other = ICMPv6NDOptPrefixInfo(prefix="2001:db8:77::", prefixlen=64, L=0, A=1, **life)
    mtu = ICMPv6NDOptMTU(mtu=1500)
    with dropped(lab, "drop.line_in", 4):
        advertise(lab, part)
        advertise(lab, mtu, link)
        advertise(lab, route)
        advertise(lab, other, part)
    with dropped(lab, "drop.line_hidden", 1):
        advertise(lab, *[mtu] * 40, part)
    advertise(lab, other, mtu)
    wait_until(lambda: "2001:db8:77:" in net.ip("-6", "address", "show", "dev", "wan-b").stdout,
               "an address of the other prefix", seconds=5)
    shown = net.ip("-6", "address", "show", "dev", "wan-b").stdout
    expect("2001:db8:5000" not in shown, shown)
    net.sysctl("net.ipv6.conf.wan-b.accept_ra", 0)
    net.ip("-6", "address", "flush", "dev", "wan-b", "dynamic")
    return whole(lab)


@cases.case("a line's second address that lies in the site's prefix is not used, the prefix stays on "
            "all lines, and the log names it")
def _(lab):
    net = lab.net["ur1"]
    used = ur.tunnel(lab, "b")["local"]
    for inside in (f"{INSIDE6}/64", f"{INSIDE4}/29"):
        net.ip("address", "add", inside, "dev", "wan-b")
    try:
        said(lab, f"holds what a line has, and the line does without: {INSIDE6}, the address of line b")
        said(lab, f"{INSIDE4}, the address of line b")
        with nothing_in_clear(lab):
            note = whole(lab)
        expect(ur.tunnel(lab, "b")["local"] == used, f"{ur.tunnel(lab, 'b')}")
        ur.wait_up(lab)
    finally:
        net.ip("address", "del", f"{INSIDE6}/64", "dev", "wan-b")
        net.ip("address", "del", f"{INSIDE4}/29", "dev", "wan-b")
    return note


@contextmanager
def only_inside(lab):
    """Line b has no address but those inside the prefixes, and a gateway inside."""
    net, site = lab.net["ur1"], lab.sites[0]
    theirs, ours = site.wan4("b")
    theirs6, ours6 = site.wan6()
    net.ip("address", "add", f"{INSIDE6}/64", "dev", "wan-b", "nodad")
    net.ip("address", "add", f"{INSIDE4}/32", "dev", "wan-b")
    net.ip("address", "del", f"{ours}/24", "dev", "wan-b")
    net.ip("address", "del", f"{ours6}/64", "dev", "wan-b")
    net.ip("route", "replace", "default", "via", theirs, "dev", "wan-b", "metric", "200", "onlink")
    net.ip("-6", "route", "replace", "default", "via", theirs6, "dev", "wan-b", "onlink")
    for family, gateway in (("-4", theirs), ("-6", theirs6)):
        net.ip(family, "route", "replace", gateway, "dev", "wan-b")
    try:
        yield
    finally:
        net.ip("address", "del", f"{INSIDE6}/64", "dev", "wan-b")
        net.ip("address", "del", f"{INSIDE4}/32", "dev", "wan-b")
        net.ip("address", "add", f"{ours}/24", "dev", "wan-b")
        net.ip("address", "add", f"{ours6}/64", "dev", "wan-b", "nodad")
        net.ip("route", "replace", "default", "via", theirs, "dev", "wan-b", "metric", "200")
        net.ip("-6", "route", "replace", "default", "via", theirs6, "dev", "wan-b")


@cases.case("a line that has nothing but an address in the site's prefix is down, and the site goes on "
            "over the other one")
def _(lab):
    with only_inside(lab):
        ur.wait_for(lab, "b", {"state": "down"})
        note = whole(lab)
    ur.wait_up(lab, seconds=30)
    return note


@cases.case("where that line is the only one, the prefix is left out, the guard on it stays, and the "
            "other line brings it back")
def _(lab):
    isp = lab.net["ispb"]
    with only_inside(lab):
        ur.wait_for(lab, "b", {"state": "down"})
        ur.link(lab, "a", False)
        try:
            wait_until(lambda: ur.status(lab)["leftOutPrefixes"], "a prefix to be left out")
            said(lab, "the address of line b; what the lines and signalling need must lie outside")
            wait_until(lambda: ur.tunnel(lab, "b")["local"].rsplit(":", 1)[0] == INSIDE4,
                       "line b to use its address")
            guarded(lab)
            # What the line itself needs passes.
            isp.ip("route", "replace", INSIDE4, "dev", "ur1")
            wait_until(lambda: lab.ping("ispb", INSIDE4, "-W", "1", check=False).returncode == 0,
                       "an answer from the line's address", seconds=5)
        finally:
            ur.link(lab, "a", True)
            isp.ip("route", "flush", INSIDE4)
        ur.wait_carries(lab, "a", seconds=30)
        wait_until(lambda: not ur.status(lab)["leftOutPrefixes"], "the prefix to be used again")
        note = whole(lab)
    ur.wait_up(lab, seconds=30)
    return note


@cases.case("a new attachment is taken while a line has an address in the prefix that is in force")
def _(lab):
    net = lab.net["ur1"]
    net.ip("address", "add", f"{INSIDE6}/64", "dev", "wan-b", "nodad")
    try:
        said(lab, f"{INSIDE6}, the address of line b")
        lab.urds["site-1"].stop()
        state = lab.directory / "urd-site-1-state"
        for kept in state.iterdir():
            kept.unlink()
        lab.start_urd(lab.sites[0])
        ur.wait_up(lab, seconds=30)
        return whole(lab)
    finally:
        net.ip("address", "del", f"{INSIDE6}/64", "dev", "wan-b")


@cases.case("a route over a line to a part of the prefix hides no LAN host")
def _(lab):
    net, site = lab.net["ur1"], lab.sites[0]
    for family, host, gateway in (("-4", f"{site.lan4}/32", site.wan4("b")[0]),
                                  ("-6", f"{site.lan6}/128", site.wan6()[0])):
        net.ip(family, "route", "add", host, "via", gateway, "dev", "wan-b")
        wait_until(lambda f=family, h=host: not net.ip(f, "route", "show", h.split("/")[0], "dev",
                                                       "wan-b").stdout, "no such route", seconds=5)
    said(lab, "a route over a line led into the site's prefixes, to ")
    return whole(lab)


@cases.case("an address that a line gets, and a LAN host has, takes no packet from that host; it is the "
            "line's again when urd has ended")
def _(lab):
    net, site = lab.net["ur1"], lab.sites[0]

    def local(family, host):
        return net.ip(family, "route", "show", host, "table", "local", "dev", "wan-b").stdout

    hosts = ("-4", site.lan4, "32"), ("-6", site.lan6, "128")
    for family, host, length in hosts:
        net.ip("address", "add", f"{host}/{length}", "dev", "wan-b",
               *(("nodad",) if family == "-6" else ()))
    # The broadcast address of a network may be a host's too.
    net.ip("address", "add", f"{INSIDE4}/30", "broadcast", site.lan4, "dev", "wan-b")
    try:
        for family, host, _ in hosts:
            wait_until(lambda f=family, h=host: not local(f, h), f"no local route of {host}",
                       seconds=5)
        note = whole(lab)
        expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
        for family, host, _ in hosts:
            expect(local(family, host), f"{host} is no address of the router")
    finally:
        for family, host, length in hosts:
            net.ip("address", "del", f"{host}/{length}", "dev", "wan-b")
        net.ip("address", "del", f"{INSIDE4}/30", "dev", "wan-b")
        lab.urds["site-1"].stop()
        lab.start_urd(site)
        ur.wait_up(lab, seconds=30)
    return note


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
