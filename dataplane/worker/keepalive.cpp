// Keepalives on a worker: received ones go to the liveness thread of their tunnel's subscriber,
// those that a liveness thread has made are sent (proto/TUNNEL.md §6, dataplane/keepalive/).
#include <rte_ring.h>

#include "dataplane/keepalive/handover.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"

namespace dr {

namespace {

// Where a message's salt and counter lie, and what is needed of a message to look at them.
constexpr unsigned kSalt = 8;
constexpr unsigned kCounter = 16;
constexpr unsigned kSmallest = wire::kTokenSize;

std::uint64_t load64(const std::uint8_t* at) {
    std::uint64_t value;
    std::memcpy(&value, at, sizeof value);
    return __builtin_bswap64(value);
}

// The peer's next message, as far as it can be told without its key, from wherever it comes: the
// peer's address may have changed. An older one, late or replayed, takes the limited way.
bool looks_genuine(const KeepalivePeer& peer, std::uint64_t salt, const std::uint8_t* message,
                   unsigned size) {
    return size >= kSmallest && salt != KeepalivePeer::kNoSalt && salt == load64(message + kSalt) &&
           load64(message + kCounter) > peer.counter.load(std::memory_order_relaxed);
}

wire::Endpoint source_of(const Packet& p) {
    wire::Endpoint source;
    source.family = p.family;
    if (p.protocol == wire::kProtoUdp) source.port = wire::detail::load16(p.ip + p.upper);
    std::memcpy(source.address.data(), p.ip + (p.family == 4 ? 12 : 8), p.family == 4 ? 4 : 16);
    return source;
}

Exit hand_over(Context& c, Packet& p, const std::uint8_t* gre) {
    const KeepaliveHandover* const handover = c.shared->keepalive;
    if (handover == nullptr) return Exit::DropKeepalive;
    const std::uint8_t* const message = gre + sizeof(wire::GreKey);
    const auto size = static_cast<unsigned>(p.ip + p.length - message);
    const std::uint32_t key = wire::detail::load32(gre + 4);
    const std::uint32_t slot = key & 0xffffffU;
    const KeepalivePeer& peer = handover->peers[slot];
    const std::uint64_t salt = peer.salt.load(std::memory_order_relaxed);
    if (salt == 0) return Exit::DropKeepalive;
    const std::uint64_t now = rte_rdtsc();
    bool trusted = false;
    bool taken = false;
    if (looks_genuine(peer, salt, message, size)) {
        const auto now_ms = static_cast<std::uint32_t>(now / handover->tsc_per_ms);
        trusted = handover->pace[c.config.number][slot].take(now_ms);
        taken = trusted || c.genuine.take(now, c.tsc_hz);
    } else {
        taken = c.keepalives.take(slot, now, c.tsc_hz);
    }
    if (!taken) return Exit::DropKeepaliveRate;
    const KeepaliveArrival arrival{now, source_of(p), key};
    const KeepaliveRings& rings = handover->shards[p.from->subscriber % handover->shards.size()];
    rte_mbuf* const m = p.mbuf;
    const auto offset =
        static_cast<std::size_t>(message - static_cast<const std::uint8_t*>(m->buf_addr));
    // Ethernet, the shortest IP header and GRE are longer than what takes their place.
    static_assert(sizeof(KeepaliveArrival) <=
                  sizeof(wire::Ethernet) + sizeof(wire::Ipv4) + sizeof(wire::GreKey));
    std::memcpy(static_cast<std::uint8_t*>(m->buf_addr) + offset - sizeof arrival, &arrival,
                sizeof arrival);
    m->data_off = static_cast<std::uint16_t>(offset);
    m->data_len = static_cast<std::uint16_t>(size);
    m->pkt_len = size;
    if (rte_ring_enqueue(trusted ? rings.trusted : rings.other, m) != 0) return Exit::DropKeepalive;
    p.mbuf = nullptr;
    return Exit::Keepalive;
}

}  // namespace

void take_keepalive(Context& c, Packet& p, const std::uint8_t* gre) {
    exit_with(c, p, hand_over(c, p, gre));
}

void refuse_inner(Context& c, Packet& p, std::uint32_t slot, Exit exit) {
    const KeepaliveHandover* const handover = c.shared->keepalive;
    if (handover != nullptr) {
        std::atomic<std::uint32_t>& count = handover->refused[c.config.number][slot];
        count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    exit_with(c, p, exit);
}

unsigned send_injected(Context& c) {
    Burst& b = c.received;
    b.clear();
    c.replies.clear();
    std::array<void*, kBurst> taken;
    b.count = rte_ring_dequeue_burst(c.config.inject, taken.data(), kBurst, nullptr);
    if (b.count == 0) return 0;
    for (unsigned i = 0; i < b.count; ++i) {
        Packet& p = b.packets[i];
        p.start();
        p.mbuf = static_cast<rte_mbuf*>(taken[i]);
        p.ip = rte_pktmbuf_mtod(p.mbuf, std::uint8_t*);
        p.length = p.mbuf->data_len;
        p.family = p.ip[0] >> 4;
        p.flags = Packet::kLive | Packet::kOwn;
        (p.family == 4 ? b.lookup4 : b.lookup6).add(i);
    }
    b.in_port = 0;
    stage_lookup(c, b);
    stage_steer(c, b);
    stage_encapsulate(c, b);
    stage_forward(c, b);
    stage_transmit(c, b, c.replies);
    return b.count;
}

}  // namespace dr
