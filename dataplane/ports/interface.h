// Reads the present state of a kernel interface, by name. Thread: any.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "dataplane/wire/headers.h"

namespace dr {

struct Interface {
    unsigned index = 0;  // 0: there is none of this name
    bool up = false;
    bool running = false;  // up, with carrier
    std::uint16_t mtu = 1500;
    wire::Mac mac{};
};
Interface interface_of(const std::string& name);

// MAC addresses, other than its own, of devices above the interface that are up and have an address
// that is not link-local: of macvlan devices, as VRRP makes them on its master. In order; addresses
// that do not fit are left out.
std::array<wire::Mac, 4> macs_above(const std::string& name);

}  // namespace dr
