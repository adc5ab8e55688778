// Router advertisements (RFC 4861 section 6.3.4) on the devices of ports.
//
// The kernel makes routes and addresses from any neighbour's advertisements. The data plane mirrors
// the kernel's routes, so a neighbour on an exchange could attract a site's packets by one
// advertisement of a longer prefix. A DR's addresses and routes are configured, or come from a
// routing daemon.
#pragma once

#include <string>

namespace dr {

// Makes the kernel ignore them on this interface, as `sysctl net.ipv6.conf.INTERFACE.accept_ra=0`
// does. The interface keeps this setting when the program ends; a new interface of the name does
// not have it. false and what to do: the kernel refuses. true also without IPv6, or without such an
// interface. Needs root, or CAP_NET_ADMIN. Any thread.
bool ignore_advertisements(const std::string& interface, std::string* error);

}  // namespace dr
