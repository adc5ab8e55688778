// Outer packets of tunnel protocol messages: their headers written before a message, and a message
// found in a packet (proto/TUNNEL.md §2, §6). DSCP and ECN 0, DF, TTL 64. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "dataplane/wire/keepalive.h"

namespace dr::wire {

// Bytes before the message: IPv4 or IPv6, UDP unless to.port is 0, GRE with key.
unsigned outer_size(const Endpoint& to);

// Writes them. `from` has the family of `to`; its port is used in GRE-in-UDP. UDP checksum 0.
void write_outer(std::uint8_t* at, const Endpoint& from, const Endpoint& to, std::uint32_t key,
                 unsigned message_size);

struct OuterMessage {
    Endpoint source;       // port 0: native GRE
    Endpoint destination;  // port 0 always
    std::uint32_t key;
    std::span<const std::uint8_t> message;  // of the packet that was read
};

// An IP packet as it arrived, padding of the link behind it included. nullopt: not sound, a
// fragment, not of type 0x88B5, or a UDP checksum that is wrong (0 is none, RFC 6935).
std::optional<OuterMessage> read_outer(std::span<const std::uint8_t> packet);

}  // namespace dr::wire
