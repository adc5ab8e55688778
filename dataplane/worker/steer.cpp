// Stage 4: which tunnel of the subscriber. Flow hash, bucket, line, tunnel (proto/TUNNEL.md §3,
// §4).
// Exits: drop.no_tunnel.
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"

namespace dr {

namespace {

// IPv4 without options, no fragment, TCP or UDP, its ports there: the hash without any search.
bool plain_flow4(const Packet& p) {
    std::uint64_t first;
    std::memcpy(&first, p.ip, 8);
    const unsigned protocol = p.ip[9];
    return (first & 0xffbf0000000000ffULL) == 0x45 && p.length >= 24 &&
           (protocol == wire::kProtoUdp || protocol == wire::kProtoTcp);
}

std::uint32_t hash_plain4(const std::uint8_t* ip, std::uint32_t protocol, std::uint32_t seed) {
    const std::uint64_t addresses = wire::load64(ip + 12);
    const std::uint32_t ports = wire::load32(ip + 20);
    return dr_flow_hash(
        dr_flow_end4(static_cast<std::uint32_t>(addresses >> 32),
                     static_cast<std::uint16_t>(ports >> 16)),
        dr_flow_end4(static_cast<std::uint32_t>(addresses), static_cast<std::uint16_t>(ports)),
        protocol, seed);
}

[[gnu::noinline]] void hash_careful(Packet& p, std::uint32_t seed) {
    const bool v4 = p.family == 4;
    const wire::Upper u = wire::upper(p.ip, p.family, p.length);
    p.upper = u.offset;
    p.protocol = u.protocol;
    p.hash =
        v4 ? wire::flow_hash4(p.ip, p.length, u, seed) : wire::flow_hash6(p.ip, p.length, u, seed);
    if (u.later_fragment) p.flags |= Packet::kLaterFragment;
}

void hash_packet(Packet& p, std::uint32_t seed) {
    if (p.family == 4 && plain_flow4(p)) {
        p.upper = 20;
        p.protocol = p.ip[9];
        p.hash = hash_plain4(p.ip, p.protocol, seed);
    } else {
        hash_careful(p, seed);
    }
}

// Notes for liveness that the bucket is in use.
[[gnu::noinline]] void stamp_bucket(Context& c, std::uint32_t map, std::uint32_t bucket) {
    const unsigned place = SubscriberRow::place_of(map);
    MoveStamps& stamps = c.tables->move_stamps[c.config.number * kMoves + place];
    stamps.at[bucket].store(c.tables->moves.clock.load(std::memory_order_relaxed),
                            std::memory_order_relaxed);
}

}  // namespace

void stage_steer(Context& c, Burst& b) {
    const Tables& t = *c.tables;
    PacketList hashed, chosen;
    std::array<const std::uint8_t*, kBurst> bucket;
    for (const unsigned i : b.steer) {
        Packet& p = b.packets[i];
        const SubscriberRow& row = t.subscribers[p.target.index()];
        hash_packet(p, row.seed.load(std::memory_order_relaxed));
        std::uint32_t map = row.map.load(std::memory_order_acquire);
        // Both rare cases in one test.
        if (map - 1U >= SubscriberRow::kMoving - 1U) [[unlikely]] {
            if (map == kNoRow) {
                fail_with(c, b, i, IcmpError::NoTunnel, Exit::DropNoTunnel);
                continue;
            }
            stamp_bucket(c, map, dr_flow_bucket(p.hash));
            map &= SubscriberRow::kMapMask;
        }
        bucket[i] = &t.maps[map].line[dr_flow_bucket(p.hash)];
        __builtin_prefetch(bucket[i]);
        hashed.add(i);
    }
    for (const unsigned i : hashed) {
        Packet& p = b.packets[i];
        const unsigned line = *bucket[i];
        const std::uint32_t row = line < kMaxLines ? t.tunnel_for(p.target.index(), line) : kNoRow;
        if (row == kNoRow) {
            fail_with(c, b, i, IcmpError::NoTunnel, Exit::DropNoTunnel);
            continue;
        }
        p.tunnel = &t.tunnels[row];
        __builtin_prefetch(p.tunnel);
        chosen.add(i);
    }
    b.steer = chosen;
}

}  // namespace dr
