// Router advertisements (RFC 4861 section 6.3.4) on the devices of ports.
//
// The kernel makes routes and addresses of what any neighbour advertises. The data plane mirrors
// the kernel's routes, so a neighbour on an exchange could take a site's prefix, which is shorter,
// to itself with one packet. A DR's addresses and routes are configured, or a routing daemon's.
#pragma once

#include <string>

namespace dr {

// Has the kernel ignore them on this interface, as `sysctl net.ipv6.conf.INTERFACE.accept_ra=0`
// does. The interface keeps this setting when the program ends, and a new one of the name does not
// have it. false and what to do: the kernel refuses. true also where there is no IPv6, or no such
// interface. Needs root, or CAP_NET_ADMIN. Any thread.
bool ignore_advertisements(const std::string& interface, std::string* error);

}  // namespace dr
