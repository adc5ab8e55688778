"""Every encapsulation, outer family and inner family, in both directions."""

from lib.case import Case
from lib.forward import encapsulated, hop, out_of_tunnel
from lib.model import GRE, GRE_UDP, SITE4, SITE6, site, tunnel
from lib.packets import echo, ether, padded, sent, tcp, udp
from lib.topology import HOST4, HOST6

NAMES = {GRE: "gre", GRE_UDP: "gre-udp"}
ENDS = {4: (HOST4, SITE4), 6: (HOST6, SITE6)}


def flows(src, dst):
    """Small, odd, even, large, marked; UDP, TCP, ICMP."""
    return [udp(src, dst, size=1), udp(src, dst, size=33), udp(src, dst, 40002, 45500, size=1200),
            tcp(src, dst, size=0), tcp(src, dst, 443, 51000, size=999, tos=0xB8),
            echo(src, dst, number=1), echo(src, dst, number=2, size=11, ttl=2)]


def _downlink(encapsulation, outer, inner):
    customer = site(tunnel(encapsulation, outer))
    host, home = ENDS[inner]
    packets = flows(host, home)
    return Case(f"downlink-{NAMES[encapsulation]}-outer{outer}-inner{inner}",
                f"downlink IPv{inner} in {NAMES[encapsulation]} over IPv{outer}") \
        .provision(customer) \
        .send([padded(ether(p)) for p in packets], [sent(encapsulated(customer, p)) for p in packets]) \
        .counters(forwarded__downlink=len(packets))


def _uplink(encapsulation, outer, inner):
    customer = site(tunnel(encapsulation, outer))
    line = customer.tunnels[0]
    host, home = ENDS[inner]
    packets = flows(home, host)
    return Case(f"uplink-{NAMES[encapsulation]}-outer{outer}-inner{inner}",
                f"uplink IPv{inner} out of {NAMES[encapsulation]} over IPv{outer}; "
                "any outer source port, flow label, id and TTL is taken") \
        .provision(customer) \
        .send([padded(ether(out_of_tunnel(line, p, sport=49152 + 1000 * n, fl=n * 4099,
                                          ttl=64 - n, id=n)))
               for n, p in enumerate(packets)],
              [sent(hop(p)) for p in packets]) \
        .counters(forwarded__uplink=len(packets))


def _fixed_port(outer):
    """Behind NAT both ends use one fixed port pair."""
    line = tunnel(GRE_UDP, outer, remote_port=40777)
    customer = site(line)
    down, up = flows(HOST4, SITE4), flows(SITE4, HOST4)
    strange = out_of_tunnel(line, up[0], sport=40778)
    return Case(f"gre-udp-fixed-port-outer{outer}",
                "a tunnel with a remote port is sent from 4754 to that port, and taken only from it") \
        .provision(customer) \
        .send([ether(p) for p in down], [sent(encapsulated(customer, p)) for p in down]) \
        .send([ether(out_of_tunnel(line, p)) for p in up] + [ether(strange)],
              [sent(hop(p)) for p in up]) \
        .counters(forwarded__downlink=len(down), forwarded__uplink=len(up), drop__outer_source=1)


def _ports_counted():
    packets = flows(HOST4, SITE4)
    customer = site()
    frames, out = [ether(p) for p in packets], [sent(encapsulated(customer, p)) for p in packets]
    return Case("port-counters", "the counters of a port are frames and bytes as they pass the wire") \
        .provision(customer).send(frames, out) \
        .counters(forwarded__downlink=len(packets),
                  port__up0__rx_packets=len(frames), port__up0__rx_bytes=sum(map(len, frames)),
                  port__up0__tx_packets=len(out), port__up0__tx_bytes=sum(map(len, out)))


def cases():
    combinations = [(e, o, i) for e in (GRE, GRE_UDP) for o in (4, 6) for i in (4, 6)]
    return [*(_downlink(*c) for c in combinations), *(_uplink(*c) for c in combinations),
            _fixed_port(4), _fixed_port(6), _ports_counted()]
