#include "dataplane/ports/route_message.h"

#include <linux/rtnetlink.h>
#include <netlink/route/nexthop.h>

#include "dataplane/ports/netlink_socket.h"

namespace dr {

std::optional<IpPrefix> prefix_of(rtnl_route* route) {
    if (rtnl_route_get_table(route) != RT_TABLE_MAIN) return std::nullopt;
    if ((rtnl_route_get_flags(route) & RTM_F_CLONED) != 0) return std::nullopt;
    const int family = rtnl_route_get_family(route);
    if (family != AF_INET && family != AF_INET6) return std::nullopt;
    IpPrefix prefix;
    nl_addr* destination = rtnl_route_get_dst(route);
    if (destination != nullptr) {
        prefix.address = to_address(destination);
        prefix.length = static_cast<std::uint8_t>(nl_addr_get_prefixlen(destination));
    }
    prefix.address.family = family == AF_INET ? 4 : 6;
    if (is_link_local(prefix.address) || prefix.address.bytes[0] == 0xff) return std::nullopt;
    return prefix;
}

std::optional<RouteTarget> target_of(rtnl_route* route, const PortOf& port_of, Hops hops) {
    switch (rtnl_route_get_type(route)) {
        case RTN_BLACKHOLE:
        case RTN_UNREACHABLE:
        case RTN_PROHIBIT:
            return RouteTarget{RouteTarget::Kind::Blackhole, 0, {}};
        case RTN_UNICAST:
            break;
        default:
            return std::nullopt;
    }
    for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
        rtnl_nexthop* hop = rtnl_route_nexthop_n(route, i);
        const auto port = port_of(rtnl_route_nh_get_ifindex(hop));
        const bool down = (rtnl_route_nh_get_flags(hop) & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) != 0;
        if (!port || (down && hops == Hops::Usable)) continue;
        IpAddress gateway = to_address(rtnl_route_nh_get_gateway(hop));
        if (gateway.family == 0) gateway = to_address(rtnl_route_nh_get_via(hop));
        if (gateway.family == 0) return RouteTarget{RouteTarget::Kind::Connected, *port, {}};
        return RouteTarget{RouteTarget::Kind::Gateway, *port, gateway};
    }
    return std::nullopt;
}

RouteTable::How how_of(rtnl_route* route, int flags) {
    using How = RouteTable::How;
    if ((flags & NLM_F_MULTI) != 0) return How::Dump;
    if ((flags & NLM_F_REPLACE) != 0) return How::Replace;
    if ((flags & NLM_F_APPEND) != 0) return How::Append;
    // A new IPv4 route comes before those of the same metric. A new IPv6 route comes after them,
    // but a message with several next hops has all there are.
    const bool ipv6 = rtnl_route_get_family(route) == AF_INET6;
    return ipv6 && rtnl_route_get_nnexthops(route) == 1 ? How::Append : How::Prepend;
}

}  // namespace dr
