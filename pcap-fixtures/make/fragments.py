"""IPv4 packets without DF that are larger than the tunnel: fragmented before encapsulation."""

from lib import flow
from lib.case import Case
from lib.forward import fragments, hop, into_tunnel, out_of_tunnel
from lib.model import GRE, GRE_UDP, OTHER4, SITE4, other, site, tunnel
from lib.packets import ether, ip, payload, sent, sized, tcp
from lib.topology import HOST4, up0
from scapy.layers.inet import (IPOption_LSRR, IPOption_NOP, IPOption_RR, IPOption_Security, UDP)
from scapy.packet import Raw


def in_pieces(customer, packet, line=None):
    """All fragments in one tunnel, under the hash of the whole packet."""
    line = line or customer.tunnels[0]
    hashed = flow.flow_hash(bytes(packet), customer.seed)
    return [sent(into_tunnel(line, hop(f), hashed)) for f in fragments(packet, line.largest)]


def _case(name, description, customer, packets, port=None, **counters):
    return Case(name, description, ports=[port or up0()]).provision(customer) \
        .send([ether(p) for p in packets], [f for p in packets for f in in_pieces(customer, p)]) \
        .counters(forwarded__downlink=len(packets), **counters)


def _sizes():
    out = []
    for name, line in (("gre-outer4", tunnel(GRE)), ("gre-udp-outer4", tunnel()),
                       ("gre-outer6", tunnel(GRE, 6)), ("gre-udp-outer6", tunnel(GRE_UDP, 6))):
        mtu = line.largest
        packets = [sized(HOST4, SITE4, n) for n in (mtu - 1, mtu, mtu + 1, mtu + 7, mtu + 8, 1500)]
        packets.append(tcp(HOST4, SITE4, size=1460))
        out.append(_case(f"fragment-{name}", f"IPv4 without DF through a tunnel of {mtu} bytes: "
                         "fragments of at most that size, in order", site(line), packets))
    return out


def _many():
    """A jumbo port and a small tunnel: up to seven pieces."""
    packets = [sized(HOST4, SITE4, n) for n in (1280, 1281, 2540, 3000, 5000, 8800)]
    return _case("fragment-many", "a large packet becomes several fragments", site(tunnel(mtu=1280)),
                 packets, port=up0(mtu=9000))


def _options():
    """RFC 791 §3.1: only options with the copied bit are in later fragments."""
    security = IPOption_Security(security=1, compartment=2, handling_restrictions=3,
                                 transmission_control_code=b"abc")
    sets = [[IPOption_RR(routers=["1.2.3.4"] * 3)],
            [IPOption_NOP(), IPOption_LSRR(routers=["5.6.7.8", "5.6.7.9"])],
            [IPOption_RR(routers=["1.2.3.4"]), IPOption_NOP(), security, IPOption_NOP()],
            [IPOption_NOP()] * 4]
    packets = [ip(HOST4, SITE4, options=s, proto=17) / UDP(sport=5, dport=6) / Raw(payload(1420))
               for s in sets]
    whole = [ip(HOST4, SITE4, options=s, proto=17) / UDP(sport=5, dport=6) / Raw(payload(100))
             for s in sets]
    return _case("fragment-options", "of IPv4 options, only the copied ones go into later fragments",
                 site(), [*packets, *whole])


def _of_fragments():
    """A fragment is fragmented again: offsets add up, the last piece keeps MF of the original."""
    packets = [ip(HOST4, SITE4, id=7, flags="MF", frag=0, proto=17) / Raw(payload(1480)),
               ip(HOST4, SITE4, id=7, flags="MF", frag=185, proto=17) / Raw(payload(1480)),
               ip(HOST4, SITE4, id=7, frag=370, proto=17) / Raw(payload(1479))]
    return _case("fragment-of-fragments", "fragments that are still too large are cut again",
                 site(), packets)


def _hairpin():
    near, far = site(tunnel(GRE)), other(GRE_UDP, 6)
    packet = sized(SITE4, OTHER4, 1472)
    return Case("fragment-hairpin", "from a large tunnel into a smaller one") \
        .provision(near, far) \
        .send([ether(out_of_tunnel(near.tunnels[0], packet))], in_pieces(far, packet)) \
        .counters(forwarded__hairpin=1)


def cases():
    return [*_sizes(), _many(), _options(), _of_fragments(), _hairpin()]
