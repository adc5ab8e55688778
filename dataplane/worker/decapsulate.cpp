// Stage 3: tunnel packets. Default deny: a known tunnel, its live generation, its encapsulation,
// its bound endpoint, an inner source inside the subscriber's own prefixes, an inner destination
// that is not one of this router's tunnel addresses (proto/TUNNEL.md §2).
//
// Three passes over the burst, so that the cache misses of one packet overlap with the others':
// find the key, check the tunnel's row, check the inner packet.
// Exits: drop.too_short drop.no_route drop.no_port drop.no_subscriber drop.gre_format
//   drop.gre_protocol drop.udp_format drop.udp_checksum drop.unknown_tunnel drop.stale_generation
//   drop.encap_mismatch drop.outer_source drop.outer_destination drop.inner_format
//   drop.inner_source drop.nested_tunnel drop.to_router drop.hairpin_self drop.ecn
//   drop.no_neighbour.
#include "dataplane/ports/rx_checksum.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/wire/udp_checksum.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/echo.h"
#include "dataplane/worker/ip_check.h"

namespace dr {

namespace {

// The GRE header of a tunnel packet, or the exit it takes.
struct Outer {
    const std::uint8_t* gre;
    Exit exit;
    bool ok;
};

// GRE-in-UDP without a checksum, or GRE; lengths as they should be. Null: see find_gre().
const std::uint8_t* plain_gre(const Packet& p) {
    const std::uint8_t* gre = p.ip + p.upper;
    if (p.upper > p.length) return nullptr;
    unsigned left = p.length - p.upper;
    if (p.protocol == wire::kProtoUdp) {
        constexpr unsigned kUdp = sizeof(wire::Udp);
        if (left < kUdp + sizeof(wire::GreKey)) return nullptr;
        std::uint32_t tail;  // length, checksum
        std::memcpy(&tail, gre + 4, 4);
        if (__builtin_bswap32(tail) != left << 16) return nullptr;
        gre += kUdp;
        left -= kUdp;
    }
    if (left < sizeof(wire::GreKey)) return nullptr;
    return load_be16(gre) == wire::kGreKeyPresent ? gre : nullptr;
}

[[gnu::noinline]] Outer find_gre(const Port& port, const Packet& p) {
    unsigned offset = p.upper;
    if (p.protocol == wire::kProtoUdp) {
        if (offset + sizeof(wire::Udp) > p.length) return {nullptr, Exit::DropTooShort, false};
        wire::Udp udp;
        std::memcpy(&udp, p.ip + offset, sizeof udp);
        if (udp.length.host() < sizeof udp || udp.length.host() + offset != p.length)
            return {nullptr, Exit::DropUdpFormat, false};
        if (udp.checksum.raw != 0 && !udp_checksum_known(port, *p.mbuf)) {
            const std::uint64_t sum = wire::udp_pseudo_sum(p.ip, p.family, udp.length);
            if (!wire::checksum_ok(p.ip + offset, udp.length.host(), sum))
                return {nullptr, Exit::DropUdpChecksum, false};
        }
        offset += static_cast<unsigned>(sizeof(wire::Udp));
    }
    if (offset + sizeof(wire::GreKey) > p.length) return {nullptr, Exit::DropTooShort, false};
    const std::uint8_t* gre = p.ip + offset;
    if (load_be16(gre) != wire::kGreKeyPresent) return {nullptr, Exit::DropGreFormat, false};
    return {gre, Exit::DropGreFormat, true};
}

// GRE-in-UDP with a bound port: the peer's is part of its endpoint.
bool bound_port(const TunnelRow& row, const Packet& p) {
    return (row.flags & (TunnelRow::kUdp | TunnelRow::kAnyPort)) != TunnelRow::kUdp ||
           std::memcmp(row.header.data() + row.header_length() - 14, p.ip + p.upper, 2) == 0;
}

// The tunnel's row against the outer header, all at once: its key, its encapsulation, both ends.
// The row's header is what we send, so its destination is the peer. false: see refuse().
template <unsigned Size>
bool bound_to(const TunnelRow& row, const Packet& p, const std::uint8_t* gre) {
    constexpr unsigned kSource = Size == 4 ? 12 : 8;
    constexpr unsigned kKind = Size == 4 ? 0U : TunnelRow::kIpv6;
    const unsigned kind = (p.protocol == wire::kProtoUdp ? TunnelRow::kUdp : 0U) | kKind;
    constexpr unsigned kFlags = TunnelRow::kUdp | TunnelRow::kIpv6 | TunnelRow::kDisabled;
    if ((row.flags & kFlags) != kind) return false;
    const std::uint8_t* const ours = row.header.data() + kSource;
    const std::uint8_t* const theirs = p.ip + kSource;
    if (std::memcmp(row.header.data() + row.header_length() - 4, gre + 4, 4) != 0 ||
        std::memcmp(ours + Size, theirs, Size) != 0 || std::memcmp(ours, theirs + Size, Size) != 0)
        return false;
    return bound_port(row, p);
}

// Why a packet is not its tunnel's, in the order of proto/TUNNEL.md §2.
[[gnu::noinline]] Exit refuse(const Packet& p, const std::uint8_t* gre) {
    const TunnelRow& row = *p.from;
    const bool udp = (row.flags & TunnelRow::kUdp) != 0;
    const bool ipv6 = (row.flags & TunnelRow::kIpv6) != 0;
    if (std::memcmp(row.header.data() + row.header_length() - 4, gre + 4, 4) != 0)
        return Exit::DropStaleGeneration;
    if (udp != (p.protocol == wire::kProtoUdp) || ipv6 != (p.family == 6))
        return Exit::DropEncapMismatch;
    if ((row.flags & TunnelRow::kDisabled) != 0) return Exit::DropUnknownTunnel;
    const unsigned size = ipv6 ? 16 : 4;
    const unsigned source = ipv6 ? 8 : 12;
    const std::uint8_t* ours = row.header.data() + source;
    const bool from_peer = std::memcmp(ours + size, p.ip + source, size) == 0 && bound_port(row, p);
    return from_peer ? Exit::DropOuterDestination : Exit::DropOuterSource;
}

// From the peer of an automatic tunnel, in the encapsulation that this end does not send in: the
// two ends do not change it at the same moment.
bool bound_otherwise(const Packet& p, const std::uint8_t* gre) {
    const TunnelRow& row = *p.from;
    const bool ipv6 = (row.flags & TunnelRow::kIpv6) != 0;
    const bool udp = (row.flags & TunnelRow::kUdp) != 0;
    if ((row.flags & (TunnelRow::kEither | TunnelRow::kDisabled)) != TunnelRow::kEither ||
        ipv6 != (p.family == 6) || udp == (p.protocol == wire::kProtoUdp))
        return false;
    const unsigned size = ipv6 ? 16 : 4;
    const unsigned source = ipv6 ? 8 : 12;
    const std::uint8_t* const ours = row.header.data() + source;
    const std::uint8_t* const theirs = p.ip + source;
    return std::memcmp(row.header.data() + row.header_length() - 4, gre + 4, 4) == 0 &&
           std::memcmp(ours + size, theirs, size) == 0 &&
           std::memcmp(ours, theirs + size, size) == 0;
}

// Keepalives are taken from any source, in either encapsulation: that is how an endpoint is
// learned.
bool keepalive_from_elsewhere(const Packet& p, const std::uint8_t* gre) {
    const TunnelRow& row = *p.from;
    const unsigned size = p.family == 4 ? 4 : 16;
    const unsigned source = p.family == 4 ? 12 : 8;
    return load_be16(gre + 2) == wire::kEtherKeepalive &&
           ((row.flags & TunnelRow::kIpv6) != 0) == (p.family == 6) &&
           std::memcmp(row.header.data() + row.header_length() - 4, gre + 4, 4) == 0 &&
           std::memcmp(row.header.data() + source, p.ip + source + size, size) == 0;
}

// true: it is the tunnel's all the same.
[[gnu::noinline]] bool not_bound(Context& c, Packet& p, const std::uint8_t* gre) {
    if (bound_otherwise(p, gre)) return true;
    if (keepalive_from_elsewhere(p, gre))
        take_keepalive(c, p, gre, false);
    else
        exit_with(c, p, refuse(p, gre));
    return false;
}

bool check_tunnel(Context& c, Packet& p, const std::uint8_t* gre) {
    const bool bound = p.family == 4 ? bound_to<4>(*p.from, p, gre) : bound_to<16>(*p.from, p, gre);
    if (!bound) [[unlikely]]
        return not_bound(c, p, gre);
    return true;
}

// ECN of the inner packet after decapsulation, RFC 6040 figure 4; 0xff: drop.
constexpr std::array<std::uint8_t, 16> kEcn{
    // outer: Not-ECT, ECT(1), ECT(0), CE
    0, 0, 0, 0xff,  // inner Not-ECT
    1, 1, 1, 3,     // inner ECT(1)
    2, 1, 2, 3,     // inner ECT(0)
    3, 3, 3, 3,     // inner CE
};

[[gnu::noinline]] bool combine_ecn(std::uint8_t* inner, unsigned inner_family, std::uint8_t outer) {
    const unsigned now =
        inner_family == 4 ? inner[1] & 3U : static_cast<unsigned>(inner[1] >> 4) & 3U;
    const std::uint8_t then = kEcn[now * 4 + (outer & 3U)];
    if (then == now) return true;
    if (then == 0xff) return false;
    if (inner_family == 6) {
        inner[1] = static_cast<std::uint8_t>((inner[1] & 0xcfU) | static_cast<unsigned>(then) << 4);
        return true;
    }
    wire::Ipv4 h;
    std::memcpy(&h, inner, sizeof h);
    const Be16 before = Be16::from(static_cast<std::uint16_t>(inner[0] << 8 | inner[1]));
    inner[1] = static_cast<std::uint8_t>((inner[1] & 0xfcU) | then);
    const Be16 after = Be16::from(static_cast<std::uint16_t>(inner[0] << 8 | inner[1]));
    const Be16 sum = wire::checksum_update(h.checksum, before, after);
    std::memcpy(inner + 10, &sum, 2);
    return true;
}

// From here on p describes the inner packet. false: finished, or in `keepalives`.
bool enter_inner(Context& c, Burst& b, unsigned i, const std::uint8_t* gre, std::uint32_t slot,
                 PacketList& keepalives) {
    Packet& p = b.packets[i];
    const std::uint16_t type = load_be16(gre + 2);
    if (type == wire::kEtherKeepalive) [[unlikely]] {
        expect_keepalive(c, slot);
        keepalives.add(i);
        return false;
    }
    if (type != wire::kEtherIpv4 && type != wire::kEtherIpv6) {
        exit_with(c, p, Exit::DropGreProtocol);
        return false;
    }
    const std::uint8_t outer_tos =
        p.family == 4 ? p.ip[1] : static_cast<std::uint8_t>(load_be16(p.ip) >> 4);
    std::uint8_t* inner = p.ip + (gre - p.ip) + sizeof(wire::GreKey);
    const auto available = static_cast<unsigned>(p.ip + p.length - inner);
    const unsigned family = type == wire::kEtherIpv4 ? 4 : 6;
    const bool sound = family == 4 ? (available >= 20 && plain_ipv4(inner, available, true)) ||
                                         check_ipv4(inner, available, true) == IpFault::None
                                   : check_ipv6(inner, available) == IpFault::None;
    if (!sound) {
        refuse_inner(c, p, slot, Exit::DropInnerFormat);
        return false;
    }
    const unsigned ecn = family == 4 ? inner[1] : static_cast<unsigned>(inner[1]) >> 4;
    if (((ecn ^ outer_tos) & 3U) != 0 && !combine_ecn(inner, family, outer_tos)) [[unlikely]] {
        refuse_inner(c, p, slot, Exit::DropEcn);
        return false;
    }
    p.ip = inner;
    p.family = static_cast<std::uint8_t>(family);
    p.length = family == 4 ? ipv4_length(inner) : ipv6_length(inner);
    return true;
}

bool unroutable_destination(const Packet& p) {
    return p.family == 4 ? unroutable_destination4(p.ip) : unroutable_destination6(p.ip);
}

void route_inner(Context& c, Burst& b, unsigned i) {
    Packet& p = b.packets[i];
    switch (p.target.kind()) {
        [[likely]] case TargetKind::NextHop
            : if (unroutable_destination(p)) [[unlikely]] return exit_with(c, p, Exit::DropNoRoute);
        b.forward.add(i);
        return;
        case TargetKind::Subscriber:
            if (p.target.index() == p.from->subscriber)
                return exit_with(c, p, Exit::DropHairpinSelf);
            __builtin_prefetch(&c.tables->subscribers[p.target.index()]);
            b.steer.add(i);
            return;
        case TargetKind::Local: {
            const wire::Upper u = p.family == 4 ? wire::upper4(p.ip) : wire::upper6(p.ip, p.length);
            const bool nested =
                u.protocol == wire::kProtoGre ||
                (u.protocol == wire::kProtoUdp &&
                 (u.later_fragment || (u.offset + 4U <= p.length &&
                                       load_be16(p.ip + u.offset + 2) == wire::kGreUdpPort)));
            if (!nested && is_ping(p, u))
                return fail_with(c, b, i, IcmpError::Echo, Exit::DropToRouter);
            return exit_with(c, p, nested ? Exit::DropNestedTunnel : Exit::DropToRouter);
        }
        case TargetKind::Pool:
            return fail_with(c, b, i, IcmpError::NoSubscriber, Exit::DropNoSubscriber);
        case TargetKind::Blackhole:
            return discard(c, b, i);
        case TargetKind::Elsewhere:
            return exit_with(c, p, Exit::DropNoPort);
        case TargetKind::Glean:
            if (unroutable_destination(p)) return exit_with(c, p, Exit::DropNoRoute);
            ask_for_neighbour(c, p);
            return exit_with(c, p, Exit::DropNoNeighbour);
        case TargetKind::None:
            return fail_with(c, b, i, IcmpError::NoRoute, Exit::DropNoRoute);
    }
    exit_with(c, p, Exit::DropNoRoute);
}

// Source and destination of the inner packets of one family, looked up in one batch.
template <unsigned Family, typename Table>
void check_inner(Context& c, Burst& b, const Table& table, const PacketList& list,
                 const std::uint32_t* slot) {
    constexpr unsigned kSource = Family == 4 ? 12 : 8;
    constexpr unsigned kDestination = Family == 4 ? 16 : 24;
    std::array<const std::uint8_t*, 2UL * kBurst> addresses;
    std::array<Target, 2UL * kBurst> targets;
    for (unsigned k = 0; k < list.count; ++k) {
        const std::uint8_t* ip = b.packets[list.index[k]].ip;
        addresses[2UL * k] = ip + kSource;
        addresses[2UL * k + 1] = ip + kDestination;
    }
    table.lookup_batch(addresses.data(), targets.data(), 2 * list.count);
    for (unsigned k = 0; k < list.count; ++k) {
        const unsigned i = list.index[k];
        Packet& p = b.packets[i];
        const Target source = targets[2UL * k];
        // What is sent to a subscriber may be discarded; what it sends is not.
        if (source != Target(TargetKind::Subscriber, p.from->subscriber) &&
            !(source.kind() == TargetKind::Blackhole &&
              source.discarded_subscriber() == p.from->subscriber)) [[unlikely]] {
            refuse_inner(c, p, slot[i], Exit::DropInnerSource);
            continue;
        }
        p.target = targets[2UL * k + 1];
        southbound::TunnelCounters& counters = c.tunnel_counters[slot[i]];
        count_up(counters.uplink_packets);
        count_up(counters.uplink_bytes, p.length);
        route_inner(c, b, i);
    }
}

}  // namespace

void stage_decapsulate(Context& c, Burst& b) {
    const Tables& t = *c.tables;
    std::array<const std::uint8_t*, kBurst> gre;
    std::array<std::uint32_t, kBurst> slot;
    std::array<std::uint32_t, kBurst> row;
    PacketList keyed, keepalives, inner4, inner6;
    for (const unsigned i : b.decapsulate) {
        Packet& p = b.packets[i];
        gre[i] = plain_gre(p);
        if (gre[i] == nullptr) [[unlikely]] {
            const Outer outer = find_gre((*c.ports)[b.in_port], p);
            if (!outer.ok) {
                exit_with(c, p, outer.exit);
                continue;
            }
            gre[i] = outer.gre;
        }
        slot[i] = wire::detail::load32(gre[i] + 4) & 0xffffffU;
        if (slot[i] >= t.tunnel_of_slot.size()) {
            exit_with(c, p, Exit::DropUnknownTunnel);
            continue;
        }
        __builtin_prefetch(&t.tunnel_of_slot[slot[i]]);
        __builtin_prefetch(&c.tunnel_counters[slot[i]], 1);
        keyed.add(i);
    }
    for (const unsigned i : keyed) {
        row[i] = t.tunnel_of_slot[slot[i]].load(std::memory_order_acquire);
        __builtin_prefetch(&t.tunnels[row[i]]);
    }
    for (const unsigned i : keyed) {
        Packet& p = b.packets[i];
        if (row[i] == kNoRow) {
            exit_with(c, p, Exit::DropUnknownTunnel);
            continue;
        }
        p.from = &t.tunnels[row[i]];
        if (!check_tunnel(c, p, gre[i]) || !enter_inner(c, b, i, gre[i], slot[i], keepalives))
            continue;
        if (p.family == 4) {
            t.lpm4->prefetch(p.ip + 12);
            t.lpm4->prefetch(p.ip + 16);
            inner4.add(i);
        } else {
            t.lpm6->prefetch(p.ip + 8);
            t.lpm6->prefetch(p.ip + 24);
            inner6.add(i);
        }
    }
    for (const unsigned i : keepalives) take_keepalive(c, b.packets[i], gre[i], true);
    check_inner<4>(c, b, *t.lpm4, inner4, slot.data());
    check_inner<6>(c, b, *t.lpm6, inner6, slot.data());
}

}  // namespace dr
