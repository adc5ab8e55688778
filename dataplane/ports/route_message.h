// What a route that the kernel tells of means to the data plane.
//
// Thread: the writer.
#pragma once

#include <netlink/route/route.h>

#include <functional>
#include <optional>

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

// The first of the route's next hops that leads through a port; none: it does not lead there.
std::optional<RouteTarget> target_of(rtnl_route* route, const PortOf& port_of, Hops hops);

// How the table takes a route of a message with these header flags (NLM_F_*).
RouteTable::How how_of(rtnl_route* route, int flags);

}  // namespace dr
