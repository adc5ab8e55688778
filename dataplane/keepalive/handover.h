// How keepalives pass between workers and liveness threads.
//
//   worker -> thread   Of each shard two rings, for messages whose tag the worker has found right.
//                      *Trusted*: from the bound endpoint, under the salt that the thread believes,
//                      with a counter above all before it, within the tunnel's pace: only the
//                      tunnel's key makes those, and none can be replayed. *Other*: all else, which
//                      somebody may have seen and sent again; limited by the worker, and read with
//                      what time is left.
//   thread -> worker   Of each worker one ring, of whole outer IP packets to be sent as its own.
//
// What a worker hands over is the buffer itself: its data is the message (what follows the GRE
// header), and right before the data, where outer headers were, lies a KeepaliveArrival. Data of
// kHintSize bytes is no message but a hint (TUNNEL.md §15): the largest inner packet, big-endian,
// that the path takes according to an ICMP error about a packet of the tunnel; 0: it did not say.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "dataplane/liveness/engine.h"
#include "dataplane/tables/tables.h"
#include "dataplane/wire/keepalive.h"

struct rte_ring;

namespace dr {

struct KeepaliveArrival {
    std::uint64_t tsc;  // when a worker met it
    wire::Endpoint source;
    std::uint32_t key;       // the GRE key
    std::uint32_t sequence;  // of the keys that its tag was verified with: KeepalivePeer::sequence
};
static_assert(sizeof(KeepaliveArrival) == 40);

inline constexpr unsigned kHintSize = 2;

struct KeepaliveRings {
    rte_ring* trusted{};
    rte_ring* other{};
};

// What a worker must know of a tunnel's peer, host order. Written by the shard of the tunnel, read
// by workers for keepalives only.
struct alignas(kCacheLine) KeepalivePeer {
    static constexpr std::uint64_t kNoSalt = ~std::uint64_t{0};
    std::atomic<std::uint64_t> salt;      // 0: no keepalives on that slot; kNoSalt: none yet
    std::atomic<std::uint64_t> counter;   // the highest one believed under it
    std::atomic<std::uint32_t> sequence;  // grows with each change of what follows; odd meanwhile
    std::atomic<std::uint32_t> tunnel;    // the id that the keys are of, generation included
    std::array<std::atomic<std::uint64_t>, 4> keys;   // two of the peer's direction
    std::array<std::atomic<std::uint8_t>, 2> number;  // of each; 0: none
};
static_assert(sizeof(KeepalivePeer) == 64);

// The shard only. Nothing is written where the same stands there already.
inline void write_peer_keys(KeepalivePeer& peer, const liveness::PeerKeys& keys) {
    std::array<std::uint64_t, 4> words;
    static_assert(sizeof words == sizeof keys.key);
    std::memcpy(words.data(), keys.key.data(), sizeof words);
    bool same = peer.tunnel.load(std::memory_order_relaxed) == keys.tunnel;
    for (unsigned i = 0; i < 4; ++i)
        same = same && peer.keys[i].load(std::memory_order_relaxed) == words[i];
    for (unsigned k = 0; k < 2; ++k)
        same = same && peer.number[k].load(std::memory_order_relaxed) == keys.number[k];
    if (same) return;
    // While a tunnel goes from one shard's subscriber to another's, both may be writing.
    const std::uint32_t odd = peer.sequence.load(std::memory_order_relaxed) | 1U;
    peer.sequence.store(odd, std::memory_order_relaxed);
    // Release: a reader that sees a new word sees the odd number before it, too.
    peer.tunnel.store(keys.tunnel, std::memory_order_release);
    for (unsigned i = 0; i < 4; ++i) peer.keys[i].store(words[i], std::memory_order_release);
    for (unsigned k = 0; k < 2; ++k)
        peer.number[k].store(keys.number[k], std::memory_order_release);
    peer.sequence.store(odd + 1, std::memory_order_release);
}

// Any thread: the key of this number for this tunnel, and the sequence that it is of. false: there
// is none, or it is being written at this moment.
inline bool read_peer_key(const KeepalivePeer& peer, std::uint32_t tunnel, std::uint8_t number,
                          std::array<std::uint8_t, 16>* key, std::uint32_t* sequence) {
    *sequence = peer.sequence.load(std::memory_order_acquire);
    if (number == 0 || (*sequence & 1U) != 0) return false;
    const bool newer = peer.number[0].load(std::memory_order_acquire) == number;
    if (!newer && peer.number[1].load(std::memory_order_acquire) != number) return false;
    const unsigned first = newer ? 0 : 2;
    const std::array<std::uint64_t, 2> words{peer.keys[first].load(std::memory_order_acquire),
                                             peer.keys[first + 1].load(std::memory_order_acquire)};
    if (peer.tunnel.load(std::memory_order_acquire) != tunnel ||
        peer.sequence.load(std::memory_order_relaxed) != *sequence)
        return false;
    std::memcpy(key->data(), words.data(), sizeof words);
    return true;
}

// Even the tunnel's own messages are trusted no faster than this: a site that sends without end
// costs the other tunnels nothing. GCRA (ITU-T I.371).
struct KeepalivePace {
    static constexpr std::uint32_t kGapMs = 10;
    static constexpr std::uint32_t kAtOnce = 32;
    std::uint32_t whole_at;  // ms, modulo 2^32: when the allowance was, or will be, whole again

    bool take(std::uint32_t now_ms) {
        std::uint32_t ahead = whole_at - now_ms;
        // Behind us, however long ago: no more than the allowance can lie ahead.
        if (ahead > kGapMs * kAtOnce) ahead = 0;
        if (ahead > kGapMs * (kAtOnce - 1)) return false;
        whole_at = now_ms + ahead + kGapMs;
        return true;
    }
};

// A worker's own, of one tunnel.
struct KeepaliveSeen {
    KeepalivePace pace;
    std::uint32_t salt;     // its low half, of the messages that `counter` is of
    std::uint64_t counter;  // the highest one that came from the bound endpoint with a right tag

    // It is not one that has come here before: the thread may not have seen that one yet.
    [[nodiscard]] bool is_news(std::uint64_t salt_now, std::uint64_t counter_now) const {
        return salt != static_cast<std::uint32_t>(salt_now) || counter_now > counter;
    }
    void mark(std::uint64_t salt_now, std::uint64_t counter_now) {
        salt = static_cast<std::uint32_t>(salt_now);
        counter = counter_now;
    }
};
static_assert(sizeof(KeepaliveSeen) == 16);

// Messages that a worker has refused, as liveness::Statistics counts them. The worker's own, never
// set back.
struct alignas(kCacheLine) KeepaliveRefusals {
    std::atomic<std::uint64_t> malformed, unknown_key, bad_tag;
};

struct KeepaliveHandover {
    std::vector<KeepaliveRings> shards;  // by SubscriberIndex modulo their number
    RowArray<KeepalivePeer> peers;       // by tunnel slot
    // By tunnel slot, of shards alone: the subscriber (its incarnation) whose session the slot's
    // row in `peers` and in the liveness memfd is of; 0: none. When a tunnel goes from one
    // shard's subscriber to another's, the new one's may come first.
    RowArray<std::atomic<std::uint32_t>> owners;
    // By worker, by tunnel slot: data packets from the tunnel's peer that were refused for what was
    // in them. The path has not lost those. Written by the worker, never set back.
    std::vector<RowArray<std::atomic<std::uint32_t>>> refused;
    // By worker, by tunnel slot.
    std::vector<RowArray<KeepaliveSeen>> seen;
    std::unique_ptr<KeepaliveRefusals[]> refusals;  // by worker
    std::uint64_t tsc_per_ms = 1;
};

}  // namespace dr
