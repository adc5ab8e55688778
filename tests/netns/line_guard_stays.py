#!/usr/bin/python3
"""What urd has in the kernel stays, or is put back within a second, whoever takes it away."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.guard import SITE4, SITE6, dropped, nothing_in_clear, onto_line, ports, udp, unseen
from lablib.lab import Lab, temporary_lab
from lablib.netns import cable
from lablib.packets import Capture, mac
from lablib.probe import four_probes, lost_nothing
from lablib.programs import start_urd
from lablib.shell import run, wait_until

cases = Cases()
LAN = ("lan1", "eth0")
# "Within about a second", with what a loaded machine may need.
SOON = 5


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 1}) as lab:
        ur.wait_up(lab)
        yield lab


def filters(lab, device, hook):
    shown = lab.net["ur1"].run(["tc", "filter", "show", "dev", device, hook], check=False).stdout
    return "pref 4754" in shown


def attached(lab, device):
    return filters(lab, device, "ingress") and filters(lab, device, "egress")


def said(lab, text):
    wait_until(lambda: text in lab.urds["site-1"].output(), f"a line that says: {text}", seconds=SOON)


def rules_and_routes(lab):
    net = lab.net["ur1"]
    return [sorted(net.ip(*what.split()).stdout.splitlines()) for what in (
        "-4 rule", "-6 rule", "-4 route show table 4754", "-6 route show table 4754")]


def restart(lab, *options, end=True, up=True):
    """A urd with more on its command line than the lab's own."""
    if end:
        expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    site = lab.sites[0]
    lab.urds["site-1"] = start_urd(
        lab.programs, lab.net["ur1"], site, lab.directory,
        ["--credentials", lab.directory / "urd-site-1.json", "--state",
         lab.directory / "urd-site-1-state", *options])
    if up:
        ur.wait_up(lab, seconds=20)


@cases.case("a qdisc or a filter that somebody deletes on a line is put back, the line goes on, and urd "
            "says so")
def _(lab):
    net = lab.net["ur1"]
    flaps = ur.tunnel(lab, "a")["flaps"]
    for command in (["qdisc", "del", "dev", "wan-a", "clsact"],
                    ["filter", "del", "dev", "wan-a", "egress"],
                    ["filter", "del", "dev", "wan-a", "ingress"],
                    ["qdisc", "del", "dev", "dr0", "clsact"]):
        net.run(["tc", *command])
        wait_until(lambda: attached(lab, "wan-a") and filters(lab, "dr0", "egress"),
                   f"urd's programs after tc {' '.join(command)}", seconds=SOON)
    said(lab, "line device wan-a: the tc programs had been taken away; attached again")
    said(lab, "a tc program of the tunnel device, or a device behind it, had been taken away; put back")
    ur.wait_up(lab, "a")
    expect(ur.tunnel(lab, "a")["flaps"] == flaps, f"{ur.tunnel(lab, 'a')}")
    port = ports()
    with unseen(lab, LAN, expression=f"udp port {port}"), dropped(lab, "drop.line_in", 1):
        onto_line(lab, "a", udp(t.INET4, lab.sites[0].lan4, port))
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("rules and routes that somebody deletes are put back, and the tunnel device that is set "
            "down comes up")
def _(lab):
    net = lab.net["ur1"]
    whole = rules_and_routes(lab)

    def flush_rules():
        for family in ("-4", "-6"):
            for priority in (4754, 4755):
                net.run(["ip", family, "rule", "del", "priority", priority])

    with nothing_in_clear(lab):
        for disturb in (flush_rules,
                        lambda: net.ip("route", "flush", "table", "4754"),
                        lambda: net.ip("-6", "route", "flush", "table", "4754"),
                        lambda: net.ip("link", "set", "dr0", "down")):
            disturb()
            lab.ping("lan1", t.INET4, "-W", "0.2", check=False)
            lab.ping("lan1", t.INET6, "-W", "0.2", check=False)
            wait_until(lambda: rules_and_routes(lab) == whole, "all rules and routes", seconds=SOON)
            ur.pings(lab)
    said(lab, "of urd's routes had been taken away; put back")
    said(lab, "of urd's rules had been taken away; put back")
    said(lab, "the tunnel device was down; set up again")
    lost_nothing(four_probes(lab, seconds=1))
    # The address of its ICMP errors is there again too.
    told = lab.ping("inet", lab.sites[0].lan6, "-t", "2", check=False).stdout
    expect(f"From {lab.sites[0].ur6} " in told, told)


@cases.case("routes and rules that somebody replaces, or puts before urd's, are put back, and urd says so")
def _(lab):
    net = lab.net["ur1"]
    whole = rules_and_routes(lab)
    theirs = lab.sites[0].wan4("a")[0]

    def rules_without_suppression():
        for family, prefix in (("-4", "203.0.113.8/29"), ("-6", "2001:db8:5000:100::/56")):
            net.ip(family, "rule", "del", "priority", "4754", "from", prefix)
            net.ip(family, "rule", "add", "priority", "4754", "from", prefix, "lookup", "main")

    def rule_of_another_table():
        net.ip("rule", "del", "priority", "4755", "from", "203.0.113.8/29")
        net.ip("rule", "add", "priority", "4755", "from", "203.0.113.8/29", "blackhole")

    def default(*how, family="-4", metric="1"):
        return lambda: net.ip(family, "route", *how, "table", "4754", "metric", metric)

    with nothing_in_clear(lab):
        for disturb in (default("replace", "unreachable", "default"),
                        default("replace", "default", "via", theirs, "dev", "wan-a"),
                        default("prepend", "default", "via", theirs, "dev", "wan-a"),
                        default("add", "blackhole", "default", metric="0"),
                        default("replace", "blackhole", "203.0.113.8/29", metric="2147483647"),
                        default("replace", "unreachable", "default", family="-6"),
                        default("replace", "blackhole", "default", family="-6"),
                        rules_without_suppression, rule_of_another_table):
            disturb()
            wait_until(lambda: rules_and_routes(lab) == whole, "all rules and routes", seconds=SOON)
            ur.pings(lab)
    for what in ("1 of urd's routes", "2 of urd's rules"):
        said(lab, f"{what} had another in their place; that is removed, and urd's put back")
    # What others have beside urd's stays.
    net.ip("rule", "add", "priority", "4754", "from", "192.0.2.7", "lookup", "main")
    net.ip("route", "add", "blackhole", "192.0.2.0/24", "table", "4754")
    net.ip("rule", "del", "priority", "4755", "to", "203.0.113.8/29")
    wait_until(lambda: "to 203.0.113.8/29 lookup 4754" in net.ip("rule").stdout, "urd's own", seconds=SOON)
    net.ip("rule", "del", "priority", "4754", "from", "192.0.2.7")
    net.ip("route", "del", "blackhole", "192.0.2.0/24", "table", "4754")
    return lost_nothing(four_probes(lab, seconds=1))


def rename(lab, *pairs, a="wan-a", b="wan-b"):
    """Devices of the router get other names. Then those of the lines, as they are called now, have the
    addresses and routes that they lost on the way."""
    net, site = lab.net["ur1"], lab.sites[0]
    for old, new in pairs:
        net.ip("link", "set", old, "down")
        net.ip("link", "set", old, "name", new)
        net.ip("link", "set", new, "up")
    theirs6, ours6 = site.wan6()
    net.ip("address", "replace", f"{ours6}/64", "dev", b, "nodad")
    net.ip("route", "replace", "default", "via", site.wan4("a")[0], "dev", a)
    net.ip("route", "replace", "default", "via", site.wan4("b")[0], "dev", b, "metric", "200")
    net.ip("-6", "route", "replace", "default", "via", theirs6, "dev", b)


@cases.case("a line's device that is renamed keeps the guard, nothing of the site passes it, and urd says "
            "so; with its name the line is back")
def _(lab):
    net, site, port = lab.net["ur1"], lab.sites[0], ports()
    ur.wait_carries(lab, "a", seconds=20)
    address = mac(net, "wan-a")
    rename(lab, ("wan-a", "wan-x"), a="wan-x")
    try:
        said(lab, "line device wan-a: it is called wan-x now; its line is down, and the guard stays on "
                  "it")
        expect(attached(lab, "wan-x"), "the guard is not on wan-x")
        # The kernel may answer the DR's keepalives there: those are no packets of the site.
        with unseen(lab, ("ispa", "ur1"), ("ispb", "ur1"), expression=f"{SITE4} or {SITE6}"), \
                unseen(lab, LAN, ("inet", "eth0"), expression=f"udp port {port}"), \
                dropped(lab, "drop.line_in", 2), ur.stopped(lab):
            onto_line(lab, "a", udp(t.INET4, site.lan4, port), udp(site.lan4, t.INET4, port),
                      to=address)
            for priority in (4754, 4755):
                while net.run(["ip", "rule", "del", "priority", priority], check=False).returncode == 0:
                    pass
            lab.ping("lan1", t.INET4, "-c", "2", "-W", "0.2", check=False)
        # What somebody takes from it is put back there too.
        net.run(["tc", "qdisc", "del", "dev", "wan-x", "clsact"])
        wait_until(lambda: attached(lab, "wan-x"), "the guard on wan-x", seconds=SOON)
    finally:
        rename(lab, ("wan-x", "wan-a"))
    said(lab, "line device wan-a: it is as it should be again")
    ur.wait_up(lab, seconds=20)
    expect(attached(lab, "wan-a"), "the guard is not on wan-a")
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("two lines' devices that exchange their names have the guard all the time; one that is not "
            "there at the start is named")
def _(lab):
    rename(lab, ("wan-a", "wan-x"), ("wan-b", "wan-a"), ("wan-x", "wan-b"), a="wan-b", b="wan-a")
    for device in ("wan-a", "wan-b"):
        wait_until(lambda name=device: attached(lab, name), f"the guard on {device}", seconds=SOON)
    log = lab.urds["site-1"].output()
    rename(lab, ("wan-a", "wan-x"), ("wan-b", "wan-a"), ("wan-x", "wan-b"))
    wait_until(lambda: attached(lab, "wan-a") and attached(lab, "wan-b"), "the guard", seconds=SOON)
    ur.wait_up(lab, seconds=30)
    expect("wan-b: the tc programs had been taken away" not in log, log)
    restart(lab, "--line", "c=wan-c")
    said(lab, "line device wan-c: there is no such device; its line is down")
    restart(lab)


@cases.case("a LAN device that is made again, and forwarding that is switched off, are noticed")
def _(lab):
    net, lan, site = lab.net["ur1"], lab.net["lan1"], lab.sites[0]
    net.sysctl("net.ipv4.ip_forward", 0)
    ur.pings(lab)
    net.sysctl("net.ipv4.ip_forward", 1)
    net.sysctl("net.ipv6.conf.all.forwarding", 0)
    # As where the system's settings forward nothing: devices that are made have it off.
    net.sysctl("net.ipv4.ip_forward", 0)
    net.ip("link", "del", "lan0")
    cable(net, "lan0", lan, "eth0")
    net.addresses("lan0", f"{site.ur4}/29", f"{site.ur6}/64")
    lan.addresses("eth0", f"{site.lan4}/29", f"{site.lan6}/64")
    lan.route("default", site.ur4)
    lan.route("default", site.ur6)
    wait_until(lambda: lab.ping("lan1", t.INET4, check=False).returncode == 0, "IPv4", seconds=SOON)
    wait_until(lambda: lab.ping("lan1", t.INET6, check=False).returncode == 0, "IPv6", seconds=SOON)
    net.forward()
    # All devices lose their IPv6 routes of router advertisements then, and none of ours.
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("a router without an address of the prefix answers with the prefix's first, which stays "
            "nobody's")
def _(lab):
    net, site = lab.net["ur1"], lab.sites[0]
    net.ip("address", "del", f"{site.ur4}/29", "dev", "lan0")
    net.ip("address", "add", "192.168.7.1/24", "dev", "lan0")
    net.ip("route", "add", "203.0.113.8/29", "dev", "lan0")
    try:
        wait_until(lambda: "inet 203.0.113.8/32" in net.ip("address", "show", "dev", "dr0").stdout,
                   "the first address on the tunnel device", seconds=SOON)
        with nothing_in_clear(lab):
            told = lab.ping("inet", site.lan4, "-t", "2", check=False).stdout
        expect("From 203.0.113.8 " in told, told)
        wait_until(lambda: "203.0.113.8 dev dr0" not in net.ip("route", "show", "table", "local").stdout,
                   "no local route of it", seconds=SOON)
    finally:
        net.ip("route", "del", "203.0.113.8/29", "dev", "lan0")
        net.ip("address", "del", "192.168.7.1/24", "dev", "lan0")
        net.ip("address", "add", f"{site.ur4}/29", "dev", "lan0")
    wait_until(lambda: "203.0.113.9/32" in net.ip("address", "show", "dev", "dr0").stdout,
               "the router's own address again", seconds=SOON)


@cases.case("with --local-breakout a host that is not the site's gets out of a line, the site's own only "
            "through tunnels, and lines are no way through")
def _(lab):
    restart(lab, "--local-breakout")
    net, lan, site = lab.net["ur1"], lab.net["lan1"], lab.sites[0]
    lan.ip("address", "add", "10.7.7.7/24", "dev", "eth0")
    net.ip("address", "add", "10.7.7.1/24", "dev", "lan0")
    port, other = ports(), site.wan4("b")[0]
    try:
        with Capture(lab, "ispa", "ur1", "src host 10.7.7.7", direction="in") as capture:
            lab.ping("lan1", t.INET4, "-I", "10.7.7.7", "-W", "1", check=False)
            wait_until(capture.lines, "the packet of local break-out")
        with nothing_in_clear(lab), unseen(lab, ("ispb", "ur1"), expression=f"udp port {port}"), \
                dropped(lab, "drop.line_transit", 1), dropped(lab, "drop.line_in", 1):
            onto_line(lab, "a", udp(t.INET_IX4, other, port), udp(site.lan4, t.INET4, port))
        inwards = ports()
        with Capture(lab, *LAN, f"udp port {inwards}", direction="in") as capture:
            onto_line(lab, "a", udp(t.INET4, "10.7.7.7", inwards))
            wait_until(capture.lines, "the packet to that host")
    finally:
        lan.ip("address", "del", "10.7.7.7/24", "dev", "eth0")
        net.ip("address", "del", "10.7.7.1/24", "dev", "lan0")
    restart(lab)


def closed(lab, port):
    """Neither out nor in goes anything of the site's, with whatever is left in the kernel."""
    net, site = lab.net["ur1"], lab.sites[0]
    with nothing_in_clear(lab), unseen(lab, LAN, ("inet", "eth0"), expression=f"udp port {port}"):
        lab.ping("lan1", t.INET4, "-W", "0.5", check=False)
        lab.ping("lan1", t.INET6, "-W", "0.5", check=False)
        for family in ("-4", "-6"):
            for priority in (4754, 4755):
                net.run(["ip", family, "rule", "del", "priority", priority], check=False)
        lab.ping("lan1", t.INET4, "-W", "0.5", check=False)
        lab.ping("lan1", t.INET6, "-W", "0.5", check=False)
        onto_line(lab, "a", udp(t.INET4, site.lan4, port), udp(site.lan4, t.INET4, port))
        onto_line(lab, "b", udp(t.INET6, site.lan6, port), udp(site.lan6, t.INET6, port))
        # Behind them on the same cable, so what got through has got there.
        lab.ping("ispa", site.wan4("a")[1])
        lab.ping("ispb", site.wan4("b")[1])


@cases.case("while urd is killed the guard stays, even without urd's rules; the next run takes it over")
def _(lab):
    lab.urds["site-1"].kill()
    expect(attached(lab, "wan-a") and attached(lab, "wan-b"), "the programs are not attached")
    closed(lab, ports())
    restart(lab, end=False)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("a tunnel device that cannot be had again, because another has its name, ends urd with a "
            "message, and the guard stays")
def _(lab):
    net = lab.net["ur1"]
    with ur.stopped(lab):
        net.ip("link", "set", "dr0", "name", "other")
        net.ip("link", "add", "dr0", "type", "veth", "peer", "name", "peer0")
    wait_until(lambda: not lab.urds["site-1"].alive(), "the end of urd", seconds=SOON)
    said(lab, "urd: error: the tunnel device is called other now: giving the tunnel device its name dr0: "
              "File exists")
    closed(lab, ports())
    net.ip("link", "del", "dr0")
    restart(lab, end=False)


@cases.case("with --keep-guard the guard stays after SIGTERM too, and goes with the next run without")
def _(lab):
    restart(lab, "--keep-guard")
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    closed(lab, ports())
    restart(lab, end=False)
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    for device in ("wan-a", "wan-b"):
        kept = run(["tc", "-n", lab.net["ur1"].name, "qdisc", "show", "dev", device]).stdout
        expect("clsact" not in kept, kept)
    expect(all("4754" not in line for part in rules_and_routes(lab) for line in part),
           f"{rules_and_routes(lab)}")


@cases.case("a urd that starts with nothing but what an earlier one has left in the kernel, and no DR, lets "
            "nothing of the site out, also with --local-breakout")
def _(lab):
    net, site, port = lab.net["ur1"], lab.sites[0], ports()
    for end in ("stop", "kill"):
        restart(lab, "--local-breakout", "--keep-guard")
        whole = rules_and_routes(lab)[:2]
        expect(any("4754" in line for line in whole[0]), f"{whole}")
        lab.router.drd.stop()
        getattr(lab.urds["site-1"], end)()
        for old in (lab.directory / "urd-site-1-state").iterdir():
            old.unlink()
        # The kernel may answer the DR's keepalives: those are no packets of the site.
        with unseen(lab, ("ispa", "ur1"), ("ispb", "ur1"), expression=f"{SITE4} or {SITE6}"), \
                unseen(lab, LAN, expression=f"udp port {port}"), \
                flood(lab, t.INET_IX4), flood(lab, t.INET_IX6):
            restart(lab, "--local-breakout", "--keep-guard", end=False, up=False)
            said(lab, "urd: the guard of an earlier run goes on with its 2 prefixes")
            onto_line(lab, "a", udp(t.INET4, site.lan4, port), udp(site.lan4, t.INET4, port))
            expect(rules_and_routes(lab)[:2] == whole, f"{whole} -> {rules_and_routes(lab)[:2]}")
            # Even without the rules.
            for family in ("-4", "-6"):
                for priority in (4754, 4755):
                    while net.run(["ip", family, "rule", "del", "priority", priority],
                                  check=False).returncode == 0:
                        pass
            lab.ping("lan1", t.INET4, "-W", "0.5", check=False)
            lab.ping("lan1", t.INET6, "-W", "0.5", check=False)
        lab.router.start_drd()
        ur.wait_up(lab, seconds=40)
        wait_until(lambda now=whole: rules_and_routes(lab)[:2] == now, "the rules", seconds=SOON)
        ur.pings(lab)
    restart(lab)


@contextmanager
def flood(lab, to):
    """500 packets a second of a host of the site, all the time."""
    host = lab.net["lan1"]
    pings = subprocess.Popen([str(x) for x in host.command(["ping", "-n", "-q", "-i", "0.002", to])],
                             stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        pings.terminate()
        pings.wait()


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
