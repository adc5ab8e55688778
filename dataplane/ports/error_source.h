// Chooses the source address of this router's ICMP errors.
//
// Thread: any; a pure function.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ip.h"

namespace dr {

// An address of this router, and the interface that has it.
struct OwnAddress {
    IpAddress address;
    std::optional<std::uint16_t> port;  // none: the interface is not a port
    bool loopback = false;
};

// For an error that leaves by `port`. A global address is preferred to a private one (RFC 1918,
// 6598, 4193), which other networks filter. Among these the order is: the port itself (RFC 1812
// §4.3.2.4), the loopback interface, another port, any other interface; then the first in `own`.
// Never a link-local one. Family 0: the router has none of this family.
IpAddress error_source(const std::vector<OwnAddress>& own, std::uint16_t port, unsigned family);

}  // namespace dr
