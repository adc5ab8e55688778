// What a site's prefix must not hold: what the router itself needs on its lines. A prefix is routed
// into the tunnels, and what comes from it or goes to it passes on no line. An address or a gateway
// inside one is of no use to a line then; who is on the line says what they are (DHCP, router
// advertisements), so they cost that line at most, and the prefix only where no line is left
// without.
//
// Pure functions; any thread.
#pragma once

#include <map>
#include <span>
#include <string>
#include <vector>

#include "ur/config.h"

namespace dr::ur {

// A line as the kernel has it.
struct LineAddresses {
    // An address that packets to a tunnel's end can be sent from now, and the gateway that they go
    // to; family 0: the end is on the link.
    struct Way {
        IpAddress source, gateway;
    };
    std::string line;
    std::vector<IpPrefix> addresses;  // all, with the length of the network; host bits kept
    std::vector<Way> ways;
};

// Whether one of the prefixes holds the address; none holds that of family 0.
bool inside(std::span<const IpPrefix> prefixes, const IpAddress& address);

// What of the lines, or of signalling, the prefix holds ("198.51.100.2, the address of line a");
// empty: nothing. A prefix inside a line's network that holds neither its address nor its gateway
// is fine. What lies inside `before` does not count.
std::string held_by(const IpPrefix& prefix, const std::vector<LineAddresses>& lines,
                    const std::vector<IpAddress>& signalling,
                    std::span<const IpPrefix> before = {});

// Why the prefix cannot be used beside `used`, in the same words: it holds an address of
// signalling, or what the last line needs that could be used without it. Empty: it can.
std::string cuts_off(const IpPrefix& prefix, std::span<const IpPrefix> used,
                     const std::vector<LineAddresses>& lines,
                     const std::vector<IpAddress>& signalling);

// Which lines' addresses and gateways are of no use, because a prefix in use holds them: for each
// what is to be said of it.
std::vector<std::string> set_aside(std::span<const IpPrefix> used,
                                   const std::vector<LineAddresses>& lines);

// What of the lines and of signalling lies inside prefixes that are left out, what ways need first:
// it counts as outside of them.
std::vector<IpAddress> needed_in(std::span<const IpPrefix> left_out,
                                 const std::vector<LineAddresses>& lines,
                                 const std::vector<IpAddress>& signalling);

// "HOST:PORT", "[IPV6]:PORT" or a URI of gRPC's ("ipv4:192.0.2.1:4755"); family 0: HOST is a name.
IpAddress address_in(const std::string& place);

}  // namespace dr::ur
