// Whole outer packets of tunnel protocol messages, and the ends of tunnels as text. Pure; any
// thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/ip.h"
#include "dataplane/wire/outer.h"

namespace dr::ur {

// The IP packet that carries `message`: native GRE when to.port is 0, else GRE-in-UDP from
// from.port. Both ends are of one family. `key` is the tunnel's id. The UDP checksum is right, or
// 0.
std::vector<std::uint8_t> make_outer(const wire::Endpoint& from, const wire::Endpoint& to,
                                     std::uint32_t key, std::span<const std::uint8_t> message,
                                     bool zero_checksum = false);

wire::Endpoint to_endpoint(const IpAddress& address, std::uint16_t port);
IpAddress to_address(const wire::Endpoint& endpoint);
// "192.0.2.1:4754", "[2001:db8::1]:4754"; native GRE without a port; "" when not known.
std::string to_string(const wire::Endpoint& endpoint);

}  // namespace dr::ur
