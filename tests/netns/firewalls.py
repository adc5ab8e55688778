#!/usr/bin/python3
"""Lines behind a stateful firewall without NAT, as IPv6 home gateways and cloud security groups are:
it lets in what belongs to something that has gone out, so keepalives pass, and packets from other
source ports do not. Real dr-dataplane, drd and urd; the firewall is the ISP's nftables.
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
from lablib.traffic import FileServer, download

cases = Cases()


def attached():
    return temporary_lab(signalled={"wait_to_restore": 5})


def events(lab, kind):
    return lab.router.drcli_json("event", "list", "--kind", kind)


def passes(lab, servers):
    """Twenty pings and five connections each way in each family, each a flow of its own."""
    site = lab.sites[0]
    for client, server, address in (("lan1", "inet", t.INET4), ("lan1", "inet", t.INET6),
                                    ("inet", "lan1", site.lan4), ("inet", "lan1", site.lan6)):
        lab.ping(client, address, "-i", "0.05", count=20)
        for _ in range(5):
            download(lab, client, servers[server], address, seconds=10)


@cases.case("on a whole line data has the flows' source ports once such packets were seen to pass")
def _(lab):
    switching.wait_up(lab)
    for line in switching.LINES:
        ur.wait_for(lab, line, {"entropy": True})
        wait_until(lambda line=line: [e for e in events(lab, "flow-ports") if e["line"] == line],
                   f"the DR's packets too, on line {line}")


@cases.case("with remotePort and no remote each end keeps its port in every packet, and no line goes down "
            "for the change")
def _(lab):
    site = lab.router.drcli_json("subscriber", "get", "site-1")
    flaps = {line: ur.tunnel(lab, line)["flaps"] for line in switching.LINES}

    def apply(port):
        tunnels = [{**x, "remotePort": port} if port else x for x in site["tunnels"]]
        lab.router.drcli("apply", "-f", "-", stdin=json.dumps({"subscriber": {**site, "tunnels": tunnels}}))

    def endpoints():
        return [lab.tunnels()["site-1", line]["liveness"].get("endpoint", "") for line in switching.LINES]

    apply(5000)
    wait_until(lambda: all(e.endswith(":5000") for e in endpoints()), "port 5000 at the DR")
    wait_until(lambda: not any(ur.tunnel(lab, line)["entropy"] for line in switching.LINES),
               "the router's fixed ports")
    with Capture(lab, "ix", "dr", "udp port 4754") as capture:
        for _ in range(6):
            lab.ping("lan1", t.INET4)
            lab.ping("inet", lab.sites[0].lan4)
        packets = [p for p in capture.packets() if p.haslayer("UDP")]
    pairs = {(p["UDP"].sport, p["UDP"].dport) for p in packets}
    expect(len(packets) >= 24 and pairs == {(5000, 4754), (4754, 5000)}, f"{len(packets)}: {pairs}")
    apply(None)
    for line in switching.LINES:
        ur.wait_for(lab, line, {"entropy": True})
    now = {line: ur.tunnel(lab, line)["flaps"] for line in switching.LINES}
    expect(now == flaps, f"flaps {flaps} -> {now}")


@cases.case("a firewall that appears costs no line: the keepalives' port is back at once")
def _(lab):
    lab.servers = {node: FileServer(lab, node) for node in ("inet", "lan1")}
    for line in switching.LINES:
        faults.firewall(lab, line)
    passes(lab, lab.servers)
    switching.wait_up(lab)


@cases.case("both lines behind firewalls from the start: everything passes, and no line is blamed")
def _(lab):
    since = max(e["id"] for e in lab.router.drcli_json("event", "list", "--limit", "1"))
    site = lab.sites[0]
    lab.urds[site.name].stop()
    lab.start_urd(site)
    switching.wait_up(lab)
    passes(lab, lab.servers)
    for line in switching.LINES:
        expect(not ur.tunnel(lab, line)["degraded"], ur.tunnel(lab, line))
    blamed = [e for e in events(lab, "degraded") if e["id"] > since]
    expect(not blamed, blamed)


if __name__ == "__main__":
    sys.exit(cases.run(attached, lambda lab: lab.describe()))
