"""Several tunnels: which flow takes which."""

from lib import flow, forward
from lib.case import Case
from lib.forward import (TIME_EXCEEDED, encapsulated, fragments, hop, icmp_error, into_tunnel,
                         out_of_tunnel)
from lib.model import GRE, GRE_UDP, OTHER4, SITE4, SITE6, other, site, tunnel
from lib.packets import echo, ether, ip, payload, sent, sized, tcp, udp
from lib.topology import DR4, DR6, HOST4, HOST6
from scapy.layers.inet import ICMP, UDP
from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6ExtHdrFragment
from scapy.packet import Raw


def pair(**more):
    """Line a: GRE-in-UDP over IPv4, weight 3; line b: GRE over IPv6, weight 1."""
    return site(tunnel(GRE_UDP, 4, "a"), tunnel(GRE, 6, "b"),
                **{"tiers": [[("a", 3), ("b", 1)]], **more})


def flows(count=40):
    """Flows towards the site, of every kind."""
    out = []
    for n in range(count):
        out += [udp(HOST4, SITE4, 1024 + 97 * n, 45000 + n), tcp(HOST6, SITE6, 2048 + 31 * n, 46000 - n),
                udp(HOST4, f"203.0.113.{8 + n % 8}", 45999, 47123), echo(f"198.18.0.{n + 1}", SITE4),
                echo(HOST6, f"2001:db8:5000:100::{n:x}")]
    return out


def _downlink(name, description, customer, used):
    packets = flows()
    lines = {customer.tunnel_of(p).line for p in packets}
    assert lines == used, lines
    return Case(name, description).provision(customer) \
        .send([ether(p) for p in packets], [sent(encapsulated(customer, p)) for p in packets]) \
        .counters(forwarded__downlink=len(packets))


def _weights():
    three = site(tunnel(GRE_UDP, 4, "a"), tunnel(GRE, 6, "b"), tunnel(GRE, 4, "c"),
                 tiers=[[("a", 5), ("b", 3), ("c", 200)]])
    without = site(tunnel(GRE_UDP, 4, "a"), tunnel(GRE, 4, "c"),
                   tiers=[[("a", 5), ("b", 3), ("c", 2)]])
    tiers = site(tunnel(GRE_UDP, 4, "a"), tunnel(GRE, 6, "b"), tunnel(GRE, 4, "c"),
                 tiers=[[("b", 1)], [("a", 1), ("c", 1)]])
    second = site(tunnel(GRE_UDP, 4, "a"), tunnel(GRE, 4, "c"),
                  tiers=[[("b", 1)], [("a", 1), ("c", 1)]])
    return [
        _downlink("weights-two", "two tunnels share flows by weight, 3 to 1", pair(), {"a", "b"}),
        _downlink("weights-three", "three tunnels share flows by weight", three, {"a", "b", "c"}),
        _downlink("weights-missing-line", "the buckets of a line that a site does not have go to the "
                  "others, all others stay", without, {"a", "c"}),
        _downlink("tier-first", "the first tier with a tunnel takes everything", tiers, {"b"}),
        _downlink("tier-second", "without a tunnel in the first tier, the second is used", second,
                  {"a", "c"})]


def _both_directions():
    """Uplink is taken from any of the site's tunnels; the flow's answers go by the flow's own."""
    customer = pair()
    packets = [udp(SITE4, HOST4, 40000 + n, 45053) for n in range(12)]
    answers = [udp(HOST4, SITE4, 45053, 40000 + n) for n in range(12)]
    frames = [ether(out_of_tunnel(line, p)) for p in packets for line in customer.tunnels]
    for packet, answer in zip(packets, answers):
        assert customer.tunnel_of(packet) is customer.tunnel_of(answer)
    return Case("weights-both-directions", "both directions of a flow have one hash") \
        .provision(customer).send(frames, [sent(hop(p)) for p in packets for _ in customer.tunnels]) \
        .send([ether(p) for p in answers], [sent(encapsulated(customer, p)) for p in answers]) \
        .counters(forwarded__uplink=24, forwarded__downlink=12)


def _fragments():
    """Both fragments of a packet, and all packets between two hosts, by addresses and protocol."""
    customer = pair()
    frames, out, used = [], [], set()
    for n in range(24):
        host = f"198.18.1.{n + 1}"
        start = bytes(UDP(sport=n, dport=7)) + payload(72)
        first = ip(host, SITE4, id=n, flags="MF", proto=17) / Raw(start)
        later = ip(host, SITE4, id=n, frag=10, proto=17) / Raw(payload(33))
        assert customer.tunnel_of(first) is customer.tunnel_of(later)
        used.add(customer.tunnel_of(first).line)
        frames += [ether(first), ether(later)]
        out += [sent(encapsulated(customer, p)) for p in (first, later)]
        host = f"2001:db8:77::{n + 1:x}"
        first = ip(host, SITE6) / IPv6ExtHdrFragment(nh=17, m=1, id=n) / Raw(start)
        later = ip(host, SITE6) / IPv6ExtHdrFragment(nh=17, offset=10, id=n) / Raw(payload(33))
        assert customer.tunnel_of(first) is customer.tunnel_of(later)
        frames += [ether(first), ether(later)]
        out += [sent(encapsulated(customer, p)) for p in (first, later)]
    assert used == {"a", "b"}
    return Case("steer-fragments", "all fragments of a packet take one tunnel") \
        .provision(customer).send(frames, out).counters(forwarded__downlink=len(frames))


def _own_fragments():
    """Fragments that the router makes go where the whole packet would have gone."""
    customer = pair()
    packets = [sized(HOST4, SITE4, 1500, sport=30000 + n) for n in range(10)]
    out = []
    for packet in packets:
        hashed = flow.flow_hash(bytes(packet), customer.seed)
        line = customer.tunnel_of(packet)
        out += [sent(into_tunnel(line, hop(f), hashed)) for f in fragments(packet, line.largest)]
    return Case("steer-own-fragments", "the pieces of a packet that was too large take its tunnel") \
        .provision(customer).send([ether(p) for p in packets], out) \
        .counters(forwarded__downlink=len(packets))


def _icmp_errors():
    """An error about a flow of the site takes the tunnel of that flow."""
    customer = pair()
    frames, out, used = [], [], set()
    for n in range(16):
        about = udp(SITE4, HOST4, 33000 + n, 33434)
        about6 = tcp(SITE6, HOST6, 33000 + n, 443)
        for kind, code in ((3, 3), (3, 4), (11, 0), (12, 0)):
            error = ip(f"198.18.2.{n + 1}", SITE4) / ICMP(type=kind, code=code) / Raw(bytes(about)[:28])
            assert customer.tunnel_of(error) is customer.tunnel_of(about)
            frames.append(ether(error))
            out.append(sent(encapsulated(customer, error)))
        error = ip("2001:db8:88::1", SITE6) / ICMPv6PacketTooBig(mtu=1400) / Raw(bytes(about6))
        assert customer.tunnel_of(error) is customer.tunnel_of(about6)
        used |= {customer.tunnel_of(about).line}
        frames.append(ether(error))
        out.append(sent(encapsulated(customer, error)))
    # Too short to hold the packet it is about: by its own addresses.
    stump = ip(HOST4, SITE4) / ICMP(type=3, code=1) / Raw(bytes(udp(SITE4, HOST4))[:19])
    frames.append(ether(stump))
    out.append(sent(encapsulated(customer, stump)))
    assert used == {"a", "b"}
    return Case("steer-icmp-errors", "an ICMP error about a flow takes the tunnel of that flow") \
        .provision(customer).send(frames, out).counters(forwarded__downlink=len(frames))


def _own_errors():
    """The router's own error about a site's packet goes back by the flow's tunnel."""
    customer = pair()
    frames, out, used = [], [], set()
    for n in range(12):
        for about, source in ((udp(SITE4, HOST4, 33000 + n, ttl=1), DR4),
                              (udp(SITE6, HOST6, 34000 + n, ttl=1), DR6)):
            error = icmp_error(TIME_EXCEEDED, about, source)
            hashed = flow.flow_hash(error, customer.seed)
            line = customer.tunnel_of(error)
            assert line is customer.tunnel_of(about)
            used.add(line.line)
            frames.append(ether(out_of_tunnel(customer.tunnels[0], about)))
            out.append(sent(forward.into_tunnel(line, error, hashed)))
    assert used == {"a", "b"}
    return Case("steer-own-errors", "time exceeded about a site's packet goes back by its flow's tunnel") \
        .provision(customer).send(frames, out).counters(icmp__time_exceeded=len(frames))


def _hairpin():
    far = other(GRE, 4, tiers=[[("a", 1)]])
    near = pair()
    near.policy = "shared"
    back = [udp(OTHER4, SITE4, 50000 + n) for n in range(12)]
    return Case("steer-hairpin", "a packet from site to site takes the tunnel of its flow at the receiver") \
        .provision(near, far) \
        .send([ether(out_of_tunnel(far.tunnels[0], p)) for p in back],
              [sent(encapsulated(near, p)) for p in back]) \
        .counters(forwarded__hairpin=len(back))


def cases():
    return [*_weights(), _both_directions(), _fragments(), _own_fragments(), _icmp_errors(),
            _own_errors(), _hairpin()]
