// Stage 5: into the tunnel. TTL, MTU, MSS, then the tunnel's ready-made header in front, patched
// with what differs from packet to packet (proto/TUNNEL.md §2).
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"
#include "dataplane/worker/mss.h"
#include "dataplane/worker/ttl.h"

namespace dr {

namespace {

template <unsigned Header, bool Udp, bool V6>
void write_outer(std::uint8_t* outer, const TunnelRow& row, std::uint16_t inner, unsigned family,
                 std::uint8_t tos, std::uint32_t hash) {
    std::memcpy(outer, row.header.data(), Header);
    constexpr unsigned kIp = V6 ? 40 : 20;
    if constexpr (V6) {
        // Version, traffic class, flow label (RFC 6438: the label carries the entropy).
        const Be32 first =
            Be32::from(0x60000000U | static_cast<std::uint32_t>(tos) << 20 | dr_flow_label(hash));
        std::memcpy(outer, &first, 4);
        const Be16 payload = Be16::from(static_cast<std::uint16_t>(inner + Header - kIp));
        std::memcpy(outer + 4, &payload, 2);
    } else {
        // The row's checksum is over length 0 and TOS 0; only these two are added (RFC 1624).
        const Be16 total = Be16::from(static_cast<std::uint16_t>(inner + Header));
        outer[1] = tos;
        std::memcpy(outer + 2, &total, 2);
        std::uint16_t sum;
        std::memcpy(&sum, outer + 10, 2);
        const std::uint32_t added = static_cast<std::uint32_t>(static_cast<std::uint16_t>(~sum)) +
                                    total.raw + static_cast<std::uint32_t>(tos) * 256U;
        sum = static_cast<std::uint16_t>(~wire::checksum_fold(added));
        std::memcpy(outer + 10, &sum, 2);
    }
    if constexpr (Udp) {
        if ((row.flags & TunnelRow::kEntropy) != 0) {
            const Be16 port = Be16::from(dr_flow_source_port(hash));
            std::memcpy(outer + kIp, &port, 2);
        }
        const Be16 length = Be16::from(static_cast<std::uint16_t>(inner + Header - kIp));
        std::memcpy(outer + kIp + 4, &length, 2);
    }
    const Be16 type = Be16::from(family == 4 ? wire::kEtherIpv4 : wire::kEtherIpv6);
    std::memcpy(outer + Header - 6, &type, 2);
}

// Outer IP header in front of the packet at mbuf's IP; returns where it starts.
std::uint8_t* encapsulate(std::uint8_t* ip, std::uint16_t length, unsigned family,
                          const TunnelRow& row, std::uint32_t hash) {
    const std::uint8_t tos =
        family == 4 ? ip[1] : static_cast<std::uint8_t>(ip[0] << 4 | ip[1] >> 4);
    std::uint8_t* outer = ip - row.header_length();
    switch (row.flags & 3U) {
        case 0:
            write_outer<28, false, false>(outer, row, length, family, tos, hash);
            break;
        case TunnelRow::kUdp:
            write_outer<36, true, false>(outer, row, length, family, tos, hash);
            break;
        case TunnelRow::kIpv6:
            write_outer<48, false, true>(outer, row, length, family, tos, hash);
            break;
        default:
            write_outer<56, true, true>(outer, row, length, family, tos, hash);
            break;
    }
    return outer;
}

// Frame = Ethernet + outer + inner, in the mbuf that holds `ip`.
void frame_up(rte_mbuf* m, std::uint8_t* ip, std::uint16_t length, const Packet& p,
              const NextHopRow& hop) {
    std::uint8_t* outer = encapsulate(ip, length, p.family, *p.tunnel, p.hash);
    std::uint8_t* eth = outer - sizeof(wire::Ethernet);
    std::memcpy(eth, hop.destination.data(), 12);  // both addresses, as they lie in the row
    const Be16 type =
        Be16::from((p.tunnel->flags & TunnelRow::kIpv6) != 0 ? wire::kEtherIpv6 : wire::kEtherIpv4);
    std::memcpy(eth + 12, &type, 2);
    m->data_off = static_cast<std::uint16_t>(eth - static_cast<std::uint8_t*>(m->buf_addr));
    m->data_len = static_cast<std::uint16_t>(length + (ip - eth));
    m->pkt_len = m->data_len;
}

// The low 24 bits of the GRE key, which ends the header.
std::uint32_t tunnel_slot(const TunnelRow& row) {
    return wire::detail::load32(row.header.data() + row.header_length() - 4) & 0xffffffU;
}

// Larger than the tunnel: an ICMP error, or fragments. true: goes on.
bool fit(Context& c, Burst& b, unsigned i, unsigned mtu) {
    Packet& p = b.packets[i];
    const bool may_fragment =
        p.family == 4 && (load_be16(p.ip + 6) & wire::Ipv4::kDontFragment) == 0;
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

}  // namespace

void stage_encapsulate(Context& c, Burst& b) {
    const Tables& t = *c.tables;
    std::array<std::uint32_t, kBurst> slot;
    for (const unsigned i : b.steer) {
        slot[i] = tunnel_slot(*b.packets[i].tunnel);
        __builtin_prefetch(&c.tunnel_counters[slot[i]], 1);
    }
    for (const unsigned i : b.steer) {
        Packet& p = b.packets[i];
        const TunnelRow& row = *p.tunnel;
        const std::uint32_t next = row.next_hop.load(std::memory_order_acquire);
        if (next == kNoRow) {
            exit_with(c, p, Exit::DropTunnelUnresolved);
            continue;
        }
        const NextHopRow& hop = t.next_hop(next);
        if (hop.resolved == 0) {
            exit_with(c, p, Exit::DropNoNeighbour);
            continue;
        }
        const bool own = (p.flags & Packet::kOwn) != 0;
        if (!own && !ttl_left(p)) {
            fail_with(c, b, i, IcmpError::TimeExceeded, Exit::DropTtlExpired);
            continue;
        }
        // Before the TTL changes: an ICMP error quotes the packet as it came.
        // The tunnel's MTU, or what the port that it leaves through has room for.
        const unsigned room = hop.mtu - row.header_length();
        const unsigned mtu = row.mtu < room ? row.mtu : room;
        if (p.length > mtu && !fit(c, b, i, mtu)) continue;
        maybe_clamp_mss(p, mtu);
        if (!own) decrement_ttl(p);
        southbound::TunnelCounters& counters = c.tunnel_counters[slot[i]];
        count_up(counters.downlink_packets, 1U + p.extras);
        std::uint64_t bytes = p.length;
        frame_up(p.mbuf, p.ip, p.length, p, hop);
        for (unsigned e = p.extra; e < p.extra + static_cast<unsigned>(p.extras); ++e) {
            rte_mbuf* m = b.extra[e];
            auto* ip = rte_pktmbuf_mtod(m, std::uint8_t*);
            bytes += m->data_len;
            frame_up(m, ip, m->data_len, p, hop);
        }
        count_up(counters.downlink_bytes, bytes);
        p.out_port = hop.port;
        p.exit = p.from == nullptr ? Exit::ForwardedDownlink : Exit::ForwardedHairpin;
    }
}

}  // namespace dr
