#!/usr/bin/python3
"""The edge towards strangers: forged sources, tags of VLANs, outer options, and lies about MACs."""

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from scapy.layers.inet import IP, UDP, IPOption_LSRR
from scapy.layers.inet6 import (ICMPv6ND_NA, ICMPv6NDOptDstLLAddr, IPv6,
                                IPv6ExtHdrDestOpt, PadN)
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether

from lablib import topology as t
from lablib.cases import Cases, expect
from lablib.lab import Lab, temporary_lab
from lablib.packets import Capture, inject, mac
from lablib.shell import wait_until

cases = Cases()
SITE, OTHER = t.Site(1), t.Site(2)
COUNT = 20
LIAR = "02:00:00:00:06:66"


def count_up(lab, counter, node, device, frame):
    """COUNT times the frame; all must be counted there, and no more."""
    before = lab.counters()[counter]
    inject(lab.net[node], device, [frame] * COUNT)
    wait_until(lambda: lab.counters()[counter] >= before + COUNT, counter, seconds=5)
    expect(lab.counters()[counter] == before + COUNT, f"{counter} counted too many")


def to_site(lab, source, destination):
    ip = IPv6 if ":" in source else IP
    return bytes(Ether(src=mac(lab.net["inet"], "eth0"), dst=mac(lab.net["dr"], "up0"))
                 / ip(src=source, dst=destination) / UDP(sport=5000, dport=7) / b"forged")


@cases.case("from the Internet, a source of a site, of a pool or of the DR is dropped: "
            "drop.ingress_source")
def _(lab):
    forged = [(s, SITE.lan4) for s in (OTHER.lan4, SITE.lan4, "203.0.113.250", t.DR_UP4, t.DR_IX4)]
    forged += [(s, SITE.lan6) for s in (OTHER.lan6, SITE.lan6, "2001:db8:50ff::1", t.DR_UP6, t.DR_IX6)]
    with Capture(lab, "lan1", "eth0", "udp and dst port 7", direction="in") as capture:
        for source, destination in forged:
            count_up(lab, "drop.ingress_source", "inet", "eth0",
                     to_site(lab, source, destination))
        # The Internet host itself is heard, after all of these.
        for source, destination in ((t.INET4, SITE.lan4), (t.INET6, SITE.lan6)):
            inject(lab.net["inet"], "eth0", [to_site(lab, source, destination)])
        wait_until(lambda: len(capture.packets()) >= 2, "two packets at the site", seconds=5)
    expect(len(capture.packets()) == 2, f"{len(capture.packets())} packets came to the site")


def tunnel_packet(lab, *, tag=None, options=(), extension=None):
    """Data as the UR sends it on line a (IPv4), or on line b (IPv6) with an extension header."""
    line = "b" if extension else "a"
    tunnel = lab.tunnels()[(SITE.name, line)]["tunnel"]
    inner = IP(src=SITE.lan4, dst=t.INET4) / UDP(sport=5000, dport=7) / b"data"
    gre = GRE(key_present=1, key=tunnel["id"], proto=0x0800) / inner
    frame = Ether(src=mac(lab.net[f"isp{line}"], "ix0"), dst=mac(lab.net["dr"], "ix0"))
    if tag is not None:
        frame /= Dot1Q(vlan=tag, prio=5)
    if extension:
        return bytes(frame / IPv6(src=tunnel["remote"], dst=tunnel["local"]) / extension / gre)
    return bytes(frame / IP(src=tunnel["remote"], dst=tunnel["local"], options=list(options))
                 / UDP(sport=50000, dport=4754, chksum=0) / gre)


@cases.case("a tunnel packet with a source route or an extension header outside is refused: "
            "drop.outer_options")
def _(lab):
    count_up(lab, "forwarded.uplink", "ispa", "ix0", tunnel_packet(lab))
    count_up(lab, "drop.outer_options", "ispa", "ix0",
             tunnel_packet(lab, options=[IPOption_LSRR(routers=[t.DR_IX4])]))
    count_up(lab, "drop.outer_options", "ispb", "ix0",
             tunnel_packet(lab, extension=IPv6ExtHdrDestOpt(nh=47, options=[PadN(optdata=b"0" * 4)])))


@cases.case("dr-dataplane has the devices of its ports leave VLAN tags in the frames")
def _(lab):
    for device in ("up0", "ix0"):
        features = lab.net["dr"].run(["ethtool", "-k", device]).stdout
        for feature in ("rx-vlan-offload", "rx-vlan-stag-hw-parse"):
            expect(f"{feature}: off" in features, f"{device}: {feature} is on")


@cases.case("a frame with a priority tag, of VLAN 0, counts as untagged")
def _(lab):
    count_up(lab, "forwarded.uplink", "ispa", "ix0", tunnel_packet(lab, tag=0))


@cases.case("frames of VLANs are not taken for untagged ones: nothing of them comes out")
def _(lab):
    def handled():
        """Without what goes to the site: the Internet host answers with port unreachable."""
        return {name: count for name, count in lab.counters().items()
                if name.startswith(("forwarded.uplink", "drop.", "icmp."))}

    before = handled()
    with Capture(lab, "inet", "eth0", "udp and dst port 7", direction="in") as capture:
        for vlan in (5, 200, 4094):
            inject(lab.net["ispa"], "ix0", [tunnel_packet(lab, tag=vlan)] * COUNT)
        inject(lab.net["ispa"], "ix0", [tunnel_packet(lab)])  # handled after all of these
        wait_until(lambda: len(capture.packets()) >= 1, "the packet without a tag", seconds=5)
    expect(len(capture.packets()) == 1, f"{len(capture.packets())} packets came out")
    after = handled()
    changed = {name: after[name] - before[name] for name in after if after[name] != before[name]}
    expect(changed == {"forwarded.uplink": 1}, f"counted: {changed}")


def lies(lab):
    """Unasked, the liar tells the DR that the Internet host's addresses are its own."""
    inet, dr = mac(lab.net["inet"], "eth0"), mac(lab.net["dr"], "up0")
    arp = Ether(src=inet, dst=dr) / ARP(op=2, hwsrc=LIAR, psrc=t.INET4, hwdst=dr, pdst=t.DR_UP4)
    nd = (Ether(src=inet, dst=dr) / IPv6(src=t.INET6, dst=t.DR_UP6, hlim=255)
          / ICMPv6ND_NA(tgt=t.INET6, R=1, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=LIAR))
    inject(lab.net["inet"], "eth0", [bytes(arp), bytes(nd)] * 3)


def neighbour(lab, address):
    entries = json.loads(lab.net["dr"].ip("-j", "neighbour", "show", address, "dev", "up0").stdout)
    return entries[0].get("lladdr") if entries else None


@cases.case("a lie about the gateway's MAC address is believed of a learned neighbour, and not of "
            "a permanent one")
def _(lab):
    right = mac(lab.net["inet"], "eth0")
    for address in (t.INET4, t.INET6):
        lab.ping("dr", address)
        expect(neighbour(lab, address) == right, f"{address} is at {neighbour(lab, address)}")
    lies(lab)
    for address in (t.INET4, t.INET6):
        wait_until(lambda a=address: neighbour(lab, a) == LIAR,
                   f"the lie about {address}, without which this proves nothing", seconds=5)
        lab.net["dr"].ip("neighbour", "replace", address, "lladdr", right, "nud", "permanent",
                         "dev", "up0")
    lies(lab)
    for address in (t.INET4, t.INET6):
        lab.ping("lan1", address, count=3)  # handled after the lies
        expect(neighbour(lab, address) == right, f"{address} is at {neighbour(lab, address)}")
    for address in (t.INET4, t.INET6):
        lab.net["dr"].ip("neighbour", "del", address, "dev", "up0")


if __name__ == "__main__":
    sys.exit(cases.run(lambda: temporary_lab(sites=2), Lab.describe))
