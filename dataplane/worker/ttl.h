// TTL and hop limit (RFC 1812 §5.3.1, RFC 8200 §3).
#pragma once

#include "dataplane/worker/context.h"

namespace dr {

inline bool ttl_left(const Packet& p) {
    return p.ip[p.family == 4 ? 8 : 7] > 1;
}

// One hop less, checksum kept right. Only when ttl_left().
inline void decrement_ttl(Packet& p) {
    if (p.family == 6) {
        --p.ip[7];
        return;
    }
    // The TTL is the high byte of its 16-bit word, so the sum falls by 0x0100 and its complement
    // rises by as much. 0xffff would be the other zero: no header sums to 0 (RFC 1624 §3).
    --p.ip[8];
    std::uint16_t raw;
    std::memcpy(&raw, p.ip + 10, 2);
    const std::uint32_t sum = static_cast<std::uint32_t>(raw) + 0x0001U;
    raw = static_cast<std::uint16_t>(sum + (sum >> 16));
    if (raw == 0xffff) raw = 0;
    std::memcpy(p.ip + 10, &raw, 2);
}

}  // namespace dr
