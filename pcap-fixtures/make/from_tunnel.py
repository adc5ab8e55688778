"""Default deny: what comes to a tunnel address and may not be decapsulated."""

import struct

from lib import flow
from lib.answers import answered_in_tunnel
from lib.case import Case
from lib.forward import NOBODY, checksummed, hop, into_tunnel, out_of_tunnel
from lib.model import (GRE, GRE_UDP, KEY_A, KEY_B, OTHER4, SITE4, SITE6, other, site, tunnel)
from lib.packets import echo, ether, sent, udp
from lib.topology import DR4, DR6, HOST4, HOST6, LINE_A4, LINE_A6, LINE_B4, up0
from scapy.layers.inet import ICMP, IP, UDP, IPOption
from scapy.layers.inet6 import (ICMPv6EchoReply, ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt,
                                IPv6ExtHdrFragment)
from scapy.layers.l2 import GRE as GreHeader
from scapy.packet import Raw

INNER4, INNER6 = udp(SITE4, HOST4), udp(SITE6, HOST6)


def denied(name, description, customer, packets, *more, ports=None, **counters):
    """Each packet is dropped; a good one before and after is forwarded."""
    line = customer.tunnels[0]
    good = ether(out_of_tunnel(line, INNER4))
    frames = [p if isinstance(p, bytes) else ether(p) for p in packets]
    return Case(name, description, ports=ports).provision(customer, *more) \
        .send([good, *frames, good], [sent(hop(INNER4))] * 2) \
        .counters(forwarded__uplink=2, **counters)


def raw_gre(data, src=LINE_A4):
    """An outer IPv4 header with bytes of our own behind it."""
    return IP(src=src, dst=DR4, proto=47, flags="DF", id=0) / Raw(data)


def _keys():
    gre, udp_line = site(tunnel(GRE)), site()
    strange = [0x01000000 | slot for slot in (0, 1, 40, 42, 4095, 0xFFFFFF)]
    stale = [key & 0xFFFFFF | generation << 24 for key in (KEY_A,) for generation in (0, 2, 0xFF)]
    return [
        denied("unknown-tunnel-gre", "keys whose index no tunnel has", gre,
               [out_of_tunnel(gre.tunnels[0], INNER4, key=k) for k in strange],
               drop__unknown_tunnel=len(strange)),
        denied("unknown-tunnel-gre-udp", "keys whose index no tunnel has", udp_line,
               [out_of_tunnel(udp_line.tunnels[0], INNER4, key=k) for k in strange],
               drop__unknown_tunnel=len(strange)),
        denied("stale-generation", "keys of a tunnel that was at this index before", udp_line,
               [out_of_tunnel(udp_line.tunnels[0], INNER4, key=k) for k in stale],
               drop__stale_generation=len(stale))]


def _mismatch():
    gre4, udp4, gre6 = tunnel(GRE), tunnel(GRE_UDP), tunnel(GRE, 6)
    return [
        denied("encap-mismatch-gre", "a GRE tunnel takes no GRE-in-UDP and no outer IPv6", site(gre4),
               [out_of_tunnel(udp4, INNER4), out_of_tunnel(gre6, INNER4)], drop__encap_mismatch=2),
        denied("encap-mismatch-gre-udp", "a GRE-in-UDP tunnel takes no native GRE and no outer IPv6",
               site(udp4),
               [out_of_tunnel(gre4, INNER4), out_of_tunnel(tunnel(GRE_UDP, 6), INNER4)],
               drop__encap_mismatch=2)]


def _endpoints():
    four, six = tunnel(), tunnel(GRE, 6, line="b")
    both = site(four, six, tiers=[[("a", 1), ("b", 1)]])
    two = up0(addresses=[f"{DR4}/24", f"{DR6}/64", "192.0.2.2/24", "2001:db8:ff::2/64"])
    swapped = out_of_tunnel(six, INNER4, src=LINE_A6)
    return [
        denied("outer-source", "the outer source must be the tunnel's far end", both,
               [out_of_tunnel(four, INNER4, src="198.51.100.8"),
                out_of_tunnel(four, INNER4, src=LINE_B4), swapped], drop__outer_source=3),
        denied("outer-destination", "the outer destination must be the tunnel's own local address",
               both, [out_of_tunnel(four, INNER4, dst="192.0.2.2"),
                      out_of_tunnel(six, INNER4, dst="2001:db8:ff::2")],
               ports=[two], drop__outer_destination=2)]


def _gre_headers():
    customer = site(tunnel(GRE))
    key, body = struct.pack(">I", KEY_A), bytes(INNER4)
    flags = [0x0000, 0x3000, 0xA000, 0x6000, 0x2001, 0x2100, 0x2080, 0x2002]
    frames = [raw_gre(struct.pack(">HH", f, 0x0800) + key + body) for f in flags]
    short = [raw_gre((struct.pack(">HH", 0x2000, 0x0800) + key)[:n]) for n in (0, 3, 4, 7)]
    line, udp_line = customer.tunnels[0], tunnel()
    kinds = [0x6558, 0x0806, 0x880B, 0x0000]
    udp_short = IP(src=LINE_A4, dst=DR4, proto=17, id=0) / Raw(
        struct.pack(">HHHH", 50000, 4754, 8 + 7, 0) + b"\x20\x00\x08\x00\x01\x00\x00")
    udp_headless = IP(src=LINE_A4, dst=DR4, proto=17, id=0) / Raw(struct.pack(">HHH", 50000, 4754, 8))
    return [
        denied("gre-format", "GRE with a checksum, a sequence number, routing, a version, reserved "
               "bits, or without key", customer, frames, drop__gre_format=len(frames)),
        denied("gre-short", "an outer packet that ends within its GRE header", customer, short,
               drop__too_short=len(short)),
        denied("gre-udp-short", "an outer packet that ends within its UDP or GRE header",
               site(udp_line), [udp_short, udp_headless], drop__too_short=2),
        denied("gre-protocol", "GRE around something else than IP", customer,
               [out_of_tunnel(line, b"\x45" + bytes(63), protocol=k) for k in kinds],
               drop__gre_protocol=len(kinds)),
        denied("keepalive", "a message of the tunnel protocol, which nobody takes", customer,
               [out_of_tunnel(line, b"\x45" + bytes(63), protocol=0x88B5)], drop__keepalive=1)]


def _udp_headers():
    customer = site()
    line = customer.tunnels[0]
    size = len(out_of_tunnel(line, INNER4)) - 20
    lies = [out_of_tunnel(line, INNER4, udp={"len": n}) for n in (0, 7, size - 1, size + 1, 0xFFFF)]
    good = [out_of_tunnel(line, INNER4, udp={"chksum": None}),
            out_of_tunnel(line, INNER6, udp={"chksum": None})]
    wrong = [out_of_tunnel(line, INNER4, udp={"chksum": 0x1234})]
    six = tunnel(GRE_UDP, 6, line="b")
    pair = site(line, six, tiers=[[("a", 1), ("b", 1)]])
    good.append(out_of_tunnel(six, INNER4, udp={"chksum": None}))
    good.append(out_of_tunnel(six, INNER6, udp={"chksum": None}))
    wrong.append(out_of_tunnel(six, INNER4, udp={"chksum": 0x1234}))
    return [
        denied("udp-format", "UDP lengths that do not fit the outer packet", customer, lies,
               drop__udp_format=len(lies)),
        Case("udp-checksum", "a UDP checksum that is there must be right").provision(pair)
        .send([ether(p) for p in [*good, *wrong]],
              [sent(hop(p)) for p in (INNER4, INNER6, INNER4, INNER6)])
        .counters(forwarded__uplink=4, drop__udp_checksum=2)]


def _outer_fragments():
    customer = site(tunnel(), tunnel(GRE, 6, line="b"), tiers=[[("a", 1), ("b", 1)]])
    four, six = customer.tunnels
    first = out_of_tunnel(four, INNER4, flags="MF")
    later = IP(src=LINE_A4, dst=DR4, proto=17, frag=8) / Raw(bytes(40))
    gre = IP(src=LINE_A4, dst=DR4, proto=47, frag=8) / Raw(bytes(40))
    whole = bytes(out_of_tunnel(six, INNER4))
    piece = IPv6(src=six.remote, dst=six.local) / IPv6ExtHdrFragment(nh=47, m=1, id=9) / Raw(whole[40:])
    rest = IPv6(src=six.remote, dst=six.local) / IPv6ExtHdrFragment(nh=47, offset=5, id=9) / Raw(bytes(40))
    return denied("outer-fragment", "fragments of tunnel packets: tunnels do not reassemble", customer,
                  [first, later, gre, piece, rest], drop__outer_fragment=5)


def _inner_headers():
    customer = site()
    line = customer.tunnels[0]

    def lie(packet, at, value, fix=True):
        data = bytearray(bytes(packet))
        data[at:at + len(value)] = value
        return checksummed(data) if fix else bytes(data)

    whole4, whole6 = bytes(INNER4), bytes(INNER6)
    packets = [
        (0x0800, whole4[:19]), (0x0800, b""), (0x86DD, whole6[:39]), (0x0800, whole4[:-1]),
        (0x86DD, whole6[:-1]), (0x0800, lie(INNER4, 0, b"\x55")),
        (0x0800, lie(INNER4, 0, b"\x44", fix=False)), (0x0800, lie(INNER4, 2, b"\x00\x13")),
        (0x0800, lie(INNER4, 10, b"\xab\xcd", fix=False)), (0x86DD, lie(INNER6, 0, b"\x45", fix=False)),
        (0x0800, whole6), (0x86DD, whole4)]
    frames = [IP(src=line.remote, dst=line.local, id=0) / UDP(sport=50123, dport=4754, chksum=0) /
              GreHeader(key_present=1, key=line.id, proto=kind) / Raw(data)
              for kind, data in packets]
    return denied("inner-format", "inner headers that are short, lie, or belie the GRE protocol",
                  customer, frames, drop__inner_format=len(frames))


def _inner_sources():
    customer, neighbour = site(), other()
    line = customer.tunnels[0]
    sources = [HOST4, OTHER4, "203.0.113.16", "203.0.113.7", DR4, "127.0.0.1", "0.0.0.0", "10.0.0.1"]
    sources6 = [HOST6, "2001:db8:5000:200::20", DR6, "fe80::1", "::", "::1", "ff02::1"]
    packets = [udp(s, HOST4) for s in sources] + [udp(s, HOST6) for s in sources6]
    return denied("inner-source", "the inner source must be the site's own (BCP 38)", customer,
                  [out_of_tunnel(line, p) for p in packets], neighbour,
                  drop__inner_source=len(packets))


def _to_the_router():
    customer, neighbour = site(), other()
    line, far = customer.tunnels[0], neighbour.tunnels[0]
    nested = [bytes(out_of_tunnel(far, udp(OTHER4, HOST4), src=SITE4)),
              bytes(out_of_tunnel(tunnel(GRE_UDP, 4, "a", KEY_B), INNER4, src=SITE4)),
              bytes(out_of_tunnel(tunnel(GRE, 6, "a", KEY_B), INNER4, src=SITE6)),
              bytes(out_of_tunnel(tunnel(GRE_UDP, 6, "a", KEY_B), INNER4, src=SITE6))]
    options = IP(src=SITE4, dst=DR4, options=IPOption(b"\x07\x07\x04\0\0\0\0\0")) / ICMP() / Raw(b"ping")
    extended = IPv6(src=SITE6, dst=DR6) / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest(data=b"ping")
    plain = [udp(SITE4, DR4, dport=179), udp(SITE6, DR6, dport=22),
             IP(src=SITE4, dst=DR4) / ICMP(type=0) / Raw(b"reply"),
             IP(src=SITE4, dst=DR4) / ICMP(type=13, ts_ori=0, ts_rx=0, ts_tx=0),
             IP(src=SITE4, dst=DR4, flags="MF") / ICMP() / Raw(bytes(64)), options, extended]
    return [
        denied("nested-tunnel", "a tunnel packet within a tunnel is not opened again", customer,
               [out_of_tunnel(line, p) for p in nested], neighbour, drop__nested_tunnel=len(nested)),
        denied("to-router", "what a site sends to the router itself is dropped, but for plain pings",
               customer, [out_of_tunnel(line, p) for p in plain], drop__to_router=len(plain)),
        _pinged()]


def _pinged():
    """An echo reply has the bytes of its request, and a checksum that is right as far as the
    request's was."""
    customer = site(tunnel(GRE))
    line = customer.tunnels[0]
    pings = [echo(SITE4, DR4), echo(SITE6, DR6), echo(SITE4, DR4, number=2, size=0, ttl=1),
             echo(SITE6, DR6, number=2, size=1000), echo(SITE4, DR4, number=65535, size=1333)]
    bad = IP(src=SITE4, dst=DR4) / ICMP(id=7, seq=9, chksum=0x1234) / Raw(b"damaged")
    replies = [_echo_reply(p) for p in pings]
    # One's complement: the type falls by 8, the checksum rises by 0x0800.
    replies.append(IP(src=DR4, dst=SITE4, id=0, ttl=64) /
                   ICMP(type=0, id=7, seq=9, chksum=0x1234 + 0x0800) / Raw(b"damaged"))
    expected = [bytes(r) for r in replies]
    return Case("ping-router", "a site's ping of an address of the router is answered through its tunnel") \
        .provision(customer) \
        .send([ether(out_of_tunnel(line, p)) for p in [*pings, bad]],
              [sent(into_tunnel(line, r, flow.flow_hash(r, customer.seed))) for r in expected]) \
        .counters(icmp__echo_reply=len(expected))


def _echo_reply(request):
    data = bytes(request[Raw]) if Raw in request else b""
    if request.version == 4:
        echoed = request[ICMP]
        return IP(src=request.dst, dst=request.src, id=0, ttl=64) / \
            ICMP(type=0, id=echoed.id, seq=echoed.seq) / Raw(data)
    echoed = request[ICMPv6EchoRequest]
    return IPv6(src=request.dst, dst=request.src, hlim=64) / \
        ICMPv6EchoReply(id=echoed.id, seq=echoed.seq, data=bytes(echoed.data) + data)


def _elsewhere():
    customer = site()
    line = customer.tunnels[0]
    nobody = [udp(SITE4, "203.0.113.200"), udp(SITE6, "2001:db8:5fff::1")]
    unknown = udp(SITE4, "192.0.2.77")
    return [
        Case("uplink-no-subscriber", "a site's packet to a pool address that no subscriber has is "
             "answered through its tunnel").provision(customer)
        .send([ether(out_of_tunnel(line, p)) for p in nobody],
              [answered_in_tunnel(customer, p, NOBODY) for p in nobody])
        .counters(drop__no_subscriber=2),
        denied("uplink-no-neighbour", "a site's packet to a host on the port's own network whose MAC "
               "address is not known", customer, [out_of_tunnel(line, unknown)],
               drop__no_neighbour=1)]


def _to_nobody():
    """RFC 1812 §5.3.4, §5.3.7; RFC 4291 §2.5.3, §2.5.6; RFC 3927 §7; RFC 4942 §2.2: no router forwards to these."""
    customer = site()
    line = customer.tunnels[0]
    packets = [udp(SITE4, d) for d in ("224.0.0.5", "239.1.2.3", "255.255.255.255", "127.0.0.1", "0.0.0.0",
                                    "169.254.1.1")]
    packets += [udp(SITE6, d) for d in ("ff02::1", "ff0e::1", "fe80::1", "::1",
                                        "::ffff:93.184.216.34")]
    return Case("uplink-unroutable", "a site's packet to multicast, broadcast, loopback or link-local "
                "addresses does not leave") \
        .provision(customer).send([ether(out_of_tunnel(line, p)) for p in packets]) \
        .counters(drop__no_route=len(packets))


def _trailing():
    """The inner packet ends where its own length says."""
    customer = site()
    line = customer.tunnels[0]
    return Case("uplink-inner-padding", "bytes behind the inner packet are cut off") \
        .provision(customer) \
        .send([ether(out_of_tunnel(line, bytes(p) + b"\xee" * 9)) for p in (INNER4, INNER6)],
              [sent(hop(p)) for p in (INNER4, INNER6)]).counters(forwarded__uplink=2)


def cases():
    return [*_keys(), *_mismatch(), *_endpoints(), *_gre_headers(), *_udp_headers(),
            _outer_fragments(), _inner_headers(), _inner_sources(), *_to_the_router(), *_elsewhere(),
            _to_nobody(), _trailing()]
