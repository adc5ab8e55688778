// Where the addresses of an IP header lie, bytes from its start: RFC 791 §3.1, RFC 8200 §3.
#pragma once

#include <cstdint>

namespace dr::wire {

struct IpLayout {
    std::uint8_t header;  // size of the header without options or extension headers
    std::uint8_t source;
    std::uint8_t destination;
    std::uint8_t address;  // size of one address; the destination follows the source
};

inline constexpr IpLayout kIpv4Layout{20, 12, 16, 4};
inline constexpr IpLayout kIpv6Layout{40, 8, 24, 16};

// `family`: 4 or 6.
constexpr IpLayout ip_layout(unsigned family) {
    return family == 4 ? kIpv4Layout : kIpv6Layout;
}

}  // namespace dr::wire
