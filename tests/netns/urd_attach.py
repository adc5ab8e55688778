#!/usr/bin/python3
"""A UR that knows its credentials: attaches, carries traffic, leaves a line, returns to it."""

import sys
from contextlib import contextmanager
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from lablib import topology as t
from lablib import ur
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture
from lablib.probe import four_probes, lost_nothing
from lablib.shell import wait_until

cases = Cases()
KEEPALIVE, IPV4, IPV6 = 0x88B5, 0x0800, 0x86DD


@contextmanager
def attached_lab():
    with temporary_lab(signalled={"wait_to_restore": 5}, emulated=True) as lab:
        yield lab


def log(lab):
    return lab.urds["site-1"].output()


@cases.case("a UR that knows only its credentials attaches, and both of its tunnels come up")
def _(lab):
    ur.wait_up(lab)
    state = ur.status(lab)
    expect(state["signalling"]["connected"] and not state["signalling"]["cached"], f"{state}")
    expect(state["subscriber"] == "site-1", f"{state}")
    wait_until(lambda: ur.status(lab)["mtu"] == 1464, "the site's MTU, as probes find it")
    ur.wait_carries(lab, "a")


@cases.case("its host reaches the Internet and is reached, over IPv4 and IPv6")
def _(lab):
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("urd status shows state, round trip, endpoint and signalling, as a table too")
def _(lab):
    one = ur.tunnel(lab, "a")
    expect(one["endpoint"] == f"{t.DR_IX4}:{ur.TUNNEL_PORT}", f"{one}")
    expect(one["rttMs"] > 0 and one["nat"] is False and one["flaps"] == 0, f"{one}")
    table = lab.urd_status(lab.sites[0])
    for text in ("connected to", "STATE", "carries", "keepalive.uplink"):
        expect(text in table, f"{text} is not in\n{table}")


def flows(capture):
    """Ends of the tunnels' packets, UR's first: (keepalives, data)."""
    from scapy.layers.inet import IP, UDP

    found = {True: set(), False: set()}
    for packet in capture.packets():
        if UDP not in packet:
            continue
        payload = bytes(packet[UDP].payload)
        kind = int.from_bytes(payload[2:4], "big") if payload[:2] == b"\x20\x00" else 0
        if kind in (KEEPALIVE, IPV4, IPV6):
            ends = (packet[IP].src, packet[UDP].sport), (packet[IP].dst, packet[UDP].dport)
            down = packet[IP].src == t.DR_IX4
            found[kind == KEEPALIVE].add(ends[::-1] if down else ends)
    return found[True], found[False]


@cases.case("without a NAT source ports carry entropy in both directions")
def _(lab):
    expect(ur.tunnel(lab, "a")["entropy"], f"{ur.tunnel(lab, 'a')}")
    with Capture(lab, "ispa", "ur1", "udp port 4754") as capture:
        lost_nothing(four_probes(lab, seconds=1))
    _, data = flows(capture)
    ours, theirs = {a for a, _ in data}, {b for _, b in data}
    expect(len(ours) > 4 and len(theirs) > 4, f"{data}")
    expect({x[0] for x in ours} == {lab.sites[0].wan4("a")[1]} and
           {x[0] for x in theirs} == {t.DR_IX4}, f"{data}")


@cases.case("behind a NAT keepalives and data have the same addresses and ports, whatever "
            "netfilter does on the UR itself")
def _(lab):
    net = lab.net["ur1"]
    net.run(["nft", "-f", "-"], stdin="""
        table ip mask { chain post { type nat hook postrouting priority 100;
            oifname "wan-*" masquerade random; }; }
        table ip closed { chain in { type filter hook input priority 0; policy accept;
            udp sport 4754 drop; }; }
        """)
    lab.line("a").nat({"inside": lab.sites[0].wan4("a")[1], "first_port": 20000})
    try:
        ur.wait_for(lab, "a", {"state": "up", "nat": True, "entropy": False})
        before = ur.status(lab)["counters"]["keepalive.downlink"]
        with Capture(lab, "ispa", "ur1", "udp port 4754") as capture:
            lost_nothing(four_probes(lab, seconds=1))
            wait_until(lambda: ur.status(lab)["counters"]["keepalive.downlink"] > before + 5,
                       "more keepalives")
        keepalives, data = flows(capture)
        expect(len(keepalives) == 1 and data == keepalives, f"{keepalives} and {data}")
    finally:
        lab.line("a").nat()
        net.run(["nft", "delete", "table", "ip", "mask"])
        net.run(["nft", "delete", "table", "ip", "closed"])
    ur.wait_for(lab, "a", {"state": "up", "nat": False, "entropy": True})


@cases.case("a line that is cut silently is left, and traffic goes on over the other")
def _(lab):
    lab.line("a").set(cut=True)
    ur.wait_carries(lab, "b")
    expect(ur.tunnel(lab, "a")["state"] != "up", "a is still up")
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("when the line is back, traffic returns after the wait, once, and no packet is lost")
def _(lab):
    moves = log(lab).count("event=move-finished")
    probes = four_probes(lab, seconds=16)
    lab.line("a").clear()
    ur.wait_carries(lab, "a", seconds=30)
    note = lost_nothing(probes)
    expect(log(lab).count("event=move-finished") == moves + 1, "it did not move once")
    return note


@cases.case("a link that goes down is left at once: nobody waits for keepalives to be missed")
def _(lab):
    ur.link(lab, "a", False)
    ur.wait_carries(lab, "b")
    expect("link is down" in ur.tunnel(lab, "a")["cause"], f"{ur.tunnel(lab, 'a')}")
    note = lost_nothing(four_probes(lab, seconds=1))
    ur.link(lab, "a", True)
    ur.wait_up(lab, "a")
    return note


@cases.case("a line whose address goes away is left at once, for one that waits to be restored too")
def _(lab):
    net, old = lab.net["ur1"], lab.sites[0].wan4("b")[1]
    net.ip("address", "del", f"{old}/24", "dev", "wan-b")
    ur.wait_carries(lab, "a")
    expect("link is down" in ur.tunnel(lab, "b")["cause"], f"{ur.tunnel(lab, 'b')}")
    return lost_nothing(four_probes(lab, seconds=1))


@cases.case("another address of a line is taken up when it comes")
def _(lab):
    net, gateway = lab.net["ur1"], lab.sites[0].wan4("b")[0]
    new = gateway.rsplit(".", 1)[0] + ".77"
    net.ip("address", "add", f"{new}/24", "dev", "wan-b")
    net.ip("route", "replace", "default", "via", gateway, "metric", "200")
    ur.wait_up(lab, "b")
    expect(ur.tunnel(lab, "b")["local"].startswith(f"{new}:"), f"{ur.tunnel(lab, 'b')}")


@cases.case("urd ends with nothing left behind")
def _(lab):
    net = lab.net["ur1"]
    expect(lab.urds["site-1"].stop(), "it did not end by SIGTERM")
    rules = net.ip("rule").stdout + net.run(["ip", "-6", "rule"]).stdout
    expect("4754" not in rules and "4755" not in rules, rules)
    for device in ("wan-a", "wan-b"):
        kept = net.run(["tc", "qdisc", "show", "dev", device]).stdout
        expect("clsact" not in kept, kept)


if __name__ == "__main__":
    sys.exit(cases.run(attached_lab, describe=Lab.describe))
