"""IPv4 options and IPv6 extension headers, inside and outside."""

from lib.case import Case
from lib.forward import encapsulated, hop, out_of_tunnel
from lib.model import GRE, GRE_UDP, SITE4, SITE6, site, tunnel
from lib.packets import ether, ip, payload, sent, udp
from lib.topology import DR4, DR6, HOST4, HOST6
from scapy.layers.inet import (TCP, UDP, IPOption_LSRR, IPOption_NOP, IPOption_RR,
                               IPOption_Router_Alert)
from scapy.layers.inet6 import (IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting, PadN)
from scapy.packet import Raw


def with_options(src, dst):
    sets = [[IPOption_NOP()], [IPOption_Router_Alert()], [IPOption_RR(routers=["1.2.3.4"] * 9)],
            [IPOption_LSRR(routers=["5.6.7.8"]), IPOption_NOP()]]
    return [ip(src, dst, options=s, proto=17) / UDP(sport=3333, dport=n) / Raw(payload(41))
            for n, s in enumerate(sets, start=1)]


def with_extensions(src, dst):
    hop_by_hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])
    destination = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 12)])
    routing = IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=0)
    chains = [hop_by_hop, destination, routing, hop_by_hop / destination,
              hop_by_hop / routing / destination,
              IPv6ExtHdrFragment(m=0, offset=0, id=5)]
    packets = [ip(src, dst) / c / UDP(sport=3333, dport=n, chksum=0x1111) / Raw(payload(41))
               for n, c in enumerate(chains, start=1)]
    packets.append(ip(src, dst) / hop_by_hop / TCP(sport=9, dport=10, chksum=0x2222))
    packets.append(ip(src, dst, nh=59))
    packets.append(ip(src, dst, nh=253) / Raw(payload(20)))
    return packets


def with_broken_chains(src, dst):
    """Chains that run out of the packet, at each place where they can."""
    return [ip(src, dst, nh=60) / Raw(b"\x11\xff" + bytes(6)),
            ip(src, dst, nh=0) / Raw(b"\x3c\x00" + bytes(6) + b"\x3b"),
            ip(src, dst, nh=43) / Raw(b"\x11\x00"), ip(src, dst, nh=44) / Raw(b"\x11" + bytes(6)),
            ip(src, dst, nh=44) / Raw(b"\x3c" + bytes(7) + b"\x11\x01" + bytes(6)),
            ip(src, dst, nh=17) / Raw(b"\x11\x11\x22"), ip(src, dst, nh=6)]


def with_long_chains(src, dst):
    """Seven, eight and nine extension headers: eight are looked behind (proto/TUNNEL.md §3)."""
    padding = b"\x3c\x00\x01\x04" + bytes(4)
    last = b"\x11" + padding[1:]
    datagram = bytes(UDP(sport=3333, dport=7777, len=30, chksum=0x3333)) + payload(22)
    return [ip(src, dst, nh=60) / Raw(padding * (n - 1) + last + datagram) for n in (7, 8, 9)]


def _down_and_up(name, description, customer, down, up):
    line = customer.tunnels[0]
    return Case(name, description).provision(customer) \
        .send([ether(p) for p in down], [sent(encapsulated(customer, p)) for p in down]) \
        .send([ether(out_of_tunnel(line, p)) for p in up], [sent(hop(p)) for p in up]) \
        .counters(forwarded__downlink=len(down), forwarded__uplink=len(up))


def _outer_options():
    """RFC 791 §3.1, RFC 8200 §4: source routes and all else in front of a tunnel's header."""
    four, six = tunnel(GRE), tunnel(GRE, 6, line="b")
    customer = site(four, six, tiers=[[("a", 1), ("b", 1)]])
    inner = udp(SITE4, HOST4)
    hop_by_hop = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0" * 4)])
    destination = IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
    routing = IPv6ExtHdrRouting(addresses=["2001:db8::9"], segleft=0)
    segments = IPv6ExtHdrRouting(type=4, addresses=["2001:db8::9"], segleft=1)
    frames = []
    for line in (four, tunnel(GRE_UDP)):
        for options in ([IPOption_LSRR(routers=["5.6.7.8"])], [IPOption_RR(routers=["1.2.3.4"] * 3)],
                        [IPOption_Router_Alert()], [IPOption_NOP()] * 4):
            frames.append(out_of_tunnel(line, inner, options=options))
    for line in (six, tunnel(GRE_UDP, 6, "b")):
        for chain in (hop_by_hop, destination, routing, segments, hop_by_hop / routing / destination):
            packet = out_of_tunnel(line, inner)
            chain = chain.copy()
            chain.lastlayer().nh = packet.nh
            frames.append(IPv6(src=packet.src, dst=packet.dst, hlim=64) / chain / packet.payload)
    good = [ether(out_of_tunnel(line, inner)) for line in (four, six)]
    # Nobody's tunnel, and no tunnel at all: refused, or the kernel's, for what they are.
    plain = [ip(HOST4, DR4, options=[IPOption_NOP()], proto=17) / UDP(dport=53) / Raw(payload(8)),
             ip(HOST6, DR6) / hop_by_hop / UDP(dport=53, chksum=1) / Raw(payload(8))]
    return Case("outer-options", "tunnel packets with options or extension headers outside are refused") \
        .provision(customer) \
        .send([good[0], *(ether(f) for f in frames + plain), good[1]], [sent(hop(inner))] * 2) \
        .counters(forwarded__uplink=2, drop__outer_options=len(frames), drop__no_kernel=len(plain))


def _fragments():
    """Whatever fragment, ports play no part in its hash: all of a packet take one way."""
    start = bytes(UDP(sport=1, dport=2)) + payload(72)
    four = [ip(HOST4, SITE4, id=9, flags="MF", proto=17) / Raw(start),
            ip(HOST4, SITE4, id=9, flags="MF", frag=10, proto=17) / Raw(payload(80)),
            ip(HOST4, SITE4, id=9, frag=20, proto=17) / Raw(payload(11))]
    six = [ip(HOST6, SITE6) / IPv6ExtHdrFragment(nh=17, m=1, id=9) / Raw(start),
           ip(HOST6, SITE6) / IPv6ExtHdrFragment(nh=17, offset=10, id=9) / Raw(payload(11))]
    return four, six


def cases():
    four, six = _fragments()
    up4 = [ip(SITE4, HOST4, id=9, flags="MF", proto=17) / Raw(payload(80)),
           ip(SITE4, HOST4, id=9, frag=10, proto=17) / Raw(payload(8))]
    return [
        _down_and_up("ipv4-options", "IPv4 options go through unchanged, the upper layer is found",
                     site(), with_options(HOST4, SITE4), with_options(SITE4, HOST4)),
        _down_and_up("ipv6-extension-headers", "the upper layer is found behind extension headers",
                     site(tunnel(GRE, 6)), with_extensions(HOST6, SITE6),
                     with_extensions(SITE6, HOST6)),
        _down_and_up("ipv6-broken-chains", "extension headers that run out of the packet count as no "
                     "next header", site(tunnel(GRE, 6)), with_broken_chains(HOST6, SITE6),
                     with_broken_chains(SITE6, HOST6)),
        _down_and_up("ipv6-long-chains", "eight extension headers are looked behind, not nine", site(),
                     with_long_chains(HOST6, SITE6), with_long_chains(SITE6, HOST6)),
        _outer_options(),
        _down_and_up("inner-fragments", "fragments are hashed without ports", site(), four + six, up4)]
