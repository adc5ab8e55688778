// The address that ICMP errors of this router come from.
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
    std::optional<std::uint16_t> port;  // none: the interface is no port
    bool loopback = false;
};

// Of an error that leaves by `port`. An address that can be reached from everywhere comes before a
// private one (RFC 1918, 6598, 4193), which others filter; then one of the port itself
// (RFC 1812 §4.3.2.4), of the loopback interface, of another port, of anything else; then the first
// in `own`. Never a link-local one. Family 0: the router has none of this family.
IpAddress error_source(const std::vector<OwnAddress>& own, std::uint16_t port, unsigned family);

}  // namespace dr
