// What a site's prefix must not hold: what the router itself needs on its lines. A prefix is routed
// into the tunnels, and what comes from it or goes to it passes on no line; one that held a line's
// address, its gateway, or the way to signalling would cut the router off from everything that
// could mend it.
//
// Pure functions; any thread.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ur/config.h"

namespace dr::ur {

// A line as the kernel has it.
struct LineAddresses {
    std::string line;
    std::vector<IpPrefix> addresses;  // with the length of the network; host bits kept
    std::vector<IpAddress> gateways;
};

// What of the lines, or of signalling, the prefix holds ("198.51.100.2, the address of line a");
// empty: nothing. A prefix inside a line's network that holds neither its address nor its gateway
// is fine.
std::string held_by(const IpPrefix& prefix, const std::vector<LineAddresses>& lines,
                    const std::vector<IpAddress>& signalling);

// "HOST:PORT", "[IPV6]:PORT" or a URI of gRPC's ("ipv4:192.0.2.1:4755"); family 0: HOST is a name.
IpAddress address_in(const std::string& place);

}  // namespace dr::ur
