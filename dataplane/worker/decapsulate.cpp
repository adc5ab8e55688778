// Stage 3: tunnel packets. Default deny: a known tunnel, its live generation, its encapsulation,
// its bound endpoint (binding.h), an inner source inside the subscriber's own prefixes, an inner
// destination that is not one of this router's tunnel addresses (inner.h; proto/TUNNEL.md §2).
//
// Three passes over the burst, so that the cache misses of one packet overlap with the others':
// find the key, check the tunnel's row, check the inner packet.
// Exits: drop.too_short drop.gre_format drop.udp_format drop.udp_checksum drop.unknown_tunnel.
#include "dataplane/ports/rx_checksum.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/wire/udp_checksum.h"
#include "dataplane/worker/binding.h"
#include "dataplane/worker/inner.h"

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
    return wire::load16(gre) == wire::kGreKeyPresent ? gre : nullptr;
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
    if (wire::load16(gre) != wire::kGreKeyPresent) return {nullptr, Exit::DropGreFormat, false};
    return {gre, Exit::DropGreFormat, true};
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
        slot[i] = TunnelId{wire::load32(gre[i] + 4)}.slot();
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
            t.lpm4->prefetch(p.ip + wire::kIpv4Layout.source);
            t.lpm4->prefetch(p.ip + wire::kIpv4Layout.destination);
            inner4.add(i);
        } else {
            t.lpm6->prefetch(p.ip + wire::kIpv6Layout.source);
            t.lpm6->prefetch(p.ip + wire::kIpv6Layout.destination);
            inner6.add(i);
        }
    }
    for (const unsigned i : keepalives) take_keepalive(c, b.packets[i], gre[i], true);
    if (inner4.count != 0) route_inner4(c, b, inner4, slot.data());
    if (inner6.count != 0) route_inner6(c, b, inner6, slot.data());
}

}  // namespace dr
