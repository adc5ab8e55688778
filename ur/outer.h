// Whole outer packets of tunnel protocol messages: made for sending, read after receipt
// (proto/TUNNEL.md §2, §6). Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/ip.h"
#include "dataplane/wire/keepalive.h"

namespace dr::ur {

// The IP packet that carries `message`: native GRE when to.port is 0, else GRE-in-UDP from
// from.port. Both ends are of one family. `key` is the tunnel's id. The UDP checksum is right, or
// 0.
std::vector<std::uint8_t> make_outer(const wire::Endpoint& from, const wire::Endpoint& to,
                                     std::uint32_t key, std::span<const std::uint8_t> message,
                                     bool zero_checksum = false);

struct Received {
    wire::Endpoint source;  // port 0: native GRE
    IpAddress destination;
    std::uint32_t key;
    std::span<const std::uint8_t> message;  // of the packet that was read
};

// An IP packet as it arrived, padding of the link behind it included. nullopt: not sound, a
// fragment, not of type 0x88B5, or a UDP checksum that is wrong (0 is none, RFC 6935).
std::optional<Received> read_outer(std::span<const std::uint8_t> packet);

wire::Endpoint to_endpoint(const IpAddress& address, std::uint16_t port);
IpAddress to_address(const wire::Endpoint& endpoint);
// "192.0.2.1:4754", "[2001:db8::1]:4754"; native GRE without a port; "" when not known.
std::string to_string(const wire::Endpoint& endpoint);

}  // namespace dr::ur
