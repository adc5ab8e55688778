// The queues that the kernel's device receives on: an AF_XDP port must have a socket on each, or
// what arrives on the others is lost.
//
// Thread: main.
#pragma once

#include <string>

namespace dr {

// Whether the device spreads packets over the first `queues` of its queues alone: it has no more,
// or its hash (ethtool -x) names no other. Else false, and what to do.
bool serves_all_queues(const std::string& interface, unsigned queues, std::string* error);

}  // namespace dr
