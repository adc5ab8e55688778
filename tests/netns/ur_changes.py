#!/usr/bin/python3
"""What others change on a site's router, its devices, routes, forwarding and IPv6: urd follows it or puts
it back, within a second, and says so."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

import time

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.guard import nothing_in_clear
from lablib.lab import Lab, temporary_lab
from lablib.netns import cable
from lablib.probe import Probe, four_probes, lost_nothing
from lablib.process import Process
from lablib.shell import LabError, wait_until

cases = Cases()
# "Within a second", with what a loaded machine may need.
SOON = 5


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 1}) as lab:
        settled(lab)
        yield lab


def settled(lab):
    """Until both lines are up, and the routes have the path MTU that was found."""
    ur.wait_up(lab, seconds=20)
    for family in (4, 6):
        wait_until(lambda f=family: " mtu 1464" in lab.net["ur1"].ip(
            f"-{f}", "route", "show", "table", "4754").stdout, "the path MTU in the routes")


def log(lab):
    """Of the urd that runs now: those before wrote to the same file."""
    return lab.urds["site-1"].output().rpartition("urd: ready")[2]


def said(lab, text):
    wait_until(lambda: text in log(lab), f"a line that says: {text}", seconds=SOON)


def both_families(lab, seconds=SOON):
    for address in (t.INET4, t.INET6):
        wait_until(lambda to=address: lab.ping("lan1", to, "-W", "0.5", check=False).returncode == 0,
                   f"an answered ping to {address}", seconds=seconds)


def flaps(lab):
    return {x["line"]: x["flaps"] for x in ur.status(lab)["tunnels"]}


def restart(lab, *options, lan=True):
    """A urd with more on its command line, or without the LAN's name."""
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    before = () if lan else ("sh", "-c", 'set -- "$@"; n=$#; for x; do shift; case "$x" in --lan|lan0) ;; '
                                         '*) set -- "$@" "$x";; esac; done; exec "$@"', "sh")
    lab.start_urd(lab.sites[0], before, options)
    settled(lab)


def rules_and_routes(lab):
    net = lab.net["ur1"]
    rules = [sorted(x for x in net.ip(f"-{family}", "rule").stdout.splitlines() if x.startswith("475"))
             for family in (4, 6)]
    return rules + [sorted(net.ip(f"-{family}", "route", "show", "table", "4754").stdout.splitlines())
                    for family in (4, 6)]


def whole_again(lab, whole):
    try:
        wait_until(lambda: rules_and_routes(lab) == whole, "all rules and routes", seconds=SOON)
    except LabError as error:
        raise LabError(f"{error}\nbefore {whole}\nnow    {rules_and_routes(lab)}") from error


@cases.case("a tunnel device that somebody deletes is made again, twice; the lines go on, nothing leaves in "
            "clear, and the event says so")
def _(lab):
    net, before, whole = lab.net["ur1"], flaps(lab), rules_and_routes(lab)
    for _ in range(2):
        with nothing_in_clear(lab):
            net.ip("link", "del", "dr0")
            both_families(lab)
        whole_again(lab, whole)
    said(lab, 'event=restored what="the tunnel device dr0 had been removed; made again"')
    expect(flaps(lab) == before, f"{before} -> {flaps(lab)}")
    expect(all(x["state"] == "UP" for x in lab.tunnels().values()), f"{lab.tunnels()}")
    # What the kernel says of a packet that expires at the router has its address again.
    told = lab.ping("inet", lab.sites[0].lan6, "-t", "2", check=False).stdout
    expect(f"From {lab.sites[0].ur6} " in told, told)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("a tunnel device that somebody renames, or gives another MTU, has its own again")
def _(lab):
    net, before = lab.net["ur1"], flaps(lab)
    mtu = "mtu " + net.ip("link", "show", "dr0").stdout.split(" mtu ")[1].split()[0]
    whole = rules_and_routes(lab)
    net.ip("link", "set", "dr0", "name", "other")
    said(lab, 'event=restored what="the tunnel device was called other; it is called dr0 again"')
    net.ip("link", "set", "dr0", "mtu", "1300")
    wait_until(lambda: f" {mtu} " in net.ip("link", "show", "dr0").stdout, mtu, seconds=SOON)
    whole_again(lab, whole)
    expect(flaps(lab) == before, f"{before} -> {flaps(lab)}")
    both_families(lab)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("the tunnel device down and up, and all rules and routes flushed, leave nothing in clear and "
            "cost at most seconds")
def _(lab):
    net, whole = lab.net["ur1"], rules_and_routes(lab)

    def flush_rules():
        for family in ("-4", "-6"):
            net.ip(family, "rule", "flush")
            for priority, table in ((0, "local"), (32766, "main"), (32767, "default")):
                net.run(["ip", family, "rule", "add", "priority", priority, "lookup", table], check=False)

    def down_and_up():
        net.ip("link", "set", "dr0", "down")
        net.ip("link", "set", "dr0", "up")

    for disturb in (down_and_up, flush_rules, lambda: net.ip("route", "flush", "table", "4754")):
        with nothing_in_clear(lab):
            disturb()
            both_families(lab)
        whole_again(lab, whole)


@cases.case("a program that takes the rules away again and again costs one repair a second, and one line a "
            "minute")
def _(lab):
    net = lab.net["ur1"]
    restart(lab)
    both_families(lab)
    watch = Process.start("ip monitor", net.command(["stdbuf", "-oL", "ip", "-4", "monitor", "rule"]),
                          lab.directory / "rules.log")
    lab.helpers.append(watch)
    fight = Process.start("a fight", net.command([
        "sh", "-c", "for i in $(seq 400); do ip rule del priority 4755 2>/dev/null; sleep 0.02; done; "
                    "echo over"]), lab.directory / "fight.log")
    lab.helpers.append(fight)
    started = time.monotonic()
    wait_until(lambda: "over" in fight.output(), "the end of the fight", seconds=60)
    seconds = time.monotonic() - started
    both_families(lab)
    # Deleted ones are told too, with another first word. A repair puts up to two rules back.
    added = [x for x in watch.output().splitlines() if x.startswith("4755:")]
    lines = [x for x in log(lab).splitlines() if "of urd's rules had been taken away" in x]
    expect(2 <= len(added) <= 2 * (seconds + 8), f"{len(added)} rules put back in {seconds:.1f} s")
    expect(len(lines) == 1, "\n".join(lines))
    return f"{len(added)} rules put back in {seconds:.1f} s, {len(lines)} line"


@cases.case("forwarding of all devices, which a urd without a LAN device needs, is switched on again")
def _(lab):
    net = lab.net["ur1"]
    restart(lab, lan=False)
    both_families(lab)
    for setting in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        net.sysctl(setting, 0)
        both_families(lab)
    said(lab, "/proc/sys/net/ipv4/ip_forward was not 1; set again")
    said(lab, "/proc/sys/net/ipv6/conf/all/forwarding was not 1; set again")
    # The kernel takes routes of router advertisements away, not the lab's.
    restart(lab)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("a LAN device that is made long after urd forwards as soon as it is there")
def _(lab):
    net, lan, site = lab.net["ur1"], lab.net["lan1"], lab.sites[0]
    net.ip("link", "del", "lan0")
    net.sysctl("net.ipv4.ip_forward", 0)
    net.sysctl("net.ipv6.conf.all.forwarding", 0)
    restart(lab)
    cable(net, "lan0", lan, "eth0")
    net.addresses("lan0", f"{site.ur4}/29", f"{site.ur6}/64")
    lan.addresses("eth0", f"{site.lan4}/29", f"{site.lan6}/64")
    lan.route("default", site.ur4)
    lan.route("default", site.ur6)
    both_families(lab)
    said(lab, "/proc/sys/net/ipv4/conf/lan0/forwarding was not 1; set again")
    net.forward()
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("IPv6 that is switched off while urd runs costs the site's IPv6 alone, and not the guard on it; "
            "the log names the setting once, and IPv6 is back with it")
def _(lab):
    net = lab.net["ur1"]
    restart(lab, "--local-breakout")
    attached = ur.status(lab)["signalling"]["generation"]
    setting = "net.ipv6.conf.dr0.disable_ipv6"
    with nothing_in_clear(lab):
        net.sysctl(setting, 1)
        wait_until(lambda: ur.status(lab)["leftOutPrefixes"], "a prefix that is left out", seconds=SOON)
        expect(lab.ping("lan1", t.INET6, "-W", "0.5", check=False).returncode != 0, "IPv6 goes on")
        lost_nothing([Probe(lab, "lan1", "inet", t.INET4, seconds=1)])
    expect(log(lab).count("net.ipv6.conf.all.disable_ipv6") == 1, log(lab))
    expect(log(lab).count("warning:") == 1, log(lab))
    net.sysctl(setting, 0)
    both_families(lab)
    expect(not ur.status(lab)["leftOutPrefixes"], f"{ur.status(lab)['leftOutPrefixes']}")
    expect(ur.status(lab)["signalling"]["generation"] == attached, f"{ur.status(lab)['signalling']}")
    restart(lab)
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("with IPv6 off at the start the attachment is in force, and with it on again the site has IPv6 "
            "without a restart")
def _(lab):
    net, site = lab.net["ur1"], lab.sites[0]
    expect(lab.urds["site-1"].stop(), "urd did not end by SIGTERM")
    before = lab.urds["site-1"].output()
    for name in ("all", "default"):
        net.sysctl(f"net.ipv6.conf.{name}.disable_ipv6", 1)
    lab.start_urd(site)
    ur.wait_up(lab, "a", seconds=20)
    wait_until(lambda: lab.ping("lan1", t.INET4, "-W", "0.5", check=False).returncode == 0, "IPv4",
               seconds=SOON)
    wait_until(lambda: ur.status(lab)["signalling"]["connected"], "an attachment", seconds=20)
    said = lab.urds["site-1"].output()[len(before):]
    expect("error" not in said and said.count("net.ipv6.conf.all.disable_ipv6") == 1, said)
    for name in ("all", "default"):
        net.sysctl(f"net.ipv6.conf.{name}.disable_ipv6", 0)
    theirs, ours = site.wan6()
    net.ip("address", "replace", f"{ours}/64", "dev", "wan-b", "nodad")
    net.ip("address", "replace", f"{site.ur6}/64", "dev", "lan0", "nodad")
    net.ip("-6", "route", "replace", "default", "via", theirs, "dev", "wan-b")
    both_families(lab)
    ur.wait_up(lab, seconds=20)


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
