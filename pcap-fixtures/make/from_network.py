"""Frames from the network that go nowhere, each under its own name."""

import struct

from lib.answers import answered, answered_in_tunnel
from lib.case import Case
from lib.forward import NO_LINE, NOBODY, checksummed, encapsulated, hop, out_of_tunnel
from lib.model import OTHER4, OTHER6, SITE4, SITE6, Subscriber, other, site
from lib.packets import echo, ether, ip, sent, tcp, udp
from lib.topology import (DR4, DR6, GATEWAY4, GATEWAY6, GATEWAY_MAC, HOST4, HOST6, UP_MAC, up0)
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6DestUnreach, ICMPv6ND_NS, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Raw

GOOD = [udp(HOST4, SITE4), udp(HOST6, SITE6)]


def bad(packet, at, value, fix=False):
    """The packet's bytes with some replaced; `fix`: IPv4 checksum right again."""
    data = bytearray(bytes(packet))
    data[at:at + len(value)] = value
    return checksummed(data) if fix else bytes(data)


def among_good(case, frames, **counters):
    """Bad frames in front of, between and after good ones, which must pass unharmed."""
    customer = site()
    good_in = [ether(p) for p in GOOD]
    good_out = [sent(encapsulated(customer, p)) for p in GOOD]
    half = len(frames) // 2
    return case.provision(customer) \
        .send([*frames[:half], good_in[0], *frames[half:], good_in[1]], good_out) \
        .counters(forwarded__downlink=2, **counters)


def _ethernet():
    other = ether(udp(HOST4, SITE4), dst="02:00:00:00:00:99")
    tagged = bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC) / Dot1Q(vlan=7) / udp(HOST4, SITE4))
    local = bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC, type=0x88B5) / Raw(b"x" * 50))
    double = bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC, type=0x88A8) / Dot1Q(vlan=0, type=0x8100) /
                   Dot1Q(vlan=0) / udp(HOST4, SITE4))
    vlans = [tagged, double, bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC) / Dot1Q(vlan=0) /
                                   Dot1Q(vlan=5) / udp(HOST4, SITE4))]
    vlans += [bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC) / Dot1Q(vlan=v, prio=5) / p)
              for v in (1, 4095) for p in (udp(HOST4, SITE4), udp(HOST6, SITE6))]
    return [
        _priority_tags(),
        among_good(Case("vlan", "frames of a VLAN, of one in another, and of two tags are dropped"),
                   vlans, drop__vlan=len(vlans)),
        among_good(Case("not-for-us", "a frame for another station's address is dropped"),
                   [other, other], drop__not_for_us=2),
        among_good(Case("unknown-ethertype", "ethertypes other than those of IP are dropped"),
                   [local, bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC) / Dot1Q(vlan=0, type=0x88B5) /
                                 Raw(b"x" * 50))], drop__unknown_ethertype=2)]


def _priority_tags():
    """IEEE 802.1Q §9.6: a tag of VLAN 0 says a priority, and the frame is of no VLAN."""
    customer = site()
    line = customer.tunnels[0]
    up = udp(SITE4, HOST4)

    def tagged(packet, **tag):
        return bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC) / Dot1Q(vlan=0, **tag) / packet)

    down = [udp(HOST4, SITE4), udp(HOST6, SITE6), udp(HOST4, SITE4, size=0)]
    frames = [tagged(p, prio=n) for n, p in enumerate(down)] + [
        tagged(down[0], prio=7, id=1) + b"\xee" * 9,
        bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC, type=0x88A8)) +
        bytes(Dot1Q(vlan=0, prio=3) / down[1])]
    short = [tagged(down[0])[:n] for n in (17, 18, 18 + 19)]
    arp = bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC) / Dot1Q(vlan=0) /
                ARP(op=1, hwsrc=GATEWAY_MAC, psrc=GATEWAY4, pdst=DR4))
    return Case("vlan-0", "a frame that is tagged with a priority alone counts as untagged") \
        .provision(customer) \
        .send([*frames, *short, arp, tagged(out_of_tunnel(line, up), prio=6)],
              [*(sent(encapsulated(customer, p)) for p in [*down, down[0], down[1]]), sent(hop(up))]) \
        .counters(forwarded__downlink=len(frames), forwarded__uplink=1, drop__no_kernel=1,
                  drop__too_short=len(short))


def _short():
    whole4, whole6 = ether(udp(HOST4, SITE4)), ether(udp(HOST6, SITE6))
    frames = [whole4[:13], whole4[:14], whole4[:14 + 19], whole6[:14 + 39], whole6[:15]]
    return among_good(Case("too-short", "frames that end before the IP header does are dropped"),
                      frames, drop__too_short=len(frames))


def _lying_ipv4():
    p = udp(HOST4, SITE4)
    size = len(p)
    lies = [bad(p, 0, b"\x55", fix=True), bad(p, 0, b"\x44"), bad(p, 0, b"\x4f"),
            bad(p, 2, struct.pack(">H", size + 1), fix=True),
            bad(p, 2, struct.pack(">H", 19), fix=True), bad(p, 2, b"\xff\xff", fix=True)]
    # Header length beyond the packet: 60 bytes claimed, 52 there.
    lies[2] = bad(bytes(udp(HOST4, SITE4, size=24)), 0, b"\x4f")
    frames = [bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC, type=0x0800)) + lie for lie in lies]
    wrong = bytearray(bytes(p))
    wrong[10] ^= 0xFF
    ttl = bytearray(bytes(p))
    ttl[8] ^= 1
    return [
        among_good(Case("bad-ipv4", "IPv4 headers that lie about version or a length are dropped"),
                   frames, drop__bad_ipv4=len(frames)),
        among_good(Case("bad-checksum", "a wrong IPv4 header checksum is seen"),
                   [ether(bytes(wrong)), ether(bytes(ttl))], drop__bad_checksum=2)]


def _lying_ipv6():
    p = udp(HOST6, SITE6)
    lies = [bad(p, 0, b"\x50"), bad(p, 4, struct.pack(">H", len(p) - 39)), bad(p, 4, b"\xff\xff"),
            bad(p, 0, b"\x40")]
    frames = [bytes(Ether(src=GATEWAY_MAC, dst=UP_MAC, type=0x86DD)) + lie for lie in lies]
    return among_good(Case("bad-ipv6", "IPv6 headers that lie about version or length are dropped"),
                      frames, drop__bad_ipv6=len(frames))


def _martians():
    four = ["127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.1.2.3"]
    six = ["::1", "::", "ff02::1", "::ffff:93.184.216.34"]
    frames = [ether(udp(s, SITE4)) for s in four] + [ether(udp(s, SITE6)) for s in six]
    # RFC 4291 §2.5.6.
    near = Case("link-local-source", "a packet from a link-local address does not leave its link") \
        .provision(site()).send([ether(udp("fe80::5", SITE6))]).counters(drop__martian_source=1)
    return [
        near, _link_local4(),
        among_good(Case("martian-source", "sources that can be nobody's are dropped"),
                   frames, drop__martian_source=len(frames))]


def _link_local4():
    """RFC 3927 §7: neither as source nor as destination, also where a port has that network."""
    port = up0()
    port["addresses"] = [*port["addresses"], "169.254.7.1/16"]
    port["neighbours"] = [*port["neighbours"], {"address": "169.254.7.2", "mac": GATEWAY_MAC}]
    customer = site()
    line = customer.tunnels[0]
    down = [udp(s, SITE4) for s in ("169.254.0.1", "169.254.255.255", "169.254.7.1", "169.254.7.2")]
    up = [udp(SITE4, d) for d in ("169.254.0.1", "169.254.255.255", "169.254.7.2", "169.254.9.9")]
    near = [udp(s, SITE4) for s in ("169.253.255.255", "169.255.0.0")]
    beside = udp(SITE4, "169.253.255.255")
    # With its neighbours on the link the router itself may speak: it has nowhere to hand this to.
    own = udp("169.254.7.2", "169.254.7.1")
    return Case("link-local-v4", "169.254/16 is not forwarded, from the network or from a site",
                ports=[port]).provision(customer) \
        .send([ether(p) for p in (*down, *near, own)] +
              [ether(out_of_tunnel(line, p)) for p in (*up, beside)],
              [*(sent(encapsulated(customer, p)) for p in near), sent(hop(beside))]) \
        .counters(drop__martian_source=len(down), drop__no_route=len(up), drop__no_kernel=1,
                  forwarded__downlink=len(near), forwarded__uplink=1)


def _forged():
    """BCP 38, BCP 84: sites' packets come out of tunnels, and the router's own are its own."""
    four = ["203.0.113.10", "203.0.113.9", OTHER4, "203.0.113.0", "203.0.113.255", DR4, "203.0.114.77"]
    six = [SITE6, "2001:db8:5000:1ff::1", OTHER6, "2001:db8:5000::", "2001:db8:5fff:ffff::1", DR6,
           "2001:db8:6000:7::7"]
    outside = {"subscriber": {**other().resource()["subscriber"], "name": "site-99",
                              "prefixes": ["203.0.114.64/26", "2001:db8:6000:7::/64"], "tunnels": []}}
    frames = [ether(udp(s, d)) for s in four for d in (SITE4, DR4)]
    frames += [ether(udp(s, d)) for s in six for d in (SITE6, DR6)]
    # The neighbours of each prefix, first and last addresses beyond it.
    near = [udp(s, SITE4) for s in ("203.0.112.255", "203.0.114.63", "203.0.114.128", GATEWAY4)]
    near += [udp(s, SITE6) for s in ("2001:db8:4fff:ffff::1", "2001:db8:6000:6:ffff::1", GATEWAY6)]
    customer = site()
    return Case("ingress-source", "packets from the network with a source of a site, of a pool, or of "
                "the router itself are forged") \
        .provision(customer, other()).apply([outside]) \
        .send([ether(near[0]), *frames, *(ether(p) for p in near[1:])],
              [sent(encapsulated(customer, p)) for p in near]) \
        .delete("subscriber", "site-99") \
        .send([ether(udp("203.0.114.77", SITE4))],
              [sent(encapsulated(customer, udp("203.0.114.77", SITE4)))]) \
        .counters(forwarded__downlink=len(near) + 1, drop__ingress_source=len(frames))


def _hole_in_a_pool():
    """A pool may have a part that a route leads elsewhere: hosts there are no sites."""
    port = up0()
    port["routes"] = [*port["routes"], {"prefix": "203.0.113.128/25", "via": GATEWAY4},
                      {"prefix": "2001:db8:5800::/37", "via": GATEWAY6}]
    customer = site()
    good = [udp("203.0.113.129", SITE4), udp("2001:db8:5800::9", SITE6)]
    forged = [udp("203.0.113.127", SITE4), udp("2001:db8:57ff::9", SITE6)]
    return Case("ingress-source-hole", "hosts that a longer route inside a pool leads to may send",
                ports=[port]).provision(customer) \
        .send([ether(p) for p in good + forged], [sent(encapsulated(customer, p)) for p in good]) \
        .counters(forwarded__downlink=2, drop__ingress_source=2)


def _for_the_kernel():
    arp = bytes(Ether(src=GATEWAY_MAC, dst="ff:ff:ff:ff:ff:ff") /
                ARP(op=1, hwsrc=GATEWAY_MAC, psrc=GATEWAY4, pdst=DR4))
    solicitation = bytes(Ether(src=GATEWAY_MAC, dst="33:33:ff:00:00:01") /
                         IPv6(src=GATEWAY6, dst="ff02::1:ff00:1", hlim=255) / ICMPv6ND_NS(tgt=DR6))
    frames = [arp, solicitation, ether(echo(HOST4, DR4)), ether(echo(HOST6, DR6)),
              ether(tcp(HOST4, DR4, dport=179)), ether(udp(HOST4, DR4, dport=4755)),
              ether(udp(GATEWAY4, "224.0.0.5"), dst="01:00:5e:00:00:05")]
    return among_good(Case("no-kernel", "ARP, ND, multicast and what is for an address of the "
                           "router have nowhere to go on a port without a kernel interface"),
                      frames, drop__no_kernel=len(frames))


def _elsewhere():
    transit = [udp(HOST4, "8.8.8.8"), udp(HOST6, "2001:db8:9999::1"), udp(HOST4, GATEWAY4),
               udp(HOST4, "192.0.2.77"), echo(HOST4, "8.8.8.8", ttl=1)]
    nobody = [udp(HOST4, "203.0.113.200"), udp(HOST6, "2001:db8:5fff::1"),
              echo(HOST4, "203.0.113.7", ttl=1)]
    # RFC 1122 §3.2.2, RFC 4443 §2.4(e): about these no error.
    quiet = [ip(HOST4, "203.0.113.200") / ICMP(type=3, code=1) / Raw(bytes(udp(SITE4, HOST4))),
             ip(HOST4, "203.0.113.200", frag=10, proto=17) / Raw(b"x" * 64),
             ip(HOST6, "2001:db8:5fff::1") / ICMPv6DestUnreach() / Raw(bytes(udp(SITE6, HOST6))),
             udp("169.254.7.2", "203.0.113.200")]
    # The answer would go to whose the source is.
    forged = [udp(SITE4, "203.0.113.200"), udp("203.0.113.77", "203.0.113.200"),
              udp(SITE6, "2001:db8:5fff::1"), udp(DR4, "203.0.113.200")]
    return [
        among_good(Case("transit", "not a transit router: nothing goes from the network to the network"),
                   [ether(p) for p in transit], drop__transit=len(transit)),
        Case("no-subscriber", "a destination in a pool that no subscriber has is answered with host "
             "unreachable, IPv6 with no route").provision(site())
        .send([ether(p) for p in [*nobody, *quiet]], [answered(p, NOBODY) for p in nobody])
        .counters(drop__no_subscriber=len(nobody) + len(quiet)),
        among_good(Case("no-subscriber-forged", "no answer goes to a source that only a site, a pool or "
                        "the router itself can have"), [ether(p) for p in forged],
                   drop__ingress_source=len(forged))]


def _tunnels():
    bare = Subscriber("site-42", ["203.0.113.8/29", "2001:db8:5000:100::/56"], [])
    frames = [ether(p) for p in GOOD]
    across = [udp(SITE4, OTHER4), udp(SITE6, OTHER6)]
    lineless = Subscriber("site-7", other().prefixes, [])
    customer = site()
    near = up0(routes=[])
    mute = up0(neighbours=[])
    return [
        Case("no-tunnel", "a subscriber without any tunnel gets nothing, and the sender ICMP: host or "
             "address unreachable").provision(bare)
        .send(frames, [answered(p, NO_LINE) for p in GOOD]).counters(drop__no_tunnel=2),
        Case("no-tunnel-hairpin", "another site learns so through its tunnel")
        .provision(customer, lineless)
        .send([ether(out_of_tunnel(customer.tunnels[0], p)) for p in across],
              [answered_in_tunnel(customer, p, NO_LINE) for p in across])
        .counters(drop__no_tunnel=2),
        Case("tunnel-unresolved", "no route leads to the tunnel's far end", ports=[near])
        .provision(site()).send(frames).counters(drop__tunnel_unresolved=2),
        Case("no-neighbour", "the gateway's MAC address is not known", ports=[mute])
        .provision(site()).send(frames).counters(drop__no_neighbour=2)]


def _groups():
    frames = [ether(udp(HOST4, SITE4), dst="ff:ff:ff:ff:ff:ff"),
              ether(udp(HOST4, SITE4), dst="01:00:5e:00:00:01")]
    return among_good(Case("link-broadcast", "a packet for a site in a broadcast or multicast frame is "
                           "not forwarded (RFC 1812 §5.3.4)"), frames, drop__no_kernel=2)


def _padding():
    """The minimum frame's padding, and more, is no part of the packet."""
    customer = site()
    packets = [udp(HOST4, SITE4, size=0), udp(HOST4, SITE4, size=3), udp(HOST6, SITE6, size=0),
               ip(HOST4, SITE4, proto=99), ip(HOST6, SITE6, nh=59)]
    frames = [ether(p) + b"\xee" * n for n, p in enumerate(packets, start=1)]
    return Case("padding", "what follows the IP packet in its frame is cut off") \
        .provision(customer).send(frames, [sent(encapsulated(customer, p)) for p in packets]) \
        .counters(forwarded__downlink=len(packets))


def cases():
    return [*_ethernet(), _short(), *_lying_ipv4(), _lying_ipv6(), *_martians(), _forged(),
            _hole_in_a_pool(), _for_the_kernel(), *_elsewhere(), *_tunnels(), _groups(), _padding()]
