#!/usr/bin/python3
"""The guard below a line's device: plain frames to the device that a macvlan (a VLAN, PPPoE) line lies
on, which reach the kernel's routes without having been on the line's own device."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.guard import dropped, onto_line, ports, udp, unseen
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture, inject, mac
from lablib.probe import four_probes, lost_nothing
from lablib.process import Process
from lablib.shell import wait_until

cases = Cases()
LAN, INTERNET = ("lan1", "eth0"), ("inet", "eth0")
LINE, LOWER, TOP = "mv0", "wan-a", "mv1"
SOON = 5


def move(lab, old, new):
    """Line a's address and route on another device of the router."""
    net, (theirs, ours) = lab.net["ur1"], lab.sites[0].wan4("a")
    net.ip("address", "flush", "dev", old, "scope", "global")
    net.ip("address", "add", f"{ours}/24", "dev", new)
    net.ip("route", "replace", "default", "via", theirs, "dev", new)
    lab.net["ispa"].run(["ip", "neigh", "flush", "all"], check=False)


def start(lab, device, *more, lan="lan0"):
    lab.urds["site-1"].stop()
    lab.urds["site-1"] = Process.start("urd", lab.net["ur1"].command(
        [lab.programs.urd, "--credentials", lab.directory / "urd-site-1.json", "--state",
         lab.directory / "urd-site-1-state", "--line", f"a={device}", "--line", "b=wan-b",
         *(("--lan", lan) if lan else ()), *more]), lab.directory / "urd-site-1.log",
        ready="urd: ready", seconds=30)
    ur.wait_up(lab, seconds=30)


@contextmanager
def macvlan_lab():
    with temporary_lab(signalled={"wait_to_restore": 1}) as lab:
        ur.wait_up(lab)
        net = lab.net["ur1"]
        # Else the kernel answers ARP for the line's address on the device below, too, and the ISP may
        # send there (docs/user-router.md).
        net.sysctl(f"net.ipv4.conf.{LOWER}.arp_ignore", 1)
        net.ip("link", "add", "link", LOWER, "name", LINE, "type", "macvlan", "mode", "bridge")
        net.ip("link", "set", LINE, "up")
        move(lab, LOWER, LINE)
        start(lab, LINE)
        ur.wait_carries(lab, "a", seconds=30)
        yield lab


def guarded(lab, device=LOWER):
    shown = lab.net["ur1"].run(["tc", "filter", "show", "dev", device, "ingress"], check=False)
    return "pref 4754" in shown.stdout


def plain(lab, **where):
    site, port = lab.sites[0], ports()
    with unseen(lab, LAN, INTERNET, expression=f"udp port {port}"), dropped(lab, "drop.line_in", 2):
        onto_line(lab, "a", udp(site.lan4, t.INET4, port), udp(t.INET4, site.lan4, port), **where)


@cases.case("a plain packet from or to the site in a frame to the device below a line goes nowhere, "
            "behind a priority tag too, and the line goes on")
def _(lab):
    site, net = lab.sites[0], lab.net["ur1"]
    plain(lab)
    plain(lab, tag=(0,))
    plain(lab, to=mac(net, LINE))
    arp = __import__("scapy.layers.l2", fromlist=["ARP"]).ARP(op=1, psrc=site.wan4("a")[0],
                                                             pdst=site.ur4)
    with unseen(lab, ("ispa", "ur1"), expression="arp and arp net 203.0.113.8/29"), \
            dropped(lab, "drop.line_in", 1):
        onto_line(lab, "a", arp)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("from the device below no LAN host with another address is reached, and no line")
def _(lab):
    net, lan, site, port = lab.net["ur1"], lab.net["lan1"], lab.sites[0], ports()
    net.ip("address", "add", "10.7.7.1/24", "dev", "lan0")
    lan.ip("address", "add", "10.7.7.7/24", "dev", "eth0")
    # So that the device below has IPv4 of its own, as it often has for the modem's pages.
    net.ip("address", "add", "192.168.100.2/24", "dev", LOWER)
    try:
        with unseen(lab, LAN, ("ispb", "ur1"), expression=f"udp port {port}"), \
                dropped(lab, "drop.line_forward", 1), dropped(lab, "drop.line_transit", 1):
            onto_line(lab, "a", udp(t.INET4, "10.7.7.7", port),
                      udp(t.INET_IX4, site.wan4("b")[0], port))
        lab.net["ispa"].ip("address", "add", "192.168.100.1/24", "dev", "ur1")
        lab.ping("ur1", "192.168.100.1")
    finally:
        lab.net["ispa"].ip("address", "flush", "to", "192.168.100.1/24")
        net.ip("address", "del", "192.168.100.2/24", "dev", LOWER)
        net.ip("address", "del", "10.7.7.1/24", "dev", "lan0")
        lan.ip("address", "del", "10.7.7.7/24", "dev", "eth0")


@cases.case("frames of a VLAN and of PPPoE, and those to another device on top, pass the guard below")
def _(lab):
    from scapy.layers.l2 import Dot1Q, Ether
    from scapy.packet import Raw

    net, isp, site, port = lab.net["ur1"], lab.net["ispa"], lab.sites[0], ports()
    net.ip("link", "add", "link", LOWER, "name", TOP, "type", "macvlan", "mode", "bridge")
    net.ip("link", "set", TOP, "up")
    before = {k: v for k, v in ur.status(lab)["counters"].items() if k.startswith("drop.line")}
    try:
        head = Ether(src=mac(isp, "ur1"), dst=mac(net, LOWER))
        session = b"\x11\x00\x00\x07\x00\x1e\x00\x21" + bytes(udp(site.lan4, t.INET4, port))
        with Capture(lab, "ur1", TOP, f"udp port {port}", direction="in") as capture:
            inject(isp, "ur1", [bytes(head / Dot1Q(vlan=35) / udp(t.INET4, site.lan4, port)),
                                bytes(Ether(src=head.src, dst=head.dst, type=0x8864) / Raw(session)),
                                bytes(Ether(src=head.src, dst=mac(net, TOP)) /
                                      udp(t.INET4, "198.18.1.99", port))])
            wait_until(capture.lines, "the frame to the other device")
    finally:
        net.ip("link", "del", TOP)
    now = {k: v for k, v in ur.status(lab)["counters"].items() if k.startswith("drop.line")}
    expect(now == before, f"{before} -> {now}")


@cases.case("the guard below is put back, stays while urd is killed, and goes with urd or the line")
def _(lab):
    net = lab.net["ur1"]
    net.run(["tc", "qdisc", "del", "dev", LOWER, "clsact"])
    wait_until(lambda: guarded(lab), "the program on the device below", seconds=SOON)
    wait_until(lambda: f"line device {LINE}: of the device below it, {LOWER}, the tc program had been "
               "taken away; attached again" in lab.urds["site-1"].output(), "a line that says so",
               seconds=SOON)
    plain(lab)
    lab.urds["site-1"].kill()
    expect(guarded(lab), "the guard below has gone with urd")
    start(lab, LINE)
    expect(guarded(lab), "the guard below is not there after a restart")
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    left = net.run(["tc", "qdisc", "show", "dev", LOWER]).stdout
    expect("clsact" not in left, left)
    start(lab, LINE)


@cases.case("a device below that is a line itself, or the LAN's, is treated as what it is")
def _(lab):
    net = lab.net["ur1"]
    start(lab, LINE, "--line", f"c={LOWER}")
    plain(lab)
    start(lab, LINE)
    plain(lab)
    # A second line on the LAN's device: the site's own packets come in there.
    net.ip("link", "add", "link", "lan0", "name", TOP, "type", "macvlan", "mode", "bridge")
    net.ip("link", "set", TOP, "up")
    try:
        for lan in ("lan0", None):
            start(lab, LINE, "--line", f"c={TOP}", lan=lan)
            wait_until(lambda: guarded(lab, TOP), "the guard on the line", seconds=SOON)
            expect(not guarded(lab, "lan0"), "the LAN's device is guarded as a line")
            ur.pings(lab)
            lab.ping("lan1", t.INET6)
    finally:
        start(lab, LINE)
        net.ip("link", "del", TOP)
    return lost_nothing(four_probes(lab, seconds=1))


if __name__ == "__main__":
    sys.exit(cases.run(macvlan_lab, describe=Lab.describe))
