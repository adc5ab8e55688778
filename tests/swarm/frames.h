// The frames that URs and their sites put on the wire, and what comes back. No I/O.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/wire/headers.h"
#include "dataplane/wire/keepalive.h"

namespace dr::swarm {

inline constexpr wire::Mac kDrMac{2, 0, 0, 0, 0, 1};
inline constexpr wire::Mac kNetworkMac{2, 0, 0, 0, 0, 0xfe};
inline constexpr unsigned kInnerPacket = 46;  // bytes of the sites' IPv4 packets
inline constexpr unsigned kMaxFrame = 1'600;

// Ethernet, outer IP, UDP where the endpoints have ports, and GRE of one tunnel, UR to DR.
class TunnelHeader {
  public:
    TunnelHeader() = default;
    // ur.port 0: native GRE. Both endpoints of one family.
    TunnelHeader(const wire::Endpoint& ur, const wire::Endpoint& dr, std::uint32_t key);

    // The frame with `payload` behind a GRE header of this protocol type. Its size.
    unsigned write(std::uint16_t protocol, std::span<const std::uint8_t> payload,
                   std::span<std::uint8_t> out) const;

  private:
    std::array<std::uint8_t, 70> bytes_{};
    std::uint8_t size_ = 0;
    bool v6_ = false;
    bool udp_ = false;
};

// An IPv4/UDP packet of kInnerPacket bytes. Addresses in host order; `flow` picks its ports.
void write_inner(std::uint32_t source, std::uint32_t destination, std::uint32_t flow,
                 std::span<std::uint8_t, kInnerPacket> out);

// Such a packet in a frame to the DR's port. The frame's size.
unsigned write_plain(std::uint32_t source, std::uint32_t destination, std::uint32_t flow,
                     std::span<std::uint8_t> out);

struct Arrived {
    enum class Kind : std::uint8_t { Other, Keepalive, TunnelData, Plain };
    Kind kind = Kind::Other;
    std::uint32_t key = 0;                  // of the tunnel
    wire::Endpoint source;                  // outer, of the tunnel
    std::span<const std::uint8_t> payload;  // behind the GRE header
    std::uint32_t inner_source = 0;         // Plain: host order
};

// What a frame from the DR is. `payload` points into it.
Arrived read_frame(std::span<const std::uint8_t> frame);

}  // namespace dr::swarm
