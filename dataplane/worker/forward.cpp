// Stage 6: to a next hop, without a tunnel: the subscriber's packet on its way to the Internet, or
// an ICMP error of our own.
// Exits: forwarded.uplink drop.no_neighbour drop.ttl_expired drop.too_big drop.no_buffers.
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"
#include "dataplane/worker/mss.h"
#include "dataplane/worker/ttl.h"

namespace dr {

namespace {

void find_upper(Packet& p) {
    const wire::Upper u = wire::upper(p.ip, p.family, p.length);
    p.upper = u.offset;
    p.protocol = u.protocol;
    if (u.later_fragment) p.flags |= Packet::kLaterFragment;
}

// Whether a search for TCP's header can find one.
bool may_be_tcp(const Packet& p) {
    if (p.family == 4) return p.ip[9] == wire::kProtoTcp;
    return p.ip[6] != wire::kProtoUdp && p.ip[6] != wire::kProtoIcmp6;
}

// Larger than the port: fragments or an ICMP error. true: goes on.
bool fit(Context& c, Burst& b, unsigned i, unsigned mtu) {
    Packet& p = b.packets[i];
    if (p.family == 4 && (wire::load16(p.ip + 6) & wire::Ipv4::kDontFragment) == 0) {
        if (fragment_ipv4(c, b, p, mtu)) return true;
        exit_with(c, p, Exit::DropNoBuffers);
        return false;
    }
    p.mtu = static_cast<std::uint16_t>(mtu);
    fail_with(c, b, i, IcmpError::TooBig, Exit::DropTooBig);
    return false;
}

void frame_up(rte_mbuf* m, std::uint8_t* ip, std::uint16_t length, unsigned family,
              const NextHopRow& hop) {
    std::uint8_t* eth = ip - sizeof(wire::Ethernet);
    std::memcpy(eth, hop.destination.data(), 12);  // both addresses, as they lie in the row
    const Be16 type = Be16::from(family == 4 ? wire::kEtherIpv4 : wire::kEtherIpv6);
    std::memcpy(eth + 12, &type, 2);
    const unsigned frame = length + static_cast<unsigned>(sizeof(wire::Ethernet));
    m->data_off = static_cast<std::uint16_t>(eth - static_cast<std::uint8_t*>(m->buf_addr));
    m->data_len = static_cast<std::uint16_t>(frame);
    m->pkt_len = frame;
}

}  // namespace

void ask_for_neighbour(Context& c, const Packet& p) {
    if (!c.asking.of(p.from->subscriber, c.secret).take(rte_rdtsc(), c.tsc_hz)) return;
    ResolveRequest request{static_cast<std::uint16_t>(p.target.index()), {}};
    request.address.family = p.family;
    const wire::IpLayout at = wire::ip_layout(p.family);
    std::memcpy(request.address.bytes.data(), p.ip + at.destination, at.address);
    c.resolve.push(request);  // full: the next packet asks again
}

void stage_forward(Context& c, Burst& b) {
    for (const unsigned i : b.forward) {
        Packet& p = b.packets[i];
        const NextHopRow& hop = c.tables->next_hop(p.target.index());
        const bool own = (p.flags & Packet::kOwn) != 0;
        if (!own && !ttl_left(p.ip, p.family)) {
            fail_with(c, b, i, IcmpError::TimeExceeded, Exit::DropTtlExpired);
            continue;
        }
        if (hop.resolved == 0) {
            exit_with(c, p, Exit::DropNoNeighbour);
            continue;
        }
        if (p.length > hop.mtu && !fit(c, b, i, hop.mtu)) continue;
        if (!own) {
            if (may_be_tcp(p)) {
                find_upper(p);
                maybe_clamp_mss(*c.tables, p, p.from->mtu);
            }
            decrement_ttl(p.ip, p.family);
        }
        p.out_port = hop.port;
        p.exit = Exit::ForwardedUplink;
        frame_up(p.mbuf, p.ip, p.length, p.family, hop);
        if (p.extras == 0) [[likely]]
            continue;
        for (unsigned e = p.extra; e < p.extra + static_cast<unsigned>(p.extras); ++e) {
            rte_mbuf* m = b.extra[e];
            frame_up(m, rte_pktmbuf_mtod(m, std::uint8_t*), m->data_len, p.family, hop);
        }
    }
}

}  // namespace dr
