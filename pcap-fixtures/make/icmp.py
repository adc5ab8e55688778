"""ICMP errors of the router: which, to whom, how large; and when none."""

from lib import forward
from lib.answers import answered, answered_in_tunnel
from lib.case import Case
from lib.forward import (TIME_EXCEEDED, TOO_BIG, UNREACHABLE, encapsulated, hop, icmp_error,
                         out_of_tunnel)
from lib.model import (GRE, GRE_UDP, OTHER4, OTHER6, SITE4, SITE6, other, site, tunnel)
from lib.packets import echo, ether, ip, payload, sent, sized, tcp, udp
from lib.topology import DR4, DR6, GATEWAY4, GATEWAY_MAC, HOST4, HOST6, LINE_A4, up0
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import (ICMPv6DestUnreach, ICMPv6ND_Redirect, ICMPv6TimeExceeded,
                                IPv6ExtHdrFragment)
from scapy.packet import Raw


def _time_exceeded():
    customer = site(tunnel(GRE))
    down = [udp(HOST4, SITE4, ttl=1), udp(HOST4, SITE4, ttl=0), echo(HOST4, SITE4, ttl=1, size=1000),
            udp(HOST6, SITE6, ttl=1), udp(HOST6, SITE6, ttl=0),
            sized(HOST6, SITE6, 1400, ttl=1)]
    up = [udp(SITE4, HOST4, ttl=1), udp(SITE4, HOST4, ttl=0), tcp(SITE4, HOST4, ttl=1),
          echo(SITE4, HOST4, ttl=1, size=1000), udp(SITE6, HOST6, ttl=1), sized(SITE6, HOST6, 1400, ttl=1)]
    line = customer.tunnels[0]
    far = other()
    across = [udp(SITE4, OTHER4, ttl=1), udp(SITE6, OTHER6, ttl=1)]
    return [
        Case("time-exceeded-downlink", "TTL 1 or 0 from the network: time exceeded goes back, at most "
             "576 and 1280 bytes").provision(customer)
        .send([ether(p) for p in down], [answered(p, TIME_EXCEEDED) for p in down])
        .counters(icmp__time_exceeded=len(down)),
        Case("time-exceeded-uplink", "TTL 1 or 0 from a site: time exceeded goes back into its tunnel")
        .provision(customer)
        .send([ether(out_of_tunnel(line, p)) for p in up],
              [answered_in_tunnel(customer, p, TIME_EXCEEDED) for p in up])
        .counters(icmp__time_exceeded=len(up)),
        Case("time-exceeded-hairpin", "TTL 1 from site to site: time exceeded goes back to the sender")
        .provision(customer, far)
        .send([ether(out_of_tunnel(line, p)) for p in across],
              [answered_in_tunnel(customer, p, TIME_EXCEEDED) for p in across])
        .counters(icmp__time_exceeded=2)]


def _too_big():
    out = []
    for name, line in (("gre-outer4", tunnel(GRE)), ("gre-udp-outer4", tunnel()),
                       ("gre-outer6", tunnel(GRE, 6)), ("gre-udp-outer6", tunnel(GRE_UDP, 6)),
                       ("configured", tunnel(mtu=1280))):
        customer = site(line)
        mtu = line.largest
        fits = [sized(HOST4, SITE4, mtu, flags="DF"), sized(HOST6, SITE6, mtu)]
        large4, large6 = ([sized(HOST4, SITE4, n, flags="DF") for n in (mtu + 1, 1500)],
                          [sized(HOST6, SITE6, n) for n in (mtu + 1, 1500)])
        out.append(
            Case(f"too-big-{name}", f"a tunnel of {mtu} bytes: what fits goes, what does not is "
                 "answered with the tunnel's MTU").provision(customer)
            .send([ether(p) for p in fits], [sent(encapsulated(customer, p)) for p in fits])
            .send([ether(p) for p in large4 + large6],
                  [answered(p, TOO_BIG, mtu) for p in large4 + large6])
            .counters(forwarded__downlink=2, icmp__frag_needed=2, icmp__packet_too_big=2))
    return out


def _unreachable():
    near = up0(routes=[], neighbours=[*up0()["neighbours"],
                                      {"address": "192.0.2.7", "mac": GATEWAY_MAC}])
    customer = site(tunnel(GRE))
    customer.tunnels[0].remote = "192.0.2.7"
    line = customer.tunnels[0]
    up = [udp(SITE4, HOST4), udp(SITE6, HOST6), tcp(SITE4, "8.8.8.8")]
    quiet = [ip(SITE4, HOST4) / ICMP(type=11, code=0) / Raw(bytes(udp(HOST4, SITE4))),
             ip(SITE4, HOST4, frag=100, proto=17) / Raw(payload(64)),
             ip(SITE6, HOST6) / ICMPv6TimeExceeded() / Raw(bytes(udp(HOST6, SITE6)))]
    return [
        Case("unreachable", "a site's packet to where no route leads: unreachable goes back into its "
             "tunnel", ports=[near]).provision(customer)
        .send([ether(out_of_tunnel(line, p)) for p in up],
              [answered_in_tunnel(customer, p, UNREACHABLE) for p in up])
        .counters(icmp__unreachable=len(up)),
        Case("no-route", "no route, and no error about an ICMP error or a later fragment", ports=[near])
        .provision(customer).send([ether(out_of_tunnel(line, p)) for p in quiet])
        .counters(drop__no_route=len(quiet))]


def _no_error_about():
    customer = site()
    line = customer.tunnels[0]
    quoted4, quoted6 = bytes(udp(SITE4, HOST4)), bytes(udp(SITE6, HOST6))
    errors = [ip(HOST4, SITE4, ttl=1) / ICMP(type=t, code=0) / Raw(quoted4) for t in (3, 4, 5, 11, 12)]
    # A later fragment of ICMPv6 may be an error's.
    later = [ip(HOST4, SITE4, frag=10, proto=17, ttl=1) / Raw(payload(64)),
             ip(HOST6, SITE6, ttl=1) / IPv6ExtHdrFragment(nh=58, offset=10, id=5) / Raw(payload(64))]
    six = [ip(HOST6, SITE6, ttl=1) / ICMPv6DestUnreach() / Raw(quoted6),
           ip(HOST6, SITE6, ttl=1) / ICMPv6TimeExceeded() / Raw(quoted6)]
    up = [ip(SITE4, HOST4, ttl=1) / ICMP(type=3, code=3) / Raw(bytes(udp(HOST4, SITE4))),
          ip(SITE4, HOST4, ttl=1, frag=10, proto=17) / Raw(payload(64))]
    expired = [ether(p) for p in errors + later + six] + [ether(out_of_tunnel(line, p)) for p in up]
    # An echo is no error, and the first fragment is answered.
    fine = [echo(HOST4, SITE4, ttl=1), ip(HOST4, SITE4, flags="MF", proto=17, ttl=1) / Raw(payload(64))]
    big = [ip(HOST4, SITE4, flags="DF") / ICMP(type=3, code=1) / Raw(payload(1460)),
           ip(HOST4, SITE4, flags="DF", frag=10, proto=17) / Raw(payload(1460)),
           ip(HOST6, SITE6) / ICMPv6DestUnreach() / Raw(quoted6 + payload(1380))]
    bare = up0(addresses=[f"{DR4}/24"], routes=up0()["routes"][:1],
               neighbours=up0()["neighbours"][:1])
    return [
        Case("ttl-expired", "no ICMP error about an ICMP error, a later fragment of IPv4 or one of ICMPv6")
        .provision(customer)
        .send(expired + [ether(p) for p in fine], [answered(p, TIME_EXCEEDED) for p in fine])
        .counters(drop__ttl_expired=len(expired), icmp__time_exceeded=len(fine)),
        Case("too-big-silent", "too big, and no ICMP error may be sent").provision(customer)
        .send([ether(p) for p in big]).counters(drop__too_big=len(big)),
        Case("ttl-expired-no-address", "no ICMPv6 error without an IPv6 address to send it from",
             ports=[bare]).provision(customer)
        .send([ether(udp(HOST6, SITE6, ttl=1))]).counters(drop__ttl_expired=1)]


def _later_fragments6():
    """RFC 4443 §2.4(e) makes no exception for fragments, as RFC 1812 §4.3.2.7 does for IPv4."""
    customer = site()
    line = customer.tunnels[0]
    start = IPv6ExtHdrFragment(nh=17, m=1, id=9) / Raw(payload(1448))
    later = IPv6ExtHdrFragment(nh=17, offset=181, id=9) / Raw(payload(1445))
    large = [ip(HOST6, SITE6) / start, ip(HOST6, SITE6) / later]
    down, up = ip(HOST6, SITE6, ttl=1) / later, ip(SITE6, HOST6, ttl=1) / IPv6ExtHdrFragment(
        nh=17, offset=9, id=9) / Raw(payload(64))
    return [
        Case("too-big-later-fragment-v6", "a later IPv6 fragment that is too large earns packet too big")
        .provision(customer)
        .send([ether(p) for p in large], [answered(p, TOO_BIG, line.largest) for p in large])
        .counters(icmp__packet_too_big=2),
        Case("time-exceeded-later-fragment-v6", "a later IPv6 fragment without hops left earns time exceeded")
        .provision(customer)
        .send([ether(down), ether(out_of_tunnel(line, up))],
              [answered(down, TIME_EXCEEDED), answered_in_tunnel(customer, up, TIME_EXCEEDED)])
        .counters(icmp__time_exceeded=2)]


def _redirect6():
    """RFC 4443 §2.4 (e.2)."""
    customer = site()
    line = customer.tunnels[0]

    def redirect(source, destination, size=0, **fields):
        return (ip(source, destination, **fields) /
                ICMPv6ND_Redirect(tgt="2001:db8:77::1", dst="2001:db8:88::1") / Raw(payload(size)))

    silent = [ether(redirect(HOST6, SITE6, ttl=1)),
              ether(out_of_tunnel(line, redirect(SITE6, HOST6, ttl=1)))]
    passes = redirect(HOST6, SITE6)
    return Case("icmpv6-redirect-unanswered", "no ICMPv6 error about an ICMPv6 redirect, which itself is "
                "a packet like any other").provision(customer) \
        .send([*silent, ether(redirect(HOST6, SITE6, size=1460 - 40)), ether(passes)],
              [sent(encapsulated(customer, passes))]) \
        .counters(drop__ttl_expired=2, drop__too_big=1, forwarded__downlink=1)


def _other_ports_address():
    """RFC 4443 §2.2: any unicast address of the router."""
    network = up0(name="net0")
    mac, gateway = "02:00:00:00:00:02", "02:00:00:00:00:fd"
    access = {"name": "acc0", "mac": mac, "addresses": ["198.51.100.1/24"],
              "neighbours": [{"address": LINE_A4, "mac": gateway}]}
    network["mtu"] = 1400
    near = tunnel(mtu=1460)
    near.local = "198.51.100.1"
    customer = site(near)
    expired, large = udp(SITE6, HOST6, ttl=1), sized(SITE6, HOST6, 1401)
    up = [ether(out_of_tunnel(near, p), gateway, mac) for p in (expired, large)]
    errors = [icmp_error(TIME_EXCEEDED, expired, DR6), icmp_error(TOO_BIG, large, DR6, 1400)]
    back = [sent(forward.into_tunnel(near, e, forward.flow.flow_hash(e, customer.seed)), mac, gateway)
            for e in errors]
    return Case("icmp-address-of-another-port", "the lines' port has no IPv6 address: ICMPv6 errors about "
                "sites' packets come from the network port's", ports=[network, access]) \
        .provision(customer).step({"acc0": up}, {"acc0": back}) \
        .counters(icmp__time_exceeded=1, icmp__packet_too_big=1)


def _port_it_leaves_by():
    """RFC 1812 §4.3.2.4, wherever the packet came in."""
    network, (mac, gateway) = up0(name="net0"), ("02:00:00:00:00:02", "02:00:00:00:00:fd")
    own4, own6, aside = "198.51.100.1", "2001:db8:fe::1", "8.8.8.8"
    access = {"name": "acc0", "mac": mac, "addresses": [f"{own4}/24", f"{own6}/64"],
              "routes": [{"prefix": f"{aside}/32", "via": LINE_A4}],
              "neighbours": [{"address": LINE_A4, "mac": gateway}]}
    near = tunnel()
    near.local = own4
    customer = site(near)
    down = [udp(HOST4, SITE4, ttl=1), udp(HOST6, SITE6, ttl=1)]
    around = udp(aside, SITE4, ttl=1)  # came in by the other port than its answer leaves by
    up = [(udp(SITE4, HOST4, ttl=1), own4), (udp(SITE6, HOST6, ttl=1), own6)]
    back = [icmp_error(TIME_EXCEEDED, p, source) for p, source in up]
    back = [sent(forward.into_tunnel(near, e, forward.flow.flow_hash(e, customer.seed)), mac, gateway)
            for e in back]
    return Case("icmp-source-two-ports", "an ICMP error has an address of the port that it leaves by",
                ports=[network, access]).provision(customer) \
        .step({"net0": [ether(p) for p in [*down, around]]},
              {"net0": [answered(p, TIME_EXCEEDED) for p in down],
               "acc0": [sent(icmp_error(TIME_EXCEEDED, around, own4), mac, gateway)]}) \
        .step({"acc0": [ether(out_of_tunnel(near, p), gateway, mac) for p, _ in up]}, {"acc0": back}) \
        .counters(icmp__time_exceeded=5)


def _limited():
    """The errors themselves find no route, so that how many there were shows in counters alone."""
    port = up0(routes=[{"prefix": f"{LINE_A4}/32", "via": GATEWAY4}])
    frames = [ether(udp(HOST4, SITE4, ttl=1, size=n % 50)) for n in range(3000)]
    return Case("icmp-limited", "3000 packets at once whose TTL ran out are not answered 3000 times",
                ports=[port], countersAtLeast={"drop.icmp_limited": 1, "icmp.time_exceeded": 100}) \
        .provision(site()).send(frames)


def _uplink_too_big():
    """The port is smaller than what came out of the tunnel."""
    port = up0(mtu=1400)
    customer = site(tunnel(GRE, mtu=1460))
    line = customer.tunnels[0]
    large = [sized(SITE4, HOST4, 1401, flags="DF"), sized(SITE6, HOST6, 1401)]
    fits = [sized(SITE4, HOST4, 1400, flags="DF"), sized(SITE6, HOST6, 1400)]
    cut = sized(SITE4, HOST4, 1450)
    return Case("uplink-too-big", "a site's packet that is larger than the port it leaves by: an error "
                "with the port's MTU, or fragments", ports=[port]).provision(customer) \
        .send([ether(out_of_tunnel(line, p)) for p in [*large, *fits, cut]],
              [*(answered_in_tunnel(customer, p, TOO_BIG, 1400) for p in large),
               *(sent(hop(p)) for p in fits), *(sent(hop(f)) for f in forward.fragments(cut, 1400))]) \
        .counters(icmp__frag_needed=1, icmp__packet_too_big=1, forwarded__uplink=3)


def cases():
    return [*_time_exceeded(), *_too_big(), *_unreachable(), *_no_error_about(), _limited(),
            _uplink_too_big(), *_later_fragments6(), _redirect6(), _other_ports_address(),
            _port_it_leaves_by()]
