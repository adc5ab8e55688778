"""From one subscriber's tunnel into another's."""

from lib.case import Case
from lib.forward import encapsulated, out_of_tunnel
from lib.model import GRE, GRE_UDP, OTHER4, OTHER6, SITE4, SITE6, other, site, tunnel
from lib.packets import echo, ether, sent, udp


def _across(outer_in, outer_out, encapsulation_in, encapsulation_out):
    near = site(tunnel(encapsulation_in, outer_in))
    far = other(encapsulation_out, outer_out)
    packets = [udp(SITE4, OTHER4), udp(SITE6, OTHER6), echo(SITE4, OTHER4, ttl=2), echo(SITE6, OTHER6)]
    return Case(f"hairpin-outer{outer_in}-to-outer{outer_out}",
                "a packet from one site to another goes from tunnel to tunnel, one hop on") \
        .provision(near, far) \
        .send([ether(out_of_tunnel(near.tunnels[0], p)) for p in packets],
              [sent(encapsulated(far, p)) for p in packets]) \
        .counters(forwarded__hairpin=len(packets))


def _to_itself():
    near = site()
    packets = [udp(SITE4, "203.0.113.11"), udp(SITE6, "2001:db8:5000:1ff::1")]
    return Case("hairpin-self", "what a site sends to its own prefixes is dropped") \
        .provision(near) \
        .send([ether(out_of_tunnel(near.tunnels[0], p)) for p in packets]) \
        .counters(drop__hairpin_self=2)


def cases():
    return [_across(4, 4, GRE_UDP, GRE), _across(4, 6, GRE, GRE_UDP), _across(6, 4, GRE, GRE_UDP),
            _across(6, 6, GRE_UDP, GRE), _to_itself()]
