#!/usr/bin/python3
"""Addresses and routes of a site's lines change: which address a tunnel is sent from, what is a flap and
what is none."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import time

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.probe import four_probes, lost_nothing
from lablib.shell import wait_until

cases = Cases()
SOON = 5
GUA, ULA = "2001:db8:b:1::2", "fd12:3456::2"


@contextmanager
def attached_lab():
    # A line that flaps is not used again while a case runs.
    with temporary_lab(signalled={"wait_to_restore": 60, "line_b_over_ipv6": True}) as lab:
        fresh(lab)
        yield lab


def fresh(lab):
    """Both lines up with the lab's addresses, nothing held against either."""
    net, site = lab.net["ur1"], lab.sites[0]
    for line in ("a", "b"):
        net.ip("address", "flush", "dev", f"wan-{line}", "scope", "global")
        net.ip("address", "replace", f"{site.wan4(line)[1]}/24", "dev", f"wan-{line}")
    net.ip("address", "replace", f"{site.wan6()[1]}/64", "dev", "wan-b", "nodad")
    routes(lab)
    restart(lab)
    ur.wait_up(lab, seconds=20)
    ur.wait_carries(lab, "a", seconds=20)


def routes(lab, a=True):
    net, site = lab.net["ur1"], lab.sites[0]
    if a:
        net.ip("route", "replace", "default", "via", site.wan4("a")[0], "dev", "wan-a")
    net.ip("route", "replace", "default", "via", site.wan4("b")[0], "dev", "wan-b", "metric", "200")
    net.ip("-6", "route", "replace", "default", "via", site.wan6()[0], "dev", "wan-b")


def restart(lab):
    """Both ends know nothing of before."""
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    lab.router.drcli("subscriber", "revoke", "site-1")
    (lab.directory / "urd-site-1.json").unlink()
    for old in (lab.directory / "urd-site-1-state").iterdir():
        old.unlink()
    lab.start_urd(lab.sites[0])


def flaps(lab):
    here = {x["line"]: x["flaps"] for x in ur.status(lab)["tunnels"]}
    there = {line: x["liveness"]["flaps"] for (_, line), x in lab.tunnels().items()}
    return here, there


def source(lab, line):
    return ur.tunnel(lab, line)["local"].rpartition(":")[0].strip("[]")


def wait_source(lab, line, address, seconds=SOON):
    wait_until(lambda: source(lab, line) == address, f"line {line} sent from {address}, not "
               f"{source(lab, line)}", seconds=seconds, interval=0.05)


def stays_up(lab, line, address, seconds=1.5):
    """For longer than the detection time the line is up with this address."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        now = ur.tunnel(lab, line)
        expect(now["state"] == "up" and address in now["local"], f"{now}")
        time.sleep(0.1)


@cases.case("a DHCP client that takes the address away and puts the same one on again, at once or 200 ms later, "
            "makes neither a flap nor a change of line")
def _(lab):
    net, before, notes = lab.net["ur1"], flaps(lab), []
    for gap in (0, 0.005, 0.02, 0.2):
        probes = four_probes(lab, seconds=2)
        net.ip("address", "flush", "dev", "wan-a")
        time.sleep(gap)  # what the client does, not a wait for a state
        net.ip("address", "add", f"{lab.sites[0].wan4('a')[1]}/24", "dev", "wan-a")
        routes(lab)
        stays_up(lab, "a", lab.sites[0].wan4("a")[1])
        expect(ur.tunnel(lab, "a")["carries"], f"{ur.tunnel(lab, 'a')}")
        results = [probe.result() for probe in probes]
        sent, lost = (sum(r[x] for r in results) for x in ("sent", "lost"))
        # The kernel forgets the gateway's Ethernet address with the line's last IPv4 address.
        expect(lost <= sent // 100, f"gap {gap} s: {results}")
        notes.append(f"{gap * 1000:.0f} ms: {lost} of {sent}")
    expect(flaps(lab) == before, f"{before} -> {flaps(lab)}")
    return "lost: " + ", ".join(notes)


@cases.case("a line that gets another address moves with it at once, is no flap at either end, and carries on "
            "without a wait, many times")
def _(lab):
    net, before = lab.net["ur1"], flaps(lab)
    for last in (7, 8, 9, 2):
        net.ip("address", "flush", "dev", "wan-a")
        net.ip("address", "add", f"198.18.1.{last}/24", "dev", "wan-a")
        routes(lab)
        wait_source(lab, "a", f"198.18.1.{last}")
        stays_up(lab, "a", f"198.18.1.{last}")
        expect(ur.tunnel(lab, "a")["carries"], f"{ur.tunnel(lab, 'a')}")
        wait_until(lambda x=last: f"198.18.1.{x}" in str(lab.tunnels()["site-1", "a"]), "the DR's view")
    expect(flaps(lab) == before, f"{before} -> {flaps(lab)}")
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("an address for management before the one of DHCP, and one of 169.254/16, are not sent from")
def _(lab):
    net, right = lab.net["ur1"], lab.sites[0].wan4("a")[1]
    net.ip("address", "flush", "dev", "wan-a")
    for address in ("169.254.7.7/16", "192.168.100.2/24", f"{right}/24"):
        net.ip("address", "add", address, "dev", "wan-a")
    routes(lab)
    restart(lab)
    ur.wait_up(lab, seconds=20)
    wait_source(lab, "a", right)
    before = flaps(lab)
    # DHCP renews; the others stay.
    net.ip("address", "del", f"{right}/24", "dev", "wan-a")
    time.sleep(0.1)
    net.ip("address", "add", f"{right}/24", "dev", "wan-a")
    routes(lab)
    stays_up(lab, "a", right)
    expect(flaps(lab) == before, f"{before} -> {flaps(lab)}")


@cases.case("the address of DHCP that is away for seconds, while one of another network stays, is taken again "
            "as soon as it is back")
def _(lab):
    net, right = lab.net["ur1"], lab.sites[0].wan4("a")[1]
    net.ip("address", "flush", "dev", "wan-a")
    net.ip("address", "add", f"{right}/24", "dev", "wan-a")
    net.ip("address", "add", "10.99.0.1/24", "dev", "wan-a")
    routes(lab)
    wait_source(lab, "a", right)
    net.ip("address", "del", f"{right}/24", "dev", "wan-a")
    ur.wait_for(lab, "a", {"state": "down"}, seconds=SOON)
    net.ip("address", "add", f"{right}/24", "dev", "wan-a")
    routes(lab)
    wait_source(lab, "a", right)
    ur.wait_up(lab, "a", seconds=SOON)


@cases.case("a line whose addresses have routes by rules of their own, and none in the main table, is sent from "
            "one of those")
def _(lab):
    net, right = lab.net["ur1"], lab.sites[0].wan4("a")[1]
    net.ip("address", "flush", "dev", "wan-a")
    net.ip("address", "add", "192.168.100.2/24", "dev", "wan-a")
    net.ip("address", "add", f"{right}/24", "dev", "wan-a")
    net.ip("route", "add", "default", "via", lab.sites[0].wan4("a")[0], "dev", "wan-a", "table", "101")
    net.ip("rule", "add", "from", right, "lookup", "101", "priority", "100")
    try:
        restart(lab)
        ur.wait_up(lab, seconds=20)
        wait_source(lab, "a", right)
    finally:
        net.ip("rule", "del", "priority", "100")
        net.ip("route", "flush", "table", "101")


@cases.case("a unique local address on an IPv6 line is not sent from, whether it comes before the global one or "
            "after")
def _(lab):
    fresh(lab)
    net, before = lab.net["ur1"], flaps(lab)
    net.ip("address", "add", f"{ULA}/64", "dev", "wan-b", "nodad")
    stays_up(lab, "b", GUA)
    expect(flaps(lab) == before, f"{before} -> {flaps(lab)}")
    net.ip("address", "del", f"{GUA}/64", "dev", "wan-b")
    net.ip("address", "add", f"{GUA}/64", "dev", "wan-b", "nodad")
    routes(lab)
    restart(lab)
    ur.wait_up(lab, seconds=20)
    wait_source(lab, "b", GUA)
    net.ip("address", "del", f"{ULA}/64", "dev", "wan-b")


@cases.case("a line with a deprecated address alone works, and goes over to a better one without a flap")
def _(lab):
    fresh(lab)
    net, before = lab.net["ur1"], flaps(lab)
    net.ip("address", "change", f"{GUA}/64", "dev", "wan-b", "preferred_lft", "0", "valid_lft", "3600")
    stays_up(lab, "b", GUA)
    net.ip("address", "add", "2001:db8:b:1::9/64", "dev", "wan-b", "nodad")
    wait_source(lab, "b", "2001:db8:b:1::9")
    stays_up(lab, "b", "2001:db8:b:1::9")
    expect(flaps(lab) == before, f"{before} -> {flaps(lab)}")


@cases.case("a temporary address is left before it expires, and no packet or state is lost by that")
def _(lab):
    net = lab.net["ur1"]
    net.ip("address", "flush", "dev", "wan-b", "scope", "global")
    net.ip("address", "add", f"{lab.sites[0].wan4('b')[1]}/24", "dev", "wan-b")
    net.ip("address", "add", "2001:db8:b:1::77/64", "dev", "wan-b", "nodad", "valid_lft", "14",
           "preferred_lft", "14")
    routes(lab)
    restart(lab)
    ur.wait_up(lab, seconds=20)
    wait_source(lab, "b", "2001:db8:b:1::77")
    before = flaps(lab)
    net.ip("address", "add", f"{GUA}/64", "dev", "wan-b", "nodad")
    wait_source(lab, "b", GUA, seconds=20)
    expect("2001:db8:b:1::77" in net.ip("address", "show", "dev", "wan-b").stdout, "it has expired already")
    wait_until(lambda: "2001:db8:b:1::77" not in net.ip("address", "show", "dev", "wan-b").stdout,
               "its end", seconds=20)
    stays_up(lab, "b", GUA)
    expect(flaps(lab) == before, f"{before} -> {flaps(lab)}")


@cases.case("a line whose default route is withdrawn is left as one whose link is down, not only when its "
            "keepalives are missing")
def _(lab):
    fresh(lab)
    net, log = lab.net["ur1"], lab.urds["site-1"].output()
    net.ip("route", "del", "default", "dev", "wan-a")
    ur.wait_carries(lab, "b", seconds=SOON)
    said = lab.urds["site-1"].output()[len(log):]
    expect('line=a from=up to=down cause="this end\'s link is down"' in said, said)
    lost_nothing(four_probes(lab, seconds=1))
    routes(lab)
    ur.wait_up(lab, "a", seconds=SOON)
    expect(lab.ping("lan1", t.INET4).returncode == 0, "no ping")


@cases.case("after an outage of 16 s a line with a second address, one of management or a unique local one, "
            "is up again within seconds, from the address that worked before")
def _(lab):
    fresh(lab)
    net, site = lab.net["ur1"], lab.sites[0]
    net.ip("address", "add", "192.168.100.2/24", "dev", "wan-a")
    net.ip("address", "add", f"{ULA}/64", "dev", "wan-b", "nodad")
    for line, right in (("a", site.wan4("a")[1]), ("b", GUA)):
        stays_up(lab, line, right)
    tried = {"a": set(), "b": set()}
    with away(lab):
        for line in tried:
            ur.wait_for(lab, line, {"state": "down"}, seconds=SOON)
        until = time.monotonic() + 16
        while time.monotonic() < until:
            for line in tried:
                tried[line].add(source(lab, line))
            time.sleep(0.2)
    mended = time.monotonic()
    ur.wait_up(lab, seconds=15)
    took = time.monotonic() - mended
    for line, right in (("a", site.wan4("a")[1]), ("b", GUA)):
        stays_up(lab, line, right)
    expect(tried == {"a": {site.wan4("a")[1], "192.168.100.2"}, "b": {GUA, ULA}}, f"{tried}")
    fresh(lab)
    return f"up {took:.1f} s after the end of the outage"


@contextmanager
def away(lab):
    """The ISPs carry nothing of the tunnels, as when the DR is away."""
    for isp in ("ispa", "ispb"):
        lab.net[isp].run(["nft", "-f", "-"], stdin="""
            table inet away { chain through { type filter hook forward priority 0;
                meta l4proto udp drop; }; }
            """)
    try:
        yield
    finally:
        for isp in ("ispa", "ispb"):
            lab.net[isp].run(["nft", "delete", "table", "inet", "away"])


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
