// How keepalives pass between workers and liveness threads.
//
//   worker -> thread   Of each shard two rings. *Trusted*: from the tunnel's bound endpoint, under
//                      the salt that the thread believes; nobody off the path can make those.
//                      *Other*: all else, limited by the worker, and read with what time is left.
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

struct KeepaliveHandover {
    std::vector<KeepaliveRings> shards;  // by SubscriberIndex modulo their number
    // Salt of the peer by tunnel slot, host order. 0: no keepalives on that slot; kNoSalt: none is
    // believed yet. Written by the shard of the slot's tunnel, read by workers for keepalives only.
    static constexpr std::uint64_t kNoSalt = ~std::uint64_t{0};
    RowArray<std::atomic<std::uint64_t>> peer_salts;
    // By worker, by tunnel slot: data packets from the tunnel's peer that were refused for what was
    // in them. The path has not lost those. Written by the worker, never set back.
    std::vector<RowArray<std::atomic<std::uint32_t>>> refused;
};

}  // namespace dr
