// The Internet checksum: RFC 1071, and its incremental update, RFC 1624 §3 (eqn. 3).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "dataplane/wire/byte_order.h"

namespace dr::wire {

// Running one's complement sums are taken over 16-bit words as they lie in memory; the folded
// result is therefore already in network order.
inline std::uint64_t checksum_add(const void* data, std::size_t bytes, std::uint64_t sum) {
    const auto* p = static_cast<const std::uint8_t*>(data);
    while (bytes >= 4) {
        std::uint32_t word;
        std::memcpy(&word, p, 4);
        sum += word;
        p += 4;
        bytes -= 4;
    }
    if (bytes >= 2) {
        std::uint16_t word;
        std::memcpy(&word, p, 2);
        sum += word;
        p += 2;
        bytes -= 2;
    }
    if (bytes != 0) sum += *p;
    return sum;
}

inline std::uint16_t checksum_fold(std::uint64_t sum) {
    sum = (sum & 0xffffffffU) + (sum >> 32);
    sum = (sum & 0xffffffffU) + (sum >> 32);
    sum = (sum & 0xffffU) + (sum >> 16);
    sum = (sum & 0xffffU) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

// The same for sums that fit 32 bits.
inline std::uint16_t checksum_fold32(std::uint32_t sum) {
    sum += sum << 16 | sum >> 16;  // the carry out of the low half lands in the high one
    return static_cast<std::uint16_t>(sum >> 16);
}

// true when five 32-bit words, an IPv4 header without options, sum to all ones.
inline bool checksum_ok20(std::uint64_t first, std::uint64_t second, std::uint32_t third) {
    const std::uint64_t sum =
        (first & 0xffffffffU) + (first >> 32) + (second & 0xffffffffU) + (second >> 32) + third;
    // Below 5 * 2^32, so this is below 2 * 2^16 + 4: the only multiples of 65535 in reach.
    const std::uint64_t part = (sum & 0xffffU) + (sum >> 16 & 0xffffU) + (sum >> 32);
    return part == 0xffffU || part == 0x1fffeU;
}

// The value for a header's checksum field.
inline Be16 checksum(const void* data, std::size_t bytes, std::uint64_t sum = 0) {
    return Be16{static_cast<std::uint16_t>(~checksum_fold(checksum_add(data, bytes, sum)))};
}

// true when the checksum field inside `data` is right.
inline bool checksum_ok(const void* data, std::size_t bytes, std::uint64_t sum = 0) {
    return checksum_fold(checksum_add(data, bytes, sum)) == 0xffffU;
}

// A field of the covered data changed from `before` to `after`.
inline Be16 checksum_update(Be16 old, Be16 before, Be16 after) {
    const std::uint32_t sum = static_cast<std::uint32_t>(static_cast<std::uint16_t>(~old.raw)) +
                              static_cast<std::uint16_t>(~before.raw) + after.raw;
    return Be16{static_cast<std::uint16_t>(~checksum_fold(sum))};
}

}  // namespace dr::wire
