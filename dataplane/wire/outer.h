// The outer headers of a keepalive (proto/TUNNEL.md §2, §6): DSCP and ECN 0, DF, TTL 64, UDP
// checksum 0.
#pragma once

#include <cstdint>

#include "dataplane/wire/keepalive.h"

namespace dr::keepalive {

// Bytes before the message: IPv4 or IPv6, UDP unless to.port is 0, GRE with key.
unsigned outer_size(const wire::Endpoint& to);

// Writes them. `from` has the family of `to`; its port is used in GRE-in-UDP. UDP checksum 0.
void write_outer(std::uint8_t* at, const wire::Endpoint& from, const wire::Endpoint& to,
                 std::uint32_t key, unsigned message_size);

}  // namespace dr::keepalive
