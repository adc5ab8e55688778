// Decodes a route message into next hops and a route type.
#include "dataplane/ports/route_message.h"

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/route/nexthop.h>

#include <cstring>

#include "dataplane/ports/netlink_socket.h"

namespace dr {

namespace {

RouteTarget discarding(Discard how) {
    RouteTarget target{RouteTarget::Kind::Blackhole, 0, {}};
    target.discard = how;
    return target;
}

}  // namespace

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
    if (prefix.address.is_link_local() || prefix.address.bytes[0] == 0xff) return std::nullopt;
    if (is_loopback(prefix.address) && prefix.length != 0) return std::nullopt;
    return prefix;
}

std::vector<NexthopObjects::Hop> hops_of(rtnl_route* route) {
    std::vector<NexthopObjects::Hop> hops;
    for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
        rtnl_nexthop* hop = rtnl_route_nexthop_n(route, i);
        IpAddress gateway = to_address(rtnl_route_nh_get_gateway(hop));
        if (gateway.family == 0) gateway = to_address(rtnl_route_nh_get_via(hop));
        const unsigned flags = rtnl_route_nh_get_flags(hop);
        hops.push_back({rtnl_route_nh_get_ifindex(hop), gateway,
                        (flags & (RTNH_F_DEAD | RTNH_F_LINKDOWN)) != 0,
                        (flags & RTNH_F_DEAD) != 0});
    }
    return hops;
}

std::optional<RouteTarget> target_of(rtnl_route* route,
                                     const std::vector<NexthopObjects::Hop>& named,
                                     const PortOf& port_of, Hops hops) {
    using Kind = RouteTarget::Kind;
    switch (rtnl_route_get_type(route)) {
        case RTN_BLACKHOLE:
            return discarding(Discard::Silent);
        case RTN_UNREACHABLE:
            return discarding(Discard::Unreachable);
        case RTN_PROHIBIT:
            return discarding(Discard::Prohibited);
        case RTN_UNICAST:
            break;
        default:
            return std::nullopt;
    }
    std::optional<RouteTarget> target;
    for (const NexthopObjects::Hop& hop : named) {
        const auto port = port_of(hop.ifindex);
        // For another interface the kernel decides; it may wait for the carrier.
        if (hops == Hops::Usable && (port ? hop.down : hop.dead)) continue;
        const bool through = target && target->kind != Kind::Elsewhere;
        if (!port) {
            if (!target) target = RouteTarget{Kind::Elsewhere, 0, {}};
        } else if (!through) {
            const Kind kind = hop.gateway.family == 0 ? Kind::Connected : Kind::Gateway;
            target = RouteTarget{kind, *port, hop.gateway};
        } else if (target->kind == Kind::Gateway && hop.gateway.family != 0) {
            target->more.push_back({*port, hop.gateway});
        }
    }
    return target;
}

Advertised advertised(rtnl_route* route, const nlmsghdr* header) {
    if (rtnl_route_get_protocol(route) == RTPROT_RA) return Advertised::Yes;
    if (rtnl_route_get_protocol(route) != RTPROT_KERNEL) return Advertised::No;
    if (rtnl_route_get_family(route) != AF_INET6) return Advertised::No;
    const nlattr* found =
        nlmsg_find_attr(const_cast<nlmsghdr*>(header), sizeof(rtmsg), RTA_CACHEINFO);
    rta_cacheinfo info{};
    if (found == nullptr || nla_len(found) < static_cast<int>(sizeof info)) return Advertised::No;
    std::memcpy(&info, nla_data(found), sizeof info);
    return info.rta_expires != 0 ? Advertised::UnlessOwn : Advertised::No;
}

RouteTable::How how_of(rtnl_route* route, int flags) {
    using How = RouteTable::How;
    if ((flags & NLM_F_MULTI) != 0) return How::Dump;
    if ((flags & NLM_F_REPLACE) != 0) return How::Replace;
    // A new IPv4 route comes before those of the same metric, or after them. A new IPv6 route joins
    // them, but a message with several next hops has all of them.
    const bool ipv6 = rtnl_route_get_family(route) == AF_INET6;
    if (!ipv6 && (flags & NLM_F_APPEND) != 0) return How::Append;
    return ipv6 && rtnl_route_get_nnexthops(route) == 1 ? How::Join : How::Prepend;
}

}  // namespace dr
