"""TCP MSS clamp: no SYN may announce more than the tunnel carries."""

from lib.case import Case
from lib.forward import encapsulated, hop, out_of_tunnel
from lib.model import GRE, GRE_UDP, OTHER4, OTHER6, SITE4, SITE6, other, site, tunnel
from lib.packets import ether, ip, sent, tcp
from lib.topology import HOST4, HOST6, up0
from scapy.layers.inet import TCP
from scapy.packet import Raw

NOP, SACK, SCALE = ("NOP", None), ("SAckOK", b""), ("WScale", 7)


def _options(mss):
    """Option lists in which MSS comes first, later, and at an odd offset."""
    return [[("MSS", mss)], [("MSS", mss), SACK, NOP, SCALE], [NOP, NOP, ("MSS", mss)],
            [NOP, ("MSS", mss), NOP, NOP, NOP], [SCALE, ("MSS", mss), SACK, NOP, NOP, NOP]]


def segments(src, dst, mss):
    return [tcp(src, dst, size=0, flags=flags, options=o)
            for o in _options(mss) for flags in ("S", "SA", "SEC")]


def _untouched(src, dst, limit):
    """What is left as it is."""
    same = [tcp(src, dst, size=0, flags="S", options=[("MSS", n)]) for n in (limit, limit - 1, 536)]
    no_syn = tcp(src, dst, size=10, flags="A", options=[("MSS", 9000)])
    none = [tcp(src, dst, size=0, flags="S"), tcp(src, dst, size=0, flags="S", options=[SCALE, NOP])]
    return [*same, no_syn, *none]


def _broken(src, dst):
    """Option lists that end early, overlap or lie are left as they are."""
    odd = [ip(src, dst, **{"nh" if ":" in src else "proto": 6}) /
           TCP(sport=1, dport=2, flags="S", dataofs=6) / Raw(options)
           for options in (b"\x02\x03\x23\x28", b"\x02\x06\x23\x28", b"\x00\x02\x04\x23",
                           b"\x01\x01\x01\x02", b"\x03\x00\x02\x04")]
    cut = ip(src, dst, **{"nh" if ":" in src else "proto": 6}) / Raw(
        bytes(TCP(sport=1, dport=2, flags="S", dataofs=15))[:20])
    return [*odd, cut]


def _direction(name, encapsulation, outer, ends, downlink):
    customer = site(tunnel(encapsulation, outer))
    line = customer.tunnels[0]
    frames, out = [], []
    for host, home, headers in ends:
        src, dst = (host, home) if downlink else (home, host)
        limit = line.largest - headers
        pairs = list(zip(segments(src, dst, 1460), segments(src, dst, limit)))
        pairs += list(zip(segments(src, dst, 65535), segments(src, dst, limit)))
        pairs += [(p, p) for p in _untouched(src, dst, limit)]
        for before, after in pairs:
            # The hash does not depend on the option.
            frames.append(ether(before if downlink else out_of_tunnel(line, before)))
            out.append(sent(encapsulated(customer, after) if downlink else hop(after)))
    counter = "forwarded__downlink" if downlink else "forwarded__uplink"
    return Case(f"mss-{'downlink' if downlink else 'uplink'}-{name}",
                "the MSS of a SYN is lowered to what the tunnel carries, its checksum kept right") \
        .provision(customer).send(frames, out).counters(**{counter: len(frames)})


def _broken_options():
    customer = site(tunnel())
    packets = _broken(HOST4, SITE4) + _broken(HOST6, SITE6)
    return Case("mss-broken-options", "TCP options that lie go through as they are") \
        .provision(customer) \
        .send([ether(p) for p in packets], [sent(encapsulated(customer, p)) for p in packets]) \
        .counters(forwarded__downlink=len(packets))


def _hairpin():
    """Into a smaller tunnel than it came from, and the other way round."""
    near, far = site(tunnel(mtu=1400)), other(GRE, 6)
    far.tunnels[0].mtu = 1300
    there = [(tcp(SITE4, OTHER4, size=0, flags="S", options=[("MSS", m)]),
              tcp(SITE4, OTHER4, size=0, flags="S", options=[("MSS", min(m, 1260))]))
             for m in (1460, 1300, 1260, 1200)]
    return Case("mss-hairpin", "a SYN from site to site fits the tunnel it goes into") \
        .provision(near, far) \
        .send([ether(out_of_tunnel(near.tunnels[0], before)) for before, _ in there],
              [sent(encapsulated(far, after)) for _, after in there]) \
        .counters(forwarded__hairpin=len(there))


def _hairpin_back():
    """What the SYN announces comes back through both."""
    near, far = site(tunnel(mtu=1300)), other(GRE, 6)
    far.tunnels[0].mtu = 1400
    both = []
    for source, destination, headers in ((SITE4, OTHER4, 40), (SITE6, OTHER6, 60)):
        both += [(source, destination, m, min(m, 1300 - headers)) for m in (1460, 1260, 1241, 1200)]
    there = [(tcp(s, d, size=0, flags="S", options=[("MSS", before)]),
              tcp(s, d, size=0, flags="S", options=[("MSS", after)])) for s, d, before, after in both]
    return Case("mss-hairpin-both", "a SYN from site to site fits the tunnel that it came out of, too") \
        .provision(near, far) \
        .send([ether(out_of_tunnel(near.tunnels[0], before)) for before, _ in there],
              [sent(encapsulated(far, after)) for _, after in there]) \
        .counters(forwarded__hairpin=len(there))


def _small_port():
    """A tunnel takes no more than the port that it leaves by, whatever its own MTU is."""
    case = Case("mss-small-port", "over a port of 1400 bytes SYNs are clamped alike in both directions",
                ports=[up0(mtu=1400)])
    for mtu, room in ((None, 1400 - 36), (1450, 1400 - 36), (1280, 1280)):
        customer = site(tunnel(mtu=mtu))
        ends = [(HOST4, SITE4, 40), (HOST6, SITE6, 60)]
        down = [(tcp(h, s, size=0, flags="S", options=[("MSS", 1460)]),
                 tcp(h, s, size=0, flags="S", options=[("MSS", room - n)])) for h, s, n in ends]
        up = [(tcp(s, h, size=0, flags="SA", options=[("MSS", 1460)]),
               tcp(s, h, size=0, flags="SA", options=[("MSS", room - n)])) for h, s, n in ends]
        case.provision(customer) \
            .send([*(ether(b) for b, _ in down),
                   *(ether(out_of_tunnel(customer.tunnels[0], b)) for b, _ in up)],
                  [*(sent(encapsulated(customer, a)) for _, a in down), *(sent(hop(a)) for _, a in up)])
    return case.counters(forwarded__downlink=6, forwarded__uplink=6)


def cases():
    ends = [(HOST4, SITE4, 40), (HOST6, SITE6, 60)]
    return [_direction("gre-outer4", GRE, 4, ends, True), _direction("gre-outer4", GRE, 4, ends, False),
            _direction("gre-udp-outer6", GRE_UDP, 6, ends, True),
            _direction("gre-udp-outer6", GRE_UDP, 6, ends, False), _broken_options(), _hairpin(),
            _hairpin_back(), _small_port()]
