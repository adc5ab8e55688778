#!/usr/bin/python3
"""Whose packets are dropped: `drcli stats drops --last`, and the drops of `drcli tunnel get`."""

import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import GRE, Ether

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import inject, mac
from lablib.shell import wait_until

cases = Cases()
SITE, OTHER = t.Site(1), t.Site(2)


def tunnel_id(lab, line, site=SITE):
    return lab.tunnels()[(site.name, line)]["tunnel"]["id"]


def frame(lab, key, *, inner=SITE.lan4, site=SITE, udp=True):
    """A packet of a host of the site, as it leaves the router on line a; bytes."""
    outer = IP(src=site.wan4("a")[1], dst=t.DR_IX4)
    if udp:
        outer /= UDP(sport=50000, dport=4754, chksum=0)
    return bytes(Ether(src=mac(lab.net[f"ur{site.number}"], "wan-a"),
                       dst=mac(lab.net["ispa"], f"ur{site.number}"))
                 / outer / GRE(key_present=1, key=key, proto=0x0800)
                 / IP(src=inner, dst=t.INET4) / UDP(sport=5000, dport=7) / bytes(20))


def latest(lab, reason):
    return lab.router.drcli_json("stats", "drops", "--last", reason)


def dropped(lab, reason, sent, *, node="ur1", device="wan-a", count=1):
    """The latest packet that drcli shows of a reason, once `count` such frames are counted."""
    before = lab.counters()[reason]
    inject(lab.net[node], device, [sent] * count)
    wait_until(lambda: lab.counters()[reason] >= before + count, reason, seconds=5)
    return latest(lab, reason)[0]


def text_of(lab, *arguments, code=0):
    done = subprocess.run([str(x) for x in lab.router.drcli_command(*arguments)], text=True,
                          capture_output=True, check=False, timeout=30)
    expect(done.returncode == code, f"{arguments}: exit {done.returncode}: {done.stderr}")
    return done.stdout if code == 0 else done.stderr


@cases.case("a key of an earlier provisioning is shown with its sender, and the site that it "
            "claims to be")
def _(lab):
    used = {tunnel["tunnel"]["id"] & 0xFFFFFF for tunnel in lab.tunnels().values()}
    key = 7 << 24 | next(n for n in range(1, 100) if n not in used)
    sent = frame(lab, key)
    packet = dropped(lab, "drop.unknown_tunnel", sent)
    expect(packet["source"] == f"{SITE.wan4('a')[1]}:50000", f"{packet}")
    expect(packet["destination"] == f"{t.DR_IX4}:4754", f"{packet}")
    expect(packet["key"] == key and packet["port"] == "ix0" and not packet["leaving"], f"{packet}")
    expect(packet["length"] == len(sent), f"{packet}, {len(sent)} were sent")
    expect(packet["innerSource"] == f"{SITE.lan4}:5000", f"{packet}")
    expect((packet["knownBy"], packet["subscriber"]) == ("INNER_SOURCE", SITE.name), f"{packet}")
    table = text_of(lab, "stats", "drops", "--last", "unknown_tunnel").splitlines()
    expect("WHOSE" in table[0] and f"{SITE.name}, by its inner source" in table[1], f"{table}")


@cases.case("a key of another generation is of nobody by its slot, and of its sender by its address")
def _(lab):
    packet = dropped(lab, "drop.stale_generation",
                     frame(lab, tunnel_id(lab, "a") ^ 0x80000000, inner="192.0.2.77"))
    expect((packet["knownBy"], packet["subscriber"], packet["tunnelId"])
           == ("OUTER_SOURCE", SITE.name, 0), f"{packet}")


@cases.case("a tunnel in the wrong encapsulation is named, and counts what it loses by reason")
def _(lab):
    key = tunnel_id(lab, "a")
    packet = dropped(lab, "drop.encap_mismatch", frame(lab, key, udp=False), count=30)
    expect((packet["knownBy"], packet["subscriber"], packet["line"], packet["tunnelId"])
           == ("TUNNEL", SITE.name, "a", key), f"{packet}")
    dropped(lab, "drop.inner_source", frame(lab, key, inner=OTHER.lan4), count=2)
    got = lab.router.drcli_json("tunnel", "get", str(key))
    expect(got["drops"] == [{"exit": "drop.encap_mismatch", "packets": 30},
                            {"exit": "drop.inner_source", "packets": 2}], f"{got['drops']}")
    shown = text_of(lab, "tunnel", "get", str(key))
    expect("32 packets: drop.encap_mismatch 30, drop.inner_source 2" in shown, shown)
    other = lab.router.drcli_json("tunnel", "get", str(tunnel_id(lab, "b")))
    expect(other["drops"] == [], f"{other['drops']}")


@cases.case("a packet too large for a tunnel, that no error may answer, counts for the tunnel")
def _(lab):
    inet = lab.net["inet"]
    # An ICMP error with DF: nobody answers it.
    big = bytes(Ether(src=mac(inet, "eth0"), dst=mac(lab.net["dr"], "up0"))
                / IP(src=t.INET4, dst=SITE.lan4, flags="DF", proto=1)
                / (b"\x03\x01" + bytes(1478)))
    packet = dropped(lab, "drop.too_big", big, node="inet", device="eth0")
    expect((packet["knownBy"], packet["subscriber"], packet["port"])
           == ("TUNNEL", SITE.name, "up0"), f"{packet}")
    drops = lab.router.drcli_json("tunnel", "get", str(packet["tunnelId"]))["drops"]
    expect({"exit": "drop.too_big", "packets": 1} in drops, f"{drops}")


@cases.case("a packet for an address that nobody has is shown, and is nobody's")
def _(lab):
    inet = lab.net["inet"]
    sent = bytes(Ether(src=mac(inet, "eth0"), dst=mac(lab.net["dr"], "up0"))
                 / IP(src=t.INET4, dst="203.0.113.250") / UDP(sport=5000, dport=7))
    packet = dropped(lab, "drop.no_subscriber", sent, node="inet", device="eth0")
    expect(packet["knownBy"] == "KNOWN_BY_UNSPECIFIED" and not packet["subscriber"], f"{packet}")
    expect(packet["destination"] == "203.0.113.250:7" and "key" not in packet, f"{packet}")


@cases.case("of a flood the latest are shown, newest first, and no more than asked for")
def _(lab):
    sent = frame(lab, 0x09FFFFFE)
    for _ in range(5):
        dropped(lab, "drop.unknown_tunnel", sent, count=400)
    packets = latest(lab, "drop.unknown_tunnel")
    expect(2 <= len(packets) <= 16, f"{len(packets)}")
    expect([p["at"] for p in packets] == sorted((p["at"] for p in packets), reverse=True), "order")
    few = lab.router.drcli_json("stats", "drops", "--last", "drop.unknown_tunnel", "--limit", "1")
    expect(len(few) == 1, f"{few}")


@cases.case("a reason that does not exist, or was no drop, is refused; one without packets is empty")
def _(lab):
    for name in ("nosuch", "forwarded.uplink"):
        said = text_of(lab, "stats", "drops", "--last", name, code=1)
        expect("is the name of a drop reason" in said, said)
    expect(latest(lab, "drop.hairpin_self") == [], "packets that nobody sent")


@cases.case("with the data plane away its notes are away, which is said; a new start has none")
def _(lab):
    lab.router.dataplane.kill()
    wait_until(lambda: lab.router.drcli_json("system", "status")["dataplaneState"] == "ABSENT",
               "ABSENT")
    said = text_of(lab, "stats", "drops", "--last", "drop.unknown_tunnel", code=1)
    expect("the data plane is away" in said, said)
    lab.router.start_dataplane()
    lab.wait_in_sync()
    expect(latest(lab, "drop.unknown_tunnel") == [], "notes of the last start")
    key = tunnel_id(lab, "a")
    expect(lab.router.drcli_json("tunnel", "get", str(key))["drops"] == [], "counts of it")


if __name__ == "__main__":
    sys.exit(cases.run(lambda: temporary_lab(sites=2), Lab.describe))
