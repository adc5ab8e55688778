// What workers know of a port: queues to poll and what the hardware can do. Built at start by
// ports/, read-only afterwards.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/config/port_kind.h"
#include "dataplane/tables/types.h"
#include "dataplane/wire/headers.h"

namespace dr {

struct Port {
    std::string name;  // as configured: "up0"
    PortKind kind{};
    std::uint16_t ethdev{};  // DPDK port id
    wire::Mac mac{};
    // MAC addresses of devices above the interface that have IP addresses (macvlan, as VRRP makes
    // them): frames to these are for this port too. An entry of zeros is unused.
    std::array<wire::Mac, 4> other_macs{};
    std::uint16_t mtu = 1500;  // bytes of IP packet
    std::uint16_t rx_queues = 1;
    std::uint16_t tx_queues = 1;
    // Pcap in replay: receive queue n is polled only once the gate has reached step n + 1.
    bool gated = false;
    // The kernel sees this port's other packets by itself (AF_XDP) or through `exception`.
    bool has_kernel = false;
    // ethdev of the TAP mirror that takes packets for the kernel; kNoPort: none.
    std::uint16_t exception = kNoPort;
    // The NIC marks checked checksums; rx_checksum.h says when to trust the mark.
    bool rx_checksum_ipv4 = false;
    bool rx_checksum_udp = false;

    static constexpr std::uint16_t kNoPort = 0xffff;

    [[nodiscard]] bool has_other_mac(const wire::Mac& address) const {
        for (const wire::Mac& other : other_macs)
            if (other == address && other != wire::Mac{}) return true;
        return false;
    }
};

struct RxQueue {
    std::uint16_t port;  // number in Ports
    std::uint16_t queue;
};

// Index in the vector = port number in Target::index() and NextHopRow::port.
using Ports = std::vector<Port>;

}  // namespace dr
