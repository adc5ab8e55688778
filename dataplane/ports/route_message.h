// What a route that the kernel tells of means to the data plane.
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

// The prefix of a unicast route of the main table that concerns the data plane; none for others
// (caches, link-local, multicast).
std::optional<IpPrefix> prefix_of(rtnl_route* route);

// Where a route leads that names these next hops: through those that are ports, in their order;
// elsewhere, if there are others alone. None: it is of no use, or no route that leads anywhere.
// `route` says whether it discards.
std::optional<RouteTarget> target_of(rtnl_route* route,
                                     const std::vector<NexthopObjects::Hop>& named,
                                     const PortOf& port_of, Hops hops);
// The next hops that a route's message names itself.
std::vector<NexthopObjects::Hop> hops_of(rtnl_route* route);

// What a router advertisement may have made: a route that says so (RTPROT_RA), or one of the
// kernel's own to a network of IPv6 that ends by itself. The kernel makes such ones for addresses
// with a lifetime too, and tells nothing apart: whether the interface has an address in it does.
enum class Advertised : std::uint8_t { No, UnlessOwn, Yes };
Advertised advertised(rtnl_route* route, const nlmsghdr* header);

// How the table takes a route of a message with these header flags (NLM_F_*).
RouteTable::How how_of(rtnl_route* route, int flags);

}  // namespace dr
