// Keepalives on a worker: received ones whose tag is right go to the liveness thread of their
// tunnel's subscriber, those that a liveness thread has made are sent (proto/TUNNEL.md §6,
// dataplane/keepalive/).
// Exits: punt.keepalive drop.keepalive drop.keepalive_rate drop.keepalive_tag.
#include <rte_ring.h>

#include "dataplane/keepalive/handover.h"
#include "dataplane/liveness/auth.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"

namespace dr {

namespace {

// Where a message's fields lie, and the least size of one.
constexpr unsigned kKeyNumber = 4;
constexpr unsigned kSalt = 8;
constexpr unsigned kCounter = 16;
constexpr unsigned kSmallest = wire::kTokenSize;

struct Arrived {
    const std::uint8_t* bytes;
    unsigned size;
    std::uint32_t key;  // the GRE key
    std::uint64_t salt;
    std::uint64_t counter;
    std::uint64_t now;
    [[nodiscard]] std::uint32_t slot() const { return TunnelId{key}.slot(); }
};

wire::Endpoint source_of(const Packet& p) {
    wire::Endpoint source;
    source.family = p.family;
    if (p.protocol == wire::kProtoUdp) source.port = wire::load16(p.ip + p.upper);
    const wire::IpLayout at = wire::ip_layout(p.family);
    std::memcpy(source.address.data(), p.ip + at.source, at.address);
    return source;
}

Arrived arrived(const Packet& p, const std::uint8_t* gre) {
    Arrived a;
    a.bytes = gre + sizeof(wire::GreKey);
    a.size = static_cast<unsigned>(p.ip + p.length - a.bytes);
    a.key = wire::load32(gre + 4);
    a.salt = a.counter = 0;
    a.now = rte_rdtsc();
    if (a.size < kSmallest) return a;
    a.salt = wire::load64(a.bytes + kSalt);
    a.counter = wire::load64(a.bytes + kCounter);
    return a;
}

// The place of a tunnel's start at one address: see StartLimiter.
std::uint64_t start_of(const Arrived& a, const wire::Endpoint& source) {
    std::array<std::uint64_t, 2> address;
    std::memcpy(address.data(), source.address.data(), sizeof address);
    return a.salt ^ address[0] * 3 ^ address[1] * 5 ^
           (std::uint64_t{source.port} << 32 | a.key) * 7;
}

// Only who has seen the tunnel's messages makes one like it, but it has to have the right tag, too.
bool looks_next(const Arrived& a, const KeepalivePeer& peer, std::uint64_t salt) {
    return salt == a.salt && a.counter > peer.counter.load(std::memory_order_relaxed);
}

// The tag of the bound peer's next message is always verified; of others within limits. What a
// tunnel's strays take too much of counts as anybody's.
bool may_verify(Context& c, const Packet& p, const Arrived& a, const KeepalivePeer& peer,
                std::uint64_t salt, bool bound) {
    const bool is_long = a.size > wire::kMaxKeepaliveSize;
    if (!is_long && looks_next(a, peer, salt)) {
        const KeepaliveHandover& handover = *c.shared->keepalive;
        if (bound && handover.seen[c.config.number][a.slot()].is_news(a.salt, a.counter))
            return true;
        if (c.strays.of(a.slot(), c.secret).take(a.now, c.tsc_hz)) return true;
    }
    return c.checks.take(network_of(p), is_long, c.secret, a.now, c.tsc_hz);
}

[[gnu::noinline]] void count_refusal(const Arrived& a, const KeepalivePeer& peer,
                                     KeepaliveRefusals& refusals) {
    wire::Message m;
    const bool malformed = wire::decode({a.bytes, a.size}, m) != wire::DecodeError::None;
    const bool known =
        !malformed && (peer.number[0].load(std::memory_order_relaxed) == m.key_number ||
                       peer.number[1].load(std::memory_order_relaxed) == m.key_number);
    std::atomic<std::uint64_t>& count = malformed ? refusals.malformed
                                        : known   ? refusals.bad_tag
                                                  : refusals.unknown_key;
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

bool has_right_tag(const Arrived& a, const KeepalivePeer& peer, std::uint32_t* sequence) {
    liveness::MacKey key;
    return a.size >= kSmallest && a.size <= wire::kMaxProbeSize &&
           read_peer_key(peer, a.key, a.bytes[kKeyNumber], &key, sequence) &&
           liveness::verify_tag(key, {a.bytes, a.size});
}

enum class Way : std::uint8_t { Trusted, Other, None };

// Of a message whose tag is right.
Way way_of(Context& c, const Arrived& a, const wire::Endpoint& source, const KeepalivePeer& peer,
           std::uint64_t salt, bool bound) {
    const KeepaliveHandover& handover = *c.shared->keepalive;
    KeepaliveSeen& seen = handover.seen[c.config.number][a.slot()];
    const bool next = looks_next(a, peer, salt) && seen.is_news(a.salt, a.counter);
    if (next && bound) {
        seen.mark(a.salt, a.counter);
        if (seen.pace.take(static_cast<std::uint32_t>(a.now / handover.tsc_per_ms)))
            return Way::Trusted;
    }
    const bool starts = salt != a.salt || (next && !bound);
    const bool taken = starts ? c.starts.take(start_of(a, source), c.secret, a.now, c.tsc_hz)
                              : c.late.take(a.slot(), c.secret, a.now, c.tsc_hz);
    return taken ? Way::Other : Way::None;
}

Exit hand_over(Context& c, Packet& p, const std::uint8_t* gre, bool bound) {
    const KeepaliveHandover* const handover = c.shared->keepalive;
    if (handover == nullptr) return Exit::DropKeepalive;
    const Arrived a = arrived(p, gre);
    const KeepalivePeer& peer = handover->peers[a.slot()];
    const std::uint64_t salt = peer.salt.load(std::memory_order_relaxed);
    if (salt == 0) return Exit::DropKeepalive;
    if (!may_verify(c, p, a, peer, salt, bound)) return Exit::DropKeepaliveRate;
    std::uint32_t sequence = 0;
    if (!has_right_tag(a, peer, &sequence)) {
        count_refusal(a, peer, handover->refusals[c.config.number]);
        return Exit::DropKeepaliveTag;
    }
    const wire::Endpoint source = source_of(p);
    const Way way = way_of(c, a, source, peer, salt, bound);
    if (way == Way::None) return Exit::DropKeepaliveRate;
    const KeepaliveRings& rings = handover->shards[p.from->subscriber % handover->shards.size()];
    // Ethernet, the shortest IP header and GRE are longer than what takes their place.
    static_assert(sizeof(KeepaliveArrival) <=
                  sizeof(wire::Ethernet) + sizeof(wire::Ipv4) + sizeof(wire::GreKey));
    rte_ring* const ring = way == Way::Trusted ? rings.trusted : rings.other;
    if (rte_ring_full(ring) != 0) return Exit::DropKeepalive;  // with its headers as they came
    leave_arrival(p.mbuf, a.bytes, a.size, {a.now, source, a.key, sequence});
    const bool taken = rte_ring_enqueue(ring, p.mbuf) == 0;
    if (!taken) rte_pktmbuf_free(p.mbuf);  // another worker was faster
    p.mbuf = nullptr;
    return taken ? Exit::Keepalive : Exit::DropKeepalive;
}

}  // namespace

void expect_keepalive(const Context& c, std::uint32_t slot) {
    const KeepaliveHandover* const handover = c.shared->keepalive;
    if (handover == nullptr) return;
    __builtin_prefetch(&handover->peers[slot]);
    __builtin_prefetch(&handover->seen[c.config.number][slot], 1);
}

void leave_arrival(rte_mbuf* m, const std::uint8_t* bytes, unsigned size,
                   const KeepaliveArrival& arrival) {
    const auto offset =
        static_cast<std::size_t>(bytes - static_cast<const std::uint8_t*>(m->buf_addr));
    std::memcpy(static_cast<std::uint8_t*>(m->buf_addr) + offset - sizeof arrival, &arrival,
                sizeof arrival);
    m->data_off = static_cast<std::uint16_t>(offset);
    m->data_len = static_cast<std::uint16_t>(size);
    m->pkt_len = size;
}

void take_keepalive(Context& c, Packet& p, const std::uint8_t* gre, bool bound) {
    exit_with(c, p, hand_over(c, p, gre, bound));
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
