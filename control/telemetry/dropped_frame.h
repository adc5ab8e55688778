// Reads addresses, ports and key from the head of a dropped frame, as far as they are there. The
// frame may be damaged or forged; nothing in it is verified.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/ip.h"

namespace dr::control {

// An IP header and the ports behind it.
struct DroppedIp {
    IpAddress source, destination;
    std::uint8_t protocol = 0;  // of IPv6 the first next header
    // Host order; 0: none, or not there.
    std::uint16_t source_port = 0, destination_port = 0;
};

struct DroppedFrame {
    std::array<std::uint8_t, 6> destination_mac{}, source_mac{};
    std::uint16_t ether_type = 0;  // behind a VLAN tag
    std::optional<std::uint16_t> vlan;
    std::optional<DroppedIp> ip;
    std::optional<std::uint32_t> key;  // of GRE, or of GRE-in-UDP
    bool keepalive = false;            // GRE carries a message of the tunnel protocol
    std::optional<DroppedIp> inner;
};

// The first bytes of a frame, from its Ethernet header on; any thread.
DroppedFrame read_frame(std::span<const std::uint8_t> head);

}  // namespace dr::control
