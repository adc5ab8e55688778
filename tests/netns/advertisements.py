#!/usr/bin/python3
"""A neighbour at the exchange advertises a site's network as its own: the site keeps its traffic."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from scapy.layers.inet6 import (ICMPv6ND_RA, ICMPv6NDOptPrefixInfo,
                                ICMPv6NDOptRouteInfo, IPv6)
from scapy.layers.l2 import Ether

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture, inject, mac
from lablib.shell import wait_until

cases = Cases()
SITE = t.Site(1)
NETWORK = SITE.lan6.partition("::")[0] + "::"  # a /64 of the site's prefix
ELSEWHERE = "2001:db8:bad::"


def accept_ra(lab, device):
    return lab.net["dr"].run(["sysctl", "-n", f"net.ipv6.conf.{device}.accept_ra"]).stdout.strip()


def advertise(lab):
    """The networks as on-link, with a route to each, as the router of the exchange would."""
    ra = (Ether(src=mac(lab.net["ispa"], "ix0"), dst="33:33:00:00:00:01")
          / IPv6(src="fe80::bad", dst="ff02::1", hlim=255) / ICMPv6ND_RA(routerlifetime=1800))
    for network in (NETWORK, ELSEWHERE):
        ra /= ICMPv6NDOptPrefixInfo(prefix=network, prefixlen=64, L=1, A=0, validlifetime=86400,
                                    preferredlifetime=0)
        ra /= ICMPv6NDOptRouteInfo(prefix=network, plen=64, rtlifetime=1800)
    inject(lab.net["ispa"], "ix0", [bytes(ra)])


def routes(lab, network):
    listed = json.loads(lab.net["dr"].ip("-j", "-6", "route", "show", "root", network + "/64").stdout)
    return [route for route in listed if route["dst"] == network + "/64"]


def reaches_site(lab):
    """All of these packets come to the site's host, and none to the neighbour."""
    with Capture(lab, "ispa", "ix0", f"dst host {SITE.lan6} and icmp6[icmp6type]==128",
                 direction="in") as stolen:
        done = lab.net["inet"].run(["ping", "-6", "-c", "5", "-i", "0.2", "-W", "2", SITE.lan6],
                                   check=False)
    expect(done.returncode == 0 and " 0% packet loss" in done.stdout, done.stdout)
    expect(not stolen.packets(), f"the neighbour gets {len(stolen.packets())} of the packets")


def listen(lab):
    """As a machine does whose sysctls nobody has touched; the lab's nodes do not."""
    for device in ("up0", "ix0", "lo"):
        lab.net["dr"].run(["sysctl", "-qw", f"net.ipv6.conf.{device}.accept_ra=1"])
    lab.net["dr"].run(["sysctl", "-qw", "net.ipv6.conf.ix0.accept_ra_rt_info_max_plen=64"],
                      check=False)  # not every kernel has it


@cases.case("dr-dataplane switches router advertisements off on the devices of its ports, and on "
            "no other")
def _(lab):
    lab.router.dataplane.kill()
    listen(lab)
    lab.router.start_dataplane()
    lab.wait_in_sync()
    for device in ("up0", "ix0"):
        expect(accept_ra(lab, device) == "0", f"{device}: accept_ra is {accept_ra(lab, device)}")
    expect(accept_ra(lab, "lo") == "1", "it is off on another device too")


@cases.case("an advertisement of a site's network makes no route, and the site is reached")
def _(lab):
    advertise(lab)
    reaches_site(lab)
    for network in (NETWORK, ELSEWHERE):
        expect(not routes(lab, network), f"{network}: {routes(lab, network)}")


@cases.case("what was advertised before the start of dr-dataplane takes nothing away")
def _(lab):
    lab.router.dataplane.kill()
    listen(lab)
    advertise(lab)
    wait_until(lambda: routes(lab, NETWORK), "the kernel's route, without which this proves nothing",
               seconds=5)
    lab.router.start_dataplane()
    lab.wait_in_sync()
    reaches_site(lab)
    expect(routes(lab, NETWORK), "the kernel's route has gone meanwhile")


@cases.case("where somebody has switched them on again, the kernel's route takes nothing away")
def _(lab):
    listen(lab)
    advertise(lab)
    wait_until(lambda: routes(lab, NETWORK), "the kernel's route, without which this proves nothing",
               seconds=5)
    reaches_site(lab)


if __name__ == "__main__":
    sys.exit(cases.run(lambda: temporary_lab(sites=1), Lab.describe))
