// Stage 5: into the tunnel. TTL, MTU, MSS, then the tunnel's ready-made header in front, patched
// with what differs from packet to packet (proto/TUNNEL.md §2).
// Exits: forwarded.downlink forwarded.hairpin drop.tunnel_unresolved drop.no_neighbour
//   drop.ttl_expired drop.too_big drop.no_buffers.
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/wire/udp_checksum.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"
#include "dataplane/worker/mss.h"
#include "dataplane/worker/ttl.h"

namespace dr {

namespace {

// What the header of one packet needs beside its tunnel.
struct Inner {
    std::uint8_t* ip;
    unsigned length;
    unsigned family;
    unsigned tos;
    std::uint32_t hash;
};

unsigned tos_of(const std::uint8_t* ip, unsigned family) {
    return family == 4 ? ip[1] : (unsigned{ip[0]} << 4 & 0xf0U) | ip[1] >> 4;
}

void store16(std::uint8_t* at, std::uint16_t host) {
    const Be16 wire = Be16::from(host);
    std::memcpy(at, &wire, sizeof wire);
}

// Frame = Ethernet + outer + inner, in the mbuf that holds `in.ip`. Kind: the row's low two flags.
template <unsigned Kind>
void frame_up(rte_mbuf* m, const Inner& in, const TunnelRow& row, const NextHopRow& hop) {
    constexpr bool kUdp = (Kind & TunnelRow::kUdp) != 0;
    constexpr bool kV6 = (Kind & TunnelRow::kIpv6) != 0;
    constexpr unsigned kHeader = TunnelRow::kHeaderLength[Kind];
    constexpr unsigned kIp = kV6 ? 40 : 20;
    std::uint8_t* const outer = in.ip - kHeader;
    const unsigned flags = row.flags;  // before any byte is stored, which might alias
    std::memcpy(outer, row.header.data(), kHeader);
    if constexpr (kV6) {
        // Version, traffic class, flow label (RFC 6438: the label carries the entropy).
        const Be32 first = Be32::from(0x60000000U | in.tos << 20 | dr_flow_label(in.hash));
        std::memcpy(outer, &first, 4);
        store16(outer + 4, static_cast<std::uint16_t>(in.length + kHeader - kIp));
    } else {
        // Version, TOS and length in one word. The row's checksum is over length 0 and TOS 0; only
        // these two are added (RFC 1624).
        const Be16 total = Be16::from(static_cast<std::uint16_t>(in.length + kHeader));
        const std::uint32_t first =
            0x45U | in.tos << 8 | static_cast<std::uint32_t>(total.raw) << 16;
        std::uint16_t sum;
        std::memcpy(&sum, row.header.data() + 10, 2);
        sum = static_cast<std::uint16_t>(
            ~wire::checksum_fold32((sum ^ 0xffffU) + (first >> 16) + (first & 0xff00U)));
        std::memcpy(outer, &first, 4);
        std::memcpy(outer + 10, &sum, 2);
    }
    if constexpr (kUdp) {
        if ((flags & TunnelRow::kEntropy) != 0) store16(outer + kIp, dr_flow_source_port(in.hash));
        store16(outer + kIp + 4, static_cast<std::uint16_t>(in.length + kHeader - kIp));
    }
    store16(outer + kHeader - 6, in.family == 4 ? wire::kEtherIpv4 : wire::kEtherIpv6);
    std::uint8_t* const eth = outer - sizeof(wire::Ethernet);
    std::memcpy(eth, hop.destination.data(), 12);  // both addresses, as they lie in the row
    store16(eth + 12, kV6 ? wire::kEtherIpv6 : wire::kEtherIpv4);
    const unsigned frame = in.length + kHeader + static_cast<unsigned>(sizeof(wire::Ethernet));
    m->data_off = static_cast<std::uint16_t>(eth - static_cast<std::uint8_t*>(m->buf_addr));
    m->data_len = static_cast<std::uint16_t>(frame);
    m->pkt_len = frame;
}

void frame_up(rte_mbuf* m, const Inner& in, const TunnelRow& row, const NextHopRow& hop) {
    switch (row.flags & 3U) {
        case 0:
            return frame_up<0>(m, in, row, hop);
        case TunnelRow::kUdp:
            return frame_up<TunnelRow::kUdp>(m, in, row, hop);
        case TunnelRow::kIpv6:
            return frame_up<TunnelRow::kIpv6>(m, in, row, hop);
        default:
            return frame_up<TunnelRow::kUdp | TunnelRow::kIpv6>(m, in, row, hop);
    }
}

// The fragments that a packet was cut into; their bytes.
[[gnu::noinline]] std::uint64_t frame_up_extras(Burst& b, const Packet& p, const NextHopRow& hop) {
    std::uint64_t bytes = 0;
    for (unsigned e = p.extra; e < p.extra + static_cast<unsigned>(p.extras); ++e) {
        rte_mbuf* m = b.extra[e];
        auto* ip = rte_pktmbuf_mtod(m, std::uint8_t*);
        bytes += m->data_len;
        frame_up(m, {ip, m->data_len, p.family, tos_of(ip, p.family), p.hash}, *p.tunnel, hop);
    }
    return bytes;
}

// Of a frame that is otherwise finished, and of the fragments with it.
[[gnu::noinline]] void checksum_up(Burst& b, const Packet& p) {
    const unsigned udp = (p.tunnel->flags & TunnelRow::kIpv6) != 0 ? 40 : 20;
    const auto write = [&](rte_mbuf* m) {
        wire::write_udp_checksum(rte_pktmbuf_mtod_offset(m, std::uint8_t*, sizeof(wire::Ethernet)),
                                 udp);
    };
    write(p.mbuf);
    for (unsigned e = p.extra; e < p.extra + static_cast<unsigned>(p.extras); ++e)
        write(b.extra[e]);
}

// The low 24 bits of the GRE key, which ends the header.
std::uint32_t tunnel_slot(const TunnelRow& row) {
    return TunnelId{wire::load32(row.key())}.slot();
}

// Larger than the tunnel: an ICMP error, or fragments. true: goes on.
bool fit(Context& c, Burst& b, unsigned i, unsigned mtu) {
    Packet& p = b.packets[i];
    const bool may_fragment =
        p.family == 4 && (wire::load16(p.ip + 6) & wire::Ipv4::kDontFragment) == 0;
    if (!may_fragment) {
        p.mtu = static_cast<std::uint16_t>(mtu);
        fail_with(c, b, i, IcmpError::TooBig, Exit::DropTooBig);
        return false;
    }
    if (!fragment_ipv4(c, b, p, mtu)) {
        exit_with(c, p, Exit::DropNoBuffers);
        return false;
    }
    return true;
}

// Whatever keeps a packet from simply going on; false: it does not go on.
[[gnu::noinline]] bool prepare_careful(Context& c, Burst& b, unsigned i, const NextHopRow& hop,
                                       unsigned mtu) {
    Packet& p = b.packets[i];
    if (hop.resolved == 0) {
        const bool route = p.tunnel->next_hop.load(std::memory_order_relaxed) != kNoRow;
        exit_with(c, p, route ? Exit::DropNoNeighbour : Exit::DropTunnelUnresolved);
        return false;
    }
    const bool own = (p.flags & Packet::kOwn) != 0;
    if (!own && !ttl_left(p.ip, p.family)) {
        fail_with(c, b, i, IcmpError::TimeExceeded, Exit::DropTtlExpired);
        return false;
    }
    // Before the TTL changes: an ICMP error quotes the packet as it came.
    if (p.length > mtu && !fit(c, b, i, mtu)) return false;
    maybe_clamp_mss(*c.tables, p, mtu);
    if (!own) decrement_ttl(p.ip, p.family);
    return true;
}

}  // namespace

void stage_encapsulate(Context& c, Burst& b) {
    const std::atomic<std::uint32_t>* const next_hops = &c.tables->next_hops[0];
    const NextHopRow* const hops = &c.tables->next_hop_rows[0];
    southbound::TunnelCounters* const tunnel_counters = c.tunnel_counters;
    const unsigned count = b.steer.count;
    std::array<southbound::TunnelCounters*, kBurst> counters;
    for (unsigned k = 0; k < count; ++k) {
        counters[k] = &tunnel_counters[tunnel_slot(*b.packets[b.steer.index[k]].tunnel)];
        __builtin_prefetch(counters[k], 1);
    }
    for (unsigned k = 0; k < count; ++k) {
        const unsigned i = b.steer.index[k];
        Packet& p = b.packets[i];
        const TunnelRow& row = *p.tunnel;
        // Without a next hop this is row 0, which is never resolved.
        const std::uint32_t next = row.next_hop.load(std::memory_order_acquire);
        const NextHopRow& hop = hops[next_hops[next].load(std::memory_order_acquire)];
        const unsigned mtu = room_in(row, hop);
        const unsigned family = p.family;
        const bool plain = hop.resolved != 0 && p.length <= mtu && ttl_left(p.ip, family) &&
                           (p.flags & Packet::kOwn) == 0 && !has_mss(p);
        if (plain)
            decrement_ttl(p.ip, family);
        else if (!prepare_careful(c, b, i, hop, mtu))
            continue;
        std::uint64_t bytes = p.length;
        const Inner inner{p.ip, p.length, p.family, tos_of(p.ip, family), p.hash};
        p.out_port = hop.port;
        p.exit = p.from == nullptr ? Exit::ForwardedDownlink : Exit::ForwardedHairpin;
        const unsigned extras = p.extras;
        frame_up(p.mbuf, inner, row, hop);
        if (extras != 0) [[unlikely]]
            bytes += frame_up_extras(b, p, hop);
        if ((row.flags & TunnelRow::kChecksum) != 0) [[unlikely]]
            checksum_up(b, p);
        count_up(counters[k]->downlink_packets, 1U + extras);
        count_up(counters[k]->downlink_bytes, bytes);
    }
}

}  // namespace dr
