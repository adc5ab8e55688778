// Rules and routes.
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>

#include <array>
#include <cstring>
#include <system_error>

#include "ur/netlink.h"
#include "ur/netlink_request.h"

namespace dr::ur {

namespace {

// The neighbour of the default routes: any address does, the device resolves none.
constexpr std::array<std::uint8_t, 16> kPeer{0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};

constexpr std::array<std::uint8_t, 4> kPeer4{169, 254, 47, 54};

// The same message back as a deletion.
NlMessage deletion(nlmsghdr* header, int type) {
    NlMessage message(nlmsg_alloc_simple(type, NLM_F_REQUEST));
    if (!message || nlmsg_append(message.get(), nlmsg_data(header),
                                 static_cast<std::size_t>(nlmsg_datalen(header)), 0) != 0)
        throw std::bad_alloc();
    return message;
}

NlMessage make_rule(const RuleSpec& rule) {
    fib_rule_hdr header{};
    header.family = af(rule.family);
    header.action = FR_ACT_TO_TBL;
    if (rule.from) header.src_len = rule.from->length;
    if (rule.to) header.dst_len = rule.to->length;
    auto message = make(RTM_NEWRULE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, header);
    if (rule.from)
        put(message.get(), FRA_SRC, rule.from->address.bytes.data(), size_of(rule.family));
    if (rule.to) put(message.get(), FRA_DST, rule.to->address.bytes.data(), size_of(rule.family));
    put_u32(message.get(), FRA_PRIORITY, rule.priority);
    put_u32(message.get(), FRA_TABLE, rule.table);
    put(message.get(), FRA_PROTOCOL, &rule.protocol, 1);
    if (rule.suppress_lines) {
        put_u32(message.get(), FRA_SUPPRESS_PREFIXLEN, 0);
        put_u32(message.get(), FRA_SUPPRESS_IFGROUP, kLineGroup);
    }
    return message;
}

NlMessage make_unreachable(const IpPrefix& prefix, std::uint32_t table, std::uint32_t metric,
                           std::uint8_t protocol) {
    const std::uint8_t family = prefix.address.family;
    rtmsg header{};
    header.rtm_family = af(family);
    header.rtm_dst_len = prefix.length;
    header.rtm_protocol = protocol;
    header.rtm_scope = RT_SCOPE_UNIVERSE;
    header.rtm_type = RTN_UNREACHABLE;
    auto message = make(RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, header);
    put_u32(message.get(), RTA_TABLE, table);
    put_u32(message.get(), RTA_PRIORITY, metric);
    if (prefix.length != 0)
        put(message.get(), RTA_DST, prefix.address.bytes.data(), size_of(family));
    return message;
}

NlMessage make_local_route(int type, int flags, int index, const IpAddress& address) {
    rtmsg header{};
    header.rtm_family = af(address.family);
    header.rtm_dst_len = static_cast<unsigned char>(size_of(address.family) * 8);
    header.rtm_table = RT_TABLE_LOCAL;
    const bool added = type == RTM_NEWROUTE;
    header.rtm_protocol = added ? RTPROT_KERNEL : RTPROT_UNSPEC;
    header.rtm_scope = added ? RT_SCOPE_HOST : RT_SCOPE_NOWHERE;
    header.rtm_type = RTN_LOCAL;
    auto message = make(type, flags, header);
    put(message.get(), RTA_DST, address.bytes.data(), size_of(address.family));
    put_u32(message.get(), RTA_OIF, static_cast<std::uint32_t>(index));
    return message;
}

}  // namespace

void Netlink::remove_local_route(int index, const IpAddress& address) {
    remove(make_local_route(RTM_DELROUTE, NLM_F_REQUEST, index, address).get(),
           "the tunnel device's local route");
}

void Netlink::add_local_route(int index, const IpAddress& address) {
    const int flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL;
    const int error = talk(make_local_route(RTM_NEWROUTE, flags, index, address).get());
    if (error != 0 && error != EEXIST)
        throw std::system_error(error, std::generic_category(),
                                "adding the local route of " + to_string(address));
}

void Netlink::add_rule(const RuleSpec& rule) {
    request(make_rule(rule).get(),
            "adding a routing rule with priority " + std::to_string(rule.priority));
}

void Netlink::remove(nl_msg* message, const std::string& what) {
    const int error = talk(message);
    if (error != 0 && error != ENOENT && error != ESRCH)
        throw std::system_error(error, std::generic_category(), "removing " + what);
}

std::vector<Seen<RuleSpec>> Netlink::rules() {
    std::vector<Seen<RuleSpec>> out;
    for (const std::uint8_t family : kFamilies) {
        fib_rule_hdr filter{};
        filter.family = af(family);
        dump(RTM_GETRULE, &filter, sizeof filter, [&](nlmsghdr* header) {
            if (auto rule = rule_in(header))
                out.push_back({std::move(*rule), deletion(header, RTM_DELRULE)});
        });
    }
    return out;
}

void Netlink::set_default_route(std::uint8_t family, std::uint32_t table, int index, unsigned mtu,
                                std::uint8_t protocol) {
    rtmsg header{};
    header.rtm_family = af(family);
    header.rtm_table = RT_TABLE_UNSPEC;
    header.rtm_protocol = protocol;
    header.rtm_scope = RT_SCOPE_UNIVERSE;
    header.rtm_type = RTN_UNICAST;
    header.rtm_flags = RTNH_F_ONLINK;
    const auto start = [&] {
        auto message = make(RTM_NEWROUTE, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, header);
        put_u32(message.get(), RTA_TABLE, table);
        put_u32(message.get(), RTA_OIF, static_cast<std::uint32_t>(index));
        put_u32(message.get(), RTA_PRIORITY, kTunnelMetric);
        nlattr* metrics = nla_nest_start(message.get(), RTA_METRICS);
        put_u32(message.get(), RTAX_MTU, mtu);
        nla_nest_end(message.get(), metrics);
        return message;
    };
    const std::string what = "setting the default route through the tunnel device";
    auto message = start();
    if (family == 6) {
        put(message.get(), RTA_GATEWAY, kPeer.data(), 16);
        return request(message.get(), what);
    }
    std::array<std::uint8_t, 18> via{};
    const std::uint16_t via_family = AF_INET6;
    std::memcpy(via.data(), &via_family, 2);
    std::memcpy(via.data() + 2, kPeer.data(), 16);
    put(message.get(), RTA_VIA, via.data(), via.size());
    const int error = talk(message.get());
    if (error == 0) return;
    if (error != EACCES && error != EAFNOSUPPORT && error != EINVAL && error != ENODEV)
        throw std::system_error(error, std::generic_category(), what);
    message = start();
    put(message.get(), RTA_GATEWAY, kPeer4.data(), kPeer4.size());
    request(message.get(), what);
}

void Netlink::add_unreachable(const IpPrefix& prefix, std::uint32_t table, std::uint32_t metric,
                              std::uint8_t protocol) {
    request(make_unreachable(prefix, table, metric, protocol).get(),
            "adding the unreachable route " + to_string(prefix));
}

std::vector<Seen<RouteSpec>> Netlink::routes(std::uint32_t table) {
    std::vector<Seen<RouteSpec>> out;
    // The kernel looks for the table itself: a router may have a million routes in another one. One
    // before Linux 5.0 tells all.
    const int fd = nl_socket_get_fd(socket_.get());
    const auto set_strict = [fd](int on) {
        (void)::setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof on);
    };
    for (const std::uint8_t family : kFamilies) {
        rtmsg filter{};
        filter.rtm_family = af(family);
        const auto message = make(RTM_GETROUTE, NLM_F_REQUEST | NLM_F_DUMP, filter);
        put_u32(message.get(), RTA_TABLE, table);
        set_strict(1);
        const int error = talk(message.get(), [&](nlmsghdr* header) {
            if (auto route = table_route_in(header, table))
                out.push_back({*route, deletion(header, RTM_DELROUTE)});
        });
        set_strict(0);
        // No such family or table: nothing to see.
        if (error != 0 && error != EOPNOTSUPP && error != ENOENT && error != EINVAL)
            throw std::system_error(error, std::generic_category(), "routes of a table");
    }
    return out;
}

std::vector<DeviceRoute> Netlink::remove_routes(
    const std::function<bool(const DeviceRoute&)>& wanted) {
    std::vector<NlMessage> found;
    std::vector<DeviceRoute> routes;
    for (const std::uint8_t family : kFamilies) {
        rtmsg filter{};
        filter.rtm_family = af(family);
        dump(RTM_GETROUTE, &filter, sizeof filter, [&](nlmsghdr* header) {
            const auto route = device_route_in(header);
            const bool looked_at =
                route && (route->table == RT_TABLE_MAIN || route->table == RT_TABLE_LOCAL);
            if (!looked_at || !wanted(*route)) return;
            found.push_back(deletion(header, RTM_DELROUTE));
            routes.push_back(*route);
        });
    }
    for (const auto& message : found) remove(message.get(), "a route over a line");
    return routes;
}

}  // namespace dr::ur
