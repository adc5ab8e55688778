// TTL and hop limit (RFC 1812 §5.3.1, RFC 8200 §3).
#pragma once

#include "dataplane/worker/context.h"

namespace dr {

inline bool ttl_left(const std::uint8_t* ip, unsigned family) {
    return ip[family == 4 ? 8 : 7] > 1;
}

// One hop less, checksum kept right. Only when ttl_left().
inline void decrement_ttl4(std::uint8_t* ip) {
    // TTL, protocol, checksum as one little-endian word. The TTL is the high byte of its 16-bit
    // word, so the sum falls by 0x0100 and its complement rises by as much: in memory order, by 1,
    // with the carry around the end. 0xffff would be the other zero: no header sums to 0
    // (RFC 1624 §3), so it is stepped over.
    std::uint32_t word;
    std::memcpy(&word, ip + 8, 4);
    word += 0xffffU + (word >= 0xfffe0000U ? 0x10000U : 0U);
    std::memcpy(ip + 8, &word, 4);
}
inline void decrement_ttl(std::uint8_t* ip, unsigned family) {
    if (family == 4)
        decrement_ttl4(ip);
    else
        --ip[7];
}

}  // namespace dr
