// In-memory ports: a ring to put packets into, a ring to take them from.
#pragma once

#include <rte_mempool.h>
#include <rte_ring.h>

#include <cstdint>

namespace dr::test {

struct RingPort {
    rte_ring* rx;
    rte_ring* tx;
    std::uint16_t ethdev;
};

// The buffers of all tests of a process. DPDK must have been started. Aborts when memory is short.
rte_mempool* ring_pool();
// tx_size: a power of two; the ring holds one packet less.
RingPort make_ring_port(unsigned tx_size = 4096);
void free_ring_port(const RingPort& port);

}  // namespace dr::test
