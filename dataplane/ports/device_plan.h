// Plans a device's configuration from its announced capabilities. A pure function: it touches no
// device, so the choice for any hardware can be tested. All kinds of ports use it.
//
// Decided on purpose:
// - Transmit checksum offload is never asked for. Headers are patched by increment (RFC 1624) or
//   come ready-made, a few instructions on a line that is in cache; the offload would need flags
//   and lengths in the buffer's second line, and it keeps drivers off their vector path.
// - Nor are chains of buffers on transmit: the pipeline works on packets in one piece.
#pragma once

#include <rte_ethdev.h>

#include <cstdint>
#include <string>

namespace dr {

struct DeviceWish {
    std::uint16_t rx_queues = 1;
    std::uint16_t tx_queues = 1;  // all are needed: each belongs to one thread
    std::uint16_t mtu = 0;        // bytes of IP packet; 0: the device keeps its own
    std::uint16_t data_room = 0;  // bytes of a packet buffer, headroom included
    // Every packet that the device will send comes out of one mempool, with one reference to it.
    bool one_pool = false;
};

enum class Rss : std::uint8_t {
    NotNeeded,  // one receive queue
    None,       // the device spreads by itself, or does not
    Outer,      // by the outer header
    Inner       // by the innermost header
};

struct DevicePlan {
    rte_eth_conf conf{};
    std::uint16_t rx_queues{};
    std::uint16_t tx_queues{};
    std::uint16_t rx_descriptors{};
    std::uint16_t tx_descriptors{};
    Rss rss = Rss::NotNeeded;

    [[nodiscard]] bool rx(std::uint64_t offload) const {
        return (conf.rxmode.offloads & offload) != 0;
    }
    [[nodiscard]] bool tx(std::uint64_t offload) const {
        return (conf.txmode.offloads & offload) != 0;
    }
};

// Fewer receive queues than requested are accepted, and shown by describe(). false and a reason:
// too few transmit queues, or an MTU that the device cannot carry.
bool plan_device(const rte_eth_dev_info& info, const DeviceWish& wish, DevicePlan* plan,
                 std::string* error);
// The hash by outer headers instead, for a driver that announces levels and refuses them. false:
// the plan has no level.
bool without_rss_level(DevicePlan* plan);
// One line for the operator: queues, descriptors, what spreads packets, offloads.
std::string describe(const DevicePlan& plan, const DeviceWish& wish);

}  // namespace dr
