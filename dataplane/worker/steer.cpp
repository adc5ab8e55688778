// Stage 4: which tunnel of the subscriber. Flow hash, bucket, line, tunnel (proto/TUNNEL.md §3,
// §4).
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"

namespace dr {

namespace {

void hash_packet(Packet& p, std::uint32_t seed) {
    if (p.family == 4) {
        const wire::Upper u = wire::upper4(p.ip);
        p.upper = u.offset;
        p.protocol = u.protocol;
        p.hash = wire::flow_hash4(p.ip, p.length, u, seed);
        if (u.fragment) p.flags |= Packet::kFragment;
        if (u.later_fragment) p.flags |= Packet::kLaterFragment;
    } else {
        const wire::Upper u = wire::upper6(p.ip, p.length);
        p.upper = u.offset;
        p.protocol = u.protocol;
        p.hash = wire::flow_hash6(p.ip, p.length, u, seed);
        if (u.fragment) p.flags |= Packet::kFragment;
        if (u.later_fragment) p.flags |= Packet::kLaterFragment;
    }
}

}  // namespace

void stage_steer(Context& c, Burst& b) {
    const Tables& t = *c.tables;
    PacketList hashed, chosen;
    std::array<std::uint32_t, kBurst> map;
    for (const unsigned i : b.steer) {
        Packet& p = b.packets[i];
        const SubscriberRow& row = t.subscribers[p.target.index()];
        hash_packet(p, row.seed.load(std::memory_order_relaxed));
        map[i] = row.map.load(std::memory_order_acquire);
        if (map[i] == kNoRow) {
            exit_with(c, p, Exit::DropNoTunnel);
            continue;
        }
        __builtin_prefetch(&t.maps[map[i]].line[dr_flow_bucket(p.hash)]);
        hashed.add(i);
    }
    for (const unsigned i : hashed) {
        Packet& p = b.packets[i];
        const unsigned line = t.maps[map[i]].line[dr_flow_bucket(p.hash)];
        const std::uint32_t row = line < kMaxLines ? t.tunnel_for(p.target.index(), line) : kNoRow;
        if (row == kNoRow) {
            exit_with(c, p, Exit::DropNoTunnel);
            continue;
        }
        p.tunnel = &t.tunnels[row];
        __builtin_prefetch(p.tunnel);
        chosen.add(i);
    }
    b.steer = chosen;
}

}  // namespace dr
