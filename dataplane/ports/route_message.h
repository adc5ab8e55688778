// Interprets the kernel's route messages for the data plane.
//
// Thread: the writer.
#pragma once

#include <netlink/route/route.h>

#include <functional>
#include <optional>
#include <vector>

#include "dataplane/ports/nexthop_objects.h"
#include "dataplane/ports/route_table.h"

namespace dr {

// The port of an interface, if it is one.
using PortOf = std::function<std::optional<std::uint16_t>(int ifindex)>;

enum class Hops : std::uint8_t {
    Usable,  // those whose link is up
    All,     // whatever the state of their links: to recognise a route that is removed
};

// The prefix of a unicast route of the main table; none for routes that do not concern the data
// plane (caches, link-local, multicast).
std::optional<IpPrefix> prefix_of(rtnl_route* route);

// Where a route with these next hops leads: through those that are ports, in their order;
// elsewhere, if none is a port. None: the route is unusable, or leads nowhere. `route` says whether
// it discards.
std::optional<RouteTarget> target_of(rtnl_route* route,
                                     const std::vector<NexthopObjects::Hop>& named,
                                     const PortOf& port_of, Hops hops);
// The next hops that a route's message names itself.
std::vector<NexthopObjects::Hop> hops_of(rtnl_route* route);

// Whether a router advertisement may have made the route: its protocol is RTPROT_RA, or it is the
// kernel's own route to an IPv6 network, with a lifetime. The kernel makes such routes for
// configured addresses with a lifetime too; only an address of the interface in that network tells
// the two apart.
enum class Advertised : std::uint8_t { No, UnlessOwn, Yes };
Advertised advertised(rtnl_route* route, const nlmsghdr* header);

// How the table takes a route of a message with these header flags (NLM_F_*).
RouteTable::How how_of(rtnl_route* route, int flags);

}  // namespace dr
