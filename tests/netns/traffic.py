#!/usr/bin/python3
"""Real traffic through both tunnels of each site, and not one wrong byte."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.process import Process
from lablib.shell import wait_until
from lablib.traffic import FileServer, download, upload

cases = Cases()
FLOWS = 16


@contextmanager
def lab_with_servers():
    with temporary_lab(sites=2) as lab:
        lab.servers = {node: FileServer(lab, node) for node in ("inet", "lan1", "lan2")}
        yield lab


def grown(lab, before, what):
    """By how much a counter of each tunnel grew, by (subscriber, line)."""
    after = lab.tunnels()
    return {key: after[key]["counters"][what] - before[key]["counters"][what] for key in after}


def on_both_lines(lab, site, before):
    for what in ("downlinkPackets", "uplinkPackets"):
        shares = grown(lab, before, what)
        for line in ("a", "b"):
            expect(shares[(site.name, line)] > 0,
                   f"the tunnel of {site.name} over line {line} carried nothing: {what} {shares}")


def tunnel_kinds(site):
    return " and ".join(f"{x['encapsulation']} over IPv{6 if ':' in x['remote'] else 4}"
                        for x in site.tunnels())


def curl_case(site, family):
    address = {4: site.lan4, 6: site.lan6}[family]
    internet = {4: t.INET4, 6: t.INET6}[family]
    lan = f"lan{site.number}"

    @cases.case(f"curl downloads files over IPv{family} in both directions through both tunnels "
                f"of {site.name} ({tunnel_kinds(site)}), checksums right")
    def _(lab):
        before = lab.tunnels()
        for _ in range(FLOWS):
            download(lab, lan, lab.servers["inet"], internet)
            download(lab, "inet", lab.servers[lan], address)
        on_both_lines(lab, site, before)


for one in (t.Site(1), t.Site(2)):
    for version in (4, 6):
        curl_case(one, version)


@cases.case("curl uploads a file in both directions over IPv4 and IPv6, checksums right")
def _(lab):
    site = lab.sites[0]
    for client, server, address in (("lan1", "inet", t.INET4), ("lan1", "inet", t.INET6),
                                    ("inet", "lan1", site.lan4), ("inet", "lan1", site.lan6)):
        upload(lab, client, server, address)


def iperf3(lab, client, server, address, *options, seconds=2):
    """The client's JSON report. The server answers one test and ends."""
    listener = Process.start(
        "iperf3 server", lab.net[server].command(["iperf3", "-s", "-1", "--forceflush"]),
        lab.directory / f"iperf3-{server}.log")
    lab.helpers.append(listener)
    try:
        wait_until(lambda: ":5201" in lab.net[server].run(["ss", "-Hltn"]).stdout,
                   "the iperf3 server")
        done = lab.net[client].run(["iperf3", "-J", "-c", address, "-t", seconds, *options],
                                   check=False, timeout=seconds + 30)
        report = json.loads(done.stdout)
        expect("error" not in report, f"iperf3 to {address}: {report.get('error')}")
        return report["end"]
    finally:
        listener.stop()
        lab.helpers.remove(listener)


def iperf3_case(site, family):
    internet = {4: t.INET4, 6: t.INET6}[family]

    @cases.case(f"iperf3 runs {FLOWS} TCP streams over IPv{family} in both directions through both "
                f"tunnels of {site.name}")
    def _(lab):
        before = lab.tunnels()
        rates = []
        for options in ((), ("-R",)):
            end = iperf3(lab, f"lan{site.number}", "inet", internet, "-P", FLOWS, *options)
            received = end["sum_received"]
            expect(received["bytes"] > 1 << 20, f"only {received['bytes']} bytes arrived")
            rates.append(received["bits_per_second"] / 1e6)
        on_both_lines(lab, site, before)
        return f"{rates[0]:.0f} Mbit/s uplink, {rates[1]:.0f} Mbit/s downlink"


for one in (t.Site(1), t.Site(2)):
    for version in (4, 6):
        iperf3_case(one, version)


@cases.case("iperf3 sends UDP at 10 Mbit/s through a tunnel without reordering in either direction")
def _(lab):
    notes = []
    for options in ((), ("-R",)):
        end = iperf3(lab, "lan1", "inet", t.INET4, "-u", "-b", "10M", "-l", "1200", *options)
        total = end["sum"]
        disordered = sum(s["udp"].get("out_of_order", 0) for s in end["streams"])
        expect(disordered == 0, f"{disordered} packets out of order")
        expect(total["lost_percent"] < 1, f"{total['lost_percent']:.1f} % lost")
        notes.append(f"{total['lost_packets']} of {total['packets']} lost")
    return ", ".join(notes)


@cases.case("two sites reach each other through the DR, in IPv4 and IPv6 (hairpin)")
def _(lab):
    before = lab.counters()["forwarded.hairpin"]
    other = lab.sites[1]
    for _ in range(4):
        download(lab, "lan1", lab.servers["lan2"], other.lan4)
        download(lab, "lan1", lab.servers["lan2"], other.lan6)
    count = lab.counters()["forwarded.hairpin"] - before
    expect(count > 1000, f"only {count} packets were counted as forwarded.hairpin")


if __name__ == "__main__":
    sys.exit(cases.run(lab_with_servers, Lab.describe))
