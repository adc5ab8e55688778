#include "tests/support/ring_ports.h"

#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <cstdlib>
#include <string>

namespace dr::test {

namespace {
constexpr unsigned kBuffers = 2047;
}

rte_mempool* ring_pool() {
    static rte_mempool* pool =
        rte_pktmbuf_pool_create("test", kBuffers, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    if (pool == nullptr) std::abort();
    return pool;
}

RingPort make_ring_port(unsigned tx_size) {
    static unsigned serial = 0;
    const std::string name = std::to_string(serial++);
    RingPort port{rte_ring_create(("rx" + name).c_str(), 1024, SOCKET_ID_ANY, 0),
                  rte_ring_create(("tx" + name).c_str(), tx_size, SOCKET_ID_ANY, 0), 0};
    const int id = rte_eth_from_rings(("r" + name).c_str(), &port.rx, 1, &port.tx, 1, 0);
    if (id < 0) std::abort();
    port.ethdev = static_cast<std::uint16_t>(id);
    rte_eth_conf conf{};
    if (rte_eth_dev_configure(port.ethdev, 1, 1, &conf) != 0 ||
        rte_eth_rx_queue_setup(port.ethdev, 0, 512, 0, nullptr, ring_pool()) != 0 ||
        rte_eth_tx_queue_setup(port.ethdev, 0, 512, 0, nullptr) != 0 ||
        rte_eth_dev_start(port.ethdev) != 0)
        std::abort();
    return port;
}

void free_ring_port(const RingPort& port) {
    rte_eth_dev_stop(port.ethdev);
    rte_eth_dev_close(port.ethdev);
    rte_ring_free(port.rx);
    rte_ring_free(port.tx);
}

}  // namespace dr::test
