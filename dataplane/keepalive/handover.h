// How keepalives pass between workers and liveness threads.
//
//   worker -> thread   Of each shard two rings. *Trusted*: under the salt that the thread believes,
//                      with a counter above all that it has believed, within the tunnel's pace;
//                      who has seen none of the tunnel's messages cannot make those, and none can
//                      be replayed. *Other*: all else, limited by the worker, and read with what
//                      time is left.
//   thread -> worker   Of each worker one ring, of whole outer IP packets to be sent as its own.
//
// What a worker hands over is the buffer itself: its data is the message (what follows the GRE
// header), and right before the data, where outer headers were, lies a KeepaliveArrival.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "dataplane/tables/tables.h"
#include "dataplane/wire/keepalive.h"

struct rte_ring;

namespace dr {

struct KeepaliveArrival {
    std::uint64_t tsc;  // when a worker met it
    wire::Endpoint source;
    std::uint32_t key;  // the GRE key
};
static_assert(sizeof(KeepaliveArrival) == 32);

struct KeepaliveRings {
    rte_ring* trusted{};
    rte_ring* other{};
};

// What is believed of a tunnel's peer, host order. Written by the shard of the tunnel, read by
// workers for keepalives only.
struct KeepalivePeer {
    static constexpr std::uint64_t kNoSalt = ~std::uint64_t{0};
    std::atomic<std::uint64_t> salt;     // 0: no keepalives on that slot; kNoSalt: none yet
    std::atomic<std::uint64_t> counter;  // the highest one believed under it
};
static_assert(sizeof(KeepalivePeer) == 16);

// Even what looks genuine, of one tunnel, is trusted no faster than this: a site that sends without
// end, or who watches its line, costs the other tunnels nothing. GCRA (ITU-T I.371).
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

struct KeepaliveHandover {
    std::vector<KeepaliveRings> shards;  // by SubscriberIndex modulo their number
    RowArray<KeepalivePeer> peers;       // by tunnel slot
    // By tunnel slot, of shards alone: the subscriber (its incarnation) whose session the slot's
    // row in `peers` and in the liveness memfd is of; 0: nobody's. When a tunnel goes from one
    // shard's subscriber to another's, the new one's may come first.
    RowArray<std::atomic<std::uint32_t>> owners;
    // By worker, by tunnel slot: data packets from the tunnel's peer that were refused for what was
    // in them. The path has not lost those. Written by the worker, never set back.
    std::vector<RowArray<std::atomic<std::uint32_t>>> refused;
    // By worker, by tunnel slot: the worker's own, for the pace of what it takes for trusted.
    std::vector<RowArray<KeepalivePace>> pace;
    std::uint64_t tsc_per_ms = 1;
};

}  // namespace dr
