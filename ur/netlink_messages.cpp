// Netlink messages, written and read.
#include "ur/netlink_messages.h"

#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace dr::ur {

namespace {

constexpr std::uint16_t kAddress4 = 4;
constexpr std::uint16_t kAddress6 = 16;

int af(std::uint8_t family) {
    return family == 6 ? AF_INET6 : AF_INET;
}
std::uint16_t size_of(std::uint8_t family) {
    return family == 6 ? kAddress6 : kAddress4;
}

// A message of a fixed part and attributes; `expected` are those whose length is to be checked.
template <typename Header, int kMaxType>
class Parsed final {
  public:
    using Policy = std::array<nla_policy, kMaxType + 1>;
    Parsed(nlmsghdr* message, const Policy& expected) {
        if (nlmsg_parse(message, sizeof(Header), attributes_.data(), kMaxType, expected.data()) ==
            0)
            header_ = static_cast<const Header*>(nlmsg_data(message));
    }
    // Null: the message is none of the kind.
    [[nodiscard]] const Header* header() const { return header_; }
    [[nodiscard]] nlattr* operator[](int type) const {
        return attributes_[static_cast<std::size_t>(type)];
    }
    // 0 when absent.
    [[nodiscard]] std::uint32_t number(int type) const {
        nlattr* attribute = (*this)[type];
        return attribute == nullptr ? 0 : nla_get_u32(attribute);
    }

  private:
    std::array<nlattr*, kMaxType + 1> attributes_{};
    const Header* header_ = nullptr;
};

using ParsedRoute = Parsed<rtmsg, RTA_MAX>;

ParsedRoute route_in(nlmsghdr* message) {
    ParsedRoute::Policy expected{};
    expected[RTA_OIF].type = NLA_U32;
    expected[RTA_TABLE].type = NLA_U32;
    expected[RTA_PRIORITY].type = NLA_U32;
    expected[RTA_VIA].minlen = sizeof(rtvia) + kAddress4;
    return {message, expected};
}

IpAddress to_address(const void* bytes, std::size_t length, std::uint8_t family) {
    IpAddress out;
    if (length < size_of(family)) return out;
    out.family = family;
    std::memcpy(out.bytes.data(), bytes, size_of(family));
    return out;
}

IpAddress to_address(const nlattr* attribute, std::uint8_t family) {
    if (attribute == nullptr) return {};
    return to_address(nla_data(attribute), static_cast<std::size_t>(nla_len(attribute)), family);
}

// A gateway of another family than the destination's.
IpAddress to_via(const nlattr* attribute) {
    const auto* via = static_cast<const rtvia*>(nla_data(attribute));
    const auto length = static_cast<std::size_t>(nla_len(attribute)) - sizeof *via;
    return to_address(via->rtvia_addr, length, via->rtvia_family == AF_INET6 ? 6 : 4);
}

// Whether what IFLA_LINK tells is not below the device: of a veth the other end, and of a port of a
// switch the device through which the frames of all its ports go, with a tag that no VLAN has.
bool lies_beside(nlattr* info) {
    std::array<nlattr*, IFLA_INFO_MAX + 1> in{};
    std::array<nla_policy, IFLA_INFO_MAX + 1> expected{};
    expected[IFLA_INFO_KIND].type = NLA_STRING;
    if (info == nullptr || nla_parse_nested(in.data(), IFLA_INFO_MAX, info, expected.data()) != 0 ||
        in[IFLA_INFO_KIND] == nullptr)
        return false;
    return nla_strcmp(in[IFLA_INFO_KIND], "veth") == 0 ||
           nla_strcmp(in[IFLA_INFO_KIND], "dsa") == 0;
}

}  // namespace

std::optional<Link> link_in(nlmsghdr* message) {
    Parsed<ifinfomsg, IFLA_MAX>::Policy expected{};
    expected[IFLA_GROUP].type = NLA_U32;
    expected[IFLA_LINK].type = NLA_U32;
    expected[IFLA_MASTER].type = NLA_U32;
    const Parsed<ifinfomsg, IFLA_MAX> link(message, expected);
    const auto* info = link.header();
    if (info == nullptr) return std::nullopt;
    constexpr unsigned kUsable = IFF_UP | IFF_RUNNING;
    const nlattr* mtu = nlmsg_find_attr(message, sizeof(ifinfomsg), IFLA_MTU);
    const bool told = mtu != nullptr && nla_len(mtu) == sizeof(std::uint32_t);
    Link out;
    out.index = info->ifi_index;
    out.usable = (info->ifi_flags & kUsable) == kUsable;
    out.ethernet = info->ifi_type == ARPHRD_ETHER;
    out.group = link.number(IFLA_GROUP);
    out.mtu = told ? nla_get_u32(mtu) : 0;
    if (link[IFLA_LINK_NETNSID] == nullptr && !lies_beside(link[IFLA_LINKINFO]))
        out.below = static_cast<int>(link.number(IFLA_LINK));
    if (out.below == out.index) out.below = 0;
    out.ppp = info->ifi_type == ARPHRD_PPP;
    out.enslaved = link.number(IFLA_MASTER) != 0;
    return out;
}

std::optional<SourceAddress> source_address_in(nlmsghdr* message, int index, std::uint8_t family) {
    Parsed<ifaddrmsg, IFA_MAX>::Policy expected{};
    expected[IFA_CACHEINFO].minlen = sizeof(ifa_cacheinfo);
    const Parsed<ifaddrmsg, IFA_MAX> address(message, expected);
    const auto* info = address.header();
    if (info == nullptr || info->ifa_family != af(family) ||
        static_cast<int>(info->ifa_index) != index || info->ifa_scope != RT_SCOPE_UNIVERSE)
        return std::nullopt;
    SourceAddress out;
    out.address = to_address(
        address[IFA_LOCAL] != nullptr ? address[IFA_LOCAL] : address[IFA_ADDRESS], family);
    if (out.address.family == 0) return std::nullopt;
    out.ready = (info->ifa_flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) == 0;
    out.deprecated = (info->ifa_flags & IFA_F_DEPRECATED) != 0;
    out.valid_s = UINT32_MAX;
    if (const nlattr* times = address[IFA_CACHEINFO]; times != nullptr) {
        ifa_cacheinfo cache{};
        std::memcpy(&cache, nla_data(times), sizeof cache);
        out.valid_s = cache.ifa_valid;
    }
    return out;
}

std::optional<OwnAddress> own_address_in(nlmsghdr* message) {
    const Parsed<ifaddrmsg, IFA_MAX> parsed(message, {});
    const auto* info = parsed.header();
    if (info == nullptr || (info->ifa_flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) != 0 ||
        info->ifa_scope != RT_SCOPE_UNIVERSE ||
        (info->ifa_family != AF_INET && info->ifa_family != AF_INET6))
        return std::nullopt;
    const nlattr* local = parsed[IFA_LOCAL] != nullptr ? parsed[IFA_LOCAL] : parsed[IFA_ADDRESS];
    const IpAddress address = to_address(local, info->ifa_family == AF_INET6 ? 6 : 4);
    if (address.family == 0) return std::nullopt;
    return OwnAddress{static_cast<int>(info->ifa_index), address};
}

std::optional<IpPrefix> interface_address_in(nlmsghdr* message, int index) {
    const Parsed<ifaddrmsg, IFA_MAX> address(message, {});
    const auto* info = address.header();
    if (info == nullptr || static_cast<int>(info->ifa_index) != index ||
        (info->ifa_family != AF_INET && info->ifa_family != AF_INET6) ||
        info->ifa_scope == RT_SCOPE_LINK)
        return std::nullopt;
    const std::uint8_t family = info->ifa_family == AF_INET6 ? 6 : 4;
    const IpAddress own = to_address(
        address[IFA_LOCAL] != nullptr ? address[IFA_LOCAL] : address[IFA_ADDRESS], family);
    if (own.family == 0 || info->ifa_prefixlen > size_of(family) * 8) return std::nullopt;
    return IpPrefix{own, info->ifa_prefixlen};
}

std::optional<IpAddress> gateway_in(nlmsghdr* message, int index, std::uint8_t family) {
    const ParsedRoute route = route_in(message);
    if (route.header() == nullptr || route.header()->rtm_type != RTN_UNICAST ||
        static_cast<int>(route.number(RTA_OIF)) != index)
        return std::nullopt;
    if (route[RTA_VIA] != nullptr) return to_via(route[RTA_VIA]);
    return to_address(route[RTA_GATEWAY], family);
}

IpAddress source_in(nlmsghdr* message, std::uint8_t family) {
    const ParsedRoute route = route_in(message);
    return route.header() == nullptr ? IpAddress{} : to_address(route[RTA_PREFSRC], family);
}

std::optional<DeviceRoute> device_route_in(nlmsghdr* message) {
    const ParsedRoute route = route_in(message);
    const auto* header = route.header();
    if (header == nullptr || header->rtm_dst_len == 0 || route[RTA_OIF] == nullptr ||
        (header->rtm_family != AF_INET && header->rtm_family != AF_INET6))
        return std::nullopt;
    const IpAddress to = to_address(route[RTA_DST], header->rtm_family == AF_INET6 ? 6 : 4);
    if (to.family == 0 || header->rtm_dst_len > to.bits()) return std::nullopt;
    return DeviceRoute{{to, header->rtm_dst_len},
                       static_cast<int>(route.number(RTA_OIF)),
                       route.number(RTA_TABLE)};
}

std::optional<RuleSpec> rule_in(nlmsghdr* message) {
    Parsed<fib_rule_hdr, FRA_MAX>::Policy expected{};
    expected[FRA_PROTOCOL].type = NLA_U8;
    for (const int number : {FRA_PRIORITY, FRA_TABLE, FRA_SUPPRESS_PREFIXLEN, FRA_SUPPRESS_IFGROUP})
        expected[static_cast<std::size_t>(number)].type = NLA_U32;
    const Parsed<fib_rule_hdr, FRA_MAX> rule(message, expected);
    const auto* header = rule.header();
    if (header == nullptr || (header->family != AF_INET && header->family != AF_INET6))
        return std::nullopt;
    RuleSpec out;
    out.family = header->family == AF_INET6 ? 6 : 4;
    out.priority = rule.number(FRA_PRIORITY);
    out.table = rule[FRA_TABLE] != nullptr ? rule.number(FRA_TABLE) : header->table;
    if (rule[FRA_PROTOCOL] != nullptr) out.protocol = nla_get_u8(rule[FRA_PROTOCOL]);
    const auto end = [&](int type, std::uint8_t length) -> std::optional<IpPrefix> {
        if (rule[type] == nullptr) return std::nullopt;
        return IpPrefix{to_address(rule[type], out.family), length};
    };
    out.from = end(FRA_SRC, header->src_len);
    out.to = end(FRA_DST, header->dst_len);
    // The kernel tells an unset one as -1, or not at all.
    const auto suppressed = [&](int type) {
        return rule[type] == nullptr ? UINT32_MAX : rule.number(type);
    };
    const std::uint32_t length = suppressed(FRA_SUPPRESS_PREFIXLEN);
    const std::uint32_t group = suppressed(FRA_SUPPRESS_IFGROUP);
    out.suppress_lines = length == 0 && group == kLineGroup;
    const bool half = !out.suppress_lines && (length != UINT32_MAX || group != UINT32_MAX);
    out.other = half || header->action != FR_ACT_TO_TBL || header->tos != 0 ||
                (header->flags & FIB_RULE_INVERT) != 0;
    for (const int condition :
         {FRA_IIFNAME, FRA_OIFNAME, FRA_FWMARK, FRA_FWMASK, FRA_TUN_ID, FRA_L3MDEV, FRA_UID_RANGE,
          FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE})
        out.other = out.other || rule[condition] != nullptr;
    return out;
}

std::optional<RouteSpec> table_route_in(nlmsghdr* message, std::uint32_t table) {
    const ParsedRoute route = route_in(message);
    const auto* header = route.header();
    if (header == nullptr || route.number(RTA_TABLE) != table ||
        (header->rtm_family != AF_INET && header->rtm_family != AF_INET6))
        return std::nullopt;
    const std::uint8_t family = header->rtm_family == AF_INET6 ? 6 : 4;
    RouteSpec out;
    if (route[RTA_DST] != nullptr) out.to.address = to_address(route[RTA_DST], family);
    out.to.address.family = family;
    out.to.length = header->rtm_dst_len;
    out.type = header->rtm_type;
    out.metric = route.number(RTA_PRIORITY);
    if (header->rtm_type == RTN_UNICAST) out.device = static_cast<int>(route.number(RTA_OIF));
    out.protocol = header->rtm_protocol;
    return out;
}

std::optional<Qdisc> qdisc_in(nlmsghdr* message) {
    const Parsed<tcmsg, TCA_MAX> parsed(message, {});
    const auto* header = parsed.header();
    const nlattr* kind = parsed[TCA_KIND];
    if (header == nullptr || kind == nullptr) return std::nullopt;
    const auto* text = static_cast<const char*>(nla_data(kind));
    return Qdisc{header->tcm_ifindex,
                 header->tcm_parent,
                 {text, strnlen(text, static_cast<std::size_t>(nla_len(kind)))}};
}

std::optional<Filter> filter_in(nlmsghdr* message) {
    const auto* header = Parsed<tcmsg, TCA_MAX>(message, {}).header();
    if (header == nullptr) return std::nullopt;
    return Filter{header->tcm_info >> 16};
}

bool beyond_routes(std::span<char> datagram) {
    auto left = static_cast<int>(datagram.size());
    auto* message = reinterpret_cast<nlmsghdr*>(datagram.data());
    for (; nlmsg_ok(message, left) != 0; message = nlmsg_next(message, &left))
        if (message->nlmsg_type != RTM_NEWROUTE && message->nlmsg_type != RTM_DELROUTE) return true;
    return false;
}

}  // namespace dr::ur
