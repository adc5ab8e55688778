"""DSCP (RFC 2983) and ECN (RFC 6040) across the tunnel."""

from lib.case import Case
from lib.forward import encapsulated, hop, out_of_tunnel
from lib.model import GRE, GRE_UDP, OTHER4, OTHER6, SITE4, SITE6, other, site, tunnel
from lib.packets import ether, sent, udp
from lib.topology import HOST4, HOST6

NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3
DROP = None
CODEPOINTS = (NOT_ECT, ECT0, ECT1, CE)
# RFC 6040 figure 4: inner -> outcome for each outer, in the order of CODEPOINTS.
FIGURE_4 = {
    NOT_ECT: (NOT_ECT, NOT_ECT, NOT_ECT, DROP),
    ECT0: (ECT0, ECT0, ECT1, CE),
    ECT1: (ECT1, ECT1, ECT1, CE),
    CE: (CE, CE, CE, CE),
}
AF41 = 34 << 2


def _table(src, dst):
    """(inner ECN, outer ECN, packet as sent, packet as it must arrive or None)."""
    for inner, row in FIGURE_4.items():
        for outer, then in zip(CODEPOINTS, row):
            packet = udp(src, dst, tos=AF41 | inner)
            arrives = None if then is DROP else udp(src, dst, tos=AF41 | then)
            yield outer, packet, arrives


def _uplink(outer_family, inner_family, src, dst):
    customer = site(tunnel(GRE_UDP if outer_family == 4 else GRE, outer_family))
    rows = list(_table(src, dst))
    # The outer DSCP differs, and must not come through.
    frames = [ether(out_of_tunnel(customer.tunnels[0], p, tos=0x28 | outer)) for outer, p, _ in rows]
    out = [sent(hop(a)) for _, _, a in rows if a is not None]
    return Case(f"ecn-uplink-outer{outer_family}-inner{inner_family}",
                "all 16 pairs of inner and outer ECN at decapsulation; the inner DSCP stays") \
        .provision(customer).send(frames, out) \
        .counters(forwarded__uplink=len(out), drop__ecn=len(rows) - len(out))


def _downlink(outer_family):
    customer = site(tunnel(GRE_UDP, outer_family))
    marks = [0x00, 0x01, 0x02, 0x03, AF41, 0xB8, 0xBA, 0xFF]
    packets = [udp(h, s, tos=m) for h, s in ((HOST4, SITE4), (HOST6, SITE6)) for m in marks]
    return Case(f"marks-downlink-outer{outer_family}", "DSCP and ECN are copied into the outer header") \
        .provision(customer) \
        .send([ether(p) for p in packets], [sent(encapsulated(customer, p)) for p in packets]) \
        .counters(forwarded__downlink=len(packets))


def _hairpin():
    near, far = site(), other(GRE, 6)
    frames, out = [], []
    for src, dst in ((SITE4, OTHER4), (SITE6, OTHER6)):
        for outer, packet, arrives in _table(src, dst):
            frames.append(ether(out_of_tunnel(near.tunnels[0], packet, tos=outer)))
            if arrives is not None:
                out.append(sent(encapsulated(far, arrives)))
    return Case("ecn-hairpin", "a congestion mark of the first tunnel goes on into the second") \
        .provision(near, far).send(frames, out) \
        .counters(forwarded__hairpin=len(out), drop__ecn=len(frames) - len(out))


def cases():
    ends = {4: (SITE4, HOST4), 6: (SITE6, HOST6)}
    return [*(_uplink(o, i, *ends[i]) for o in (4, 6) for i in (4, 6)), _downlink(4), _downlink(6),
            _hairpin()]
