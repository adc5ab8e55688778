// What the kernel says of one of its interfaces now, by name. Thread: any.
#pragma once

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

}  // namespace dr
