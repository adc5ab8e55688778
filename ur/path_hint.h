// What an ICMP error says of the path MTU: "fragmentation needed" (RFC 1191) and "packet too big"
// (RFC 4443 §3.2), read from what a raw socket gives. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "base/ip.h"
#include "ur/bpf/shared.h"

namespace dr::ur {

struct PathHint {
    // The packet that was too large: whole outer headers of a tunnel, up to the GRE key.
    IpAddress source, destination;
    std::uint32_t key;
    std::uint16_t source_port, destination_port;  // GRE-in-UDP
    bool udp;
    std::uint16_t mtu;  // bytes of an outer packet; less than that packet had; 0: not said
};

// `message`: the ICMP message, from its type on. nullopt: of another type, not sound, or about
// something else than a tunnel's packet.
std::optional<PathHint> read_path_hint(std::uint8_t family, std::span<const std::uint8_t> message);

// Whether it is about what this end sends into the tunnel.
bool is_about(const PathHint& hint, const ur_tunnel& tunnel);

}  // namespace dr::ur
