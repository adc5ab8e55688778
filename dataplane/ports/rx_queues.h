// The receive queues of the kernel's device. An AF_XDP port must have a socket on each; packets on
// other queues are lost.
//
// Thread: main.
#pragma once

#include <string>

namespace dr {

// Whether the device spreads packets only over the first `queues` of its queues: it has no more, or
// its hash (ethtool -x) names no other. Otherwise false, and what to do.
bool serves_all_queues(const std::string& interface, unsigned queues, std::string* error);

}  // namespace dr
