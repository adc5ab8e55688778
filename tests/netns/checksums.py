#!/usr/bin/python3
"""Lines that drop UDP datagrams with checksum 0, as some NAT64 and CPE do: keepalives have right
checksums, and data has them where those of 0 do not arrive. Real dr-dataplane, drd and urd; the filter
is the ISP's nftables.
"""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import faults, switching, ur
from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import temporary_lab
from lablib.packets import Capture
from lablib.shell import wait_until
from lablib.traffic import FileServer, download, upload

cases = Cases()
# Bytes of headers.
UDP, GRE_KEY, IPV4, ICMP = 8, 8, 20, 8


def attached():
    return temporary_lab(signalled={"wait_to_restore": 5, "line_b_over_ipv6": True})


def events(lab, line):
    return [e for e in lab.router.drcli_json("event", "list", "--kind", "checksums")
            if e["line"] == line]


def passes(lab):
    """Files both ways in both families, which the kernels at both sites send as segments of 64 KiB and
    leave the checksums of to others; and small packets of each parity."""
    site = lab.sites[0]
    for client, server, address in (("lan1", "inet", t.INET4), ("lan1", "inet", t.INET6),
                                    ("inet", "lan1", site.lan4), ("inet", "lan1", site.lan6)):
        download(lab, client, lab.servers[server], address, seconds=20)
        for size in (1, 2, 3, 511, 512, 1200):
            lab.ping(client, address, "-s", str(size))
    upload(lab, "lan1", "inet", t.INET4, mebibytes=1, seconds=20)


def on_line(lab):
    """(packets of data that pass line a during some pings, those with UDP checksum 0)"""
    with Capture(lab, "ispa", "ur1", "udp port 4754 and greater 800") as capture:
        lab.ping("lan1", t.INET4, "-s", "1000", "-i", "0.02", count=20)
    # Probes of the path's MTU, which have checksums, have other lengths.
    length = UDP + GRE_KEY + IPV4 + ICMP + 1000
    data = [p for p in capture.packets() if "UDP" in p and p["UDP"].len == length]
    return len(data), sum(p["UDP"].chksum == 0 for p in data)


@cases.case("on whole lines data has checksum 0, and nothing is told of checksums")
def _(lab):
    switching.wait_up(lab)
    lab.servers = {node: FileServer(lab, node) for node in ("inet", "lan1")}
    passes(lab)
    data, zero = on_line(lab)
    expect(data > 20 and zero == data, f"{zero} of {data} packets of data have checksum 0")
    for line in switching.LINES:
        ur.wait_for(lab, line, {"checksums": False})
        expect(not events(lab, line), events(lab, line))


@cases.case("a line that begins to drop checksum 0 goes on carrying, with checksums from then on")
def _(lab):
    for line in switching.LINES:
        faults.no_zero_checksums(lab, line)
    # What is lost until then is what shows it.
    lab.ping("lan1", t.INET4, "-i", "0.02", count=50, check=False)
    passes(lab)
    wait_until(lambda: events(lab, "a"), "the DR's event for line a", seconds=20)
    ur.wait_for(lab, "a", {"state": "up", "degraded": False, "checksums": True}, seconds=20)
    data, zero = on_line(lab)
    expect(data > 20 and zero == 0, f"{zero} of {data} packets of data have checksum 0")


@cases.case("lines that drop checksum 0 from the start come up, on both, and carry at once")
def _(lab):
    site = lab.sites[0]
    lab.urds[site.name].stop()
    lab.start_urd(site)
    switching.wait_up(lab)
    passes(lab)
    for line in switching.LINES:
        ur.wait_for(lab, line, {"state": "up", "degraded": False, "checksums": True})
        wait_until(lambda line=line: events(lab, line), f"the DR's event for line {line}")
    # Over IPv6 too.
    ur.link(lab, "a", False)
    ur.wait_carries(lab, "b")
    passes(lab)
    ur.link(lab, "a", True)
    shown = json.loads(lab.router.drcli("-o", "json", "event", "list", "--kind", "checksums").stdout)
    expect("checksum" in shown[0]["detail"], shown[0])


@cases.case("the devices behind which packets are finished are made again when somebody deletes them")
def _(lab):
    ur.wait_for(lab, "a", {"checksums": True}, seconds=20)
    lab.net["ur1"].ip("link", "del", "dr0-sum")
    ur.pings(lab, seconds=3)
    passes(lab)
    for device in ("dr0-sum", "dr0-summed"):
        lab.net["ur1"].ip("link", "show", device)
    expect("had been taken away" in lab.urds[lab.sites[0].name].output(), "nothing was said")


@cases.case("where they cannot be made urd says so, and lines that need no checksums work")
def _(lab):
    site = lab.sites[0]
    lab.urds[site.name].stop()
    for line in switching.LINES:
        faults.mend(lab, line)
    lab.net["ur1"].ip("link", "add", "dr0-summed", "type", "bridge")
    try:
        lab.start_urd(site)
        switching.wait_up(lab)
        passes(lab)
        expect("cannot have UDP checksums" in lab.urds[site.name].output(), "nothing was said")
    finally:
        lab.net["ur1"].ip("link", "del", "dr0-summed")


@cases.case("urd leaves no device behind")
def _(lab):
    site = lab.sites[0]
    lab.urds[site.name].stop()
    left = lab.net["ur1"].ip("-br", "link", "show").stdout
    expect("dr0" not in left, left)


if __name__ == "__main__":
    sys.exit(cases.run(attached, lambda lab: lab.describe()))
