// From the configuration to what the eBPF programs read. Pure functions; any thread.
#pragma once

#include <cstdint>

#include "ur/config.h"
#include "ur/shared.h"

namespace dr::ur {

// An address as the programs hold it: network byte order.
ur_address to_words(const IpAddress& address);

// Everything about a zero-filled site except its device and the tunnels' paths. No line is
// eligible.
void fill_site(const Config& config, ur_site& site);

// The bucket maps of all classes for a set of eligible lines (bit n: line number n). The programs
// may be running: every bucket changes by itself.
void fill_buckets(const Config& config, std::uint32_t lines, ur_site& site);

}  // namespace dr::ur
