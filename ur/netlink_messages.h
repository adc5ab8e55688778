// What messages of the kernel's route netlink say. Pure; any thread.
//
// A message has the nlmsg_len bytes that it says it has, at least a nlmsghdr; everything else is
// checked, and what is too short for what it should be, or of another kind, says nothing.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "base/ip.h"
#include "ur/source_choice.h"

namespace dr::ur {

struct Link {
    int index{};
    bool usable{};    // up and with carrier
    bool ethernet{};  // has an Ethernet header
    std::uint32_t group{};
    unsigned mtu{};  // bytes; 0: not told
    // The device on which it lies (VLAN, macvlan, a tunnel with a device of its own); 0: none, or
    // none of this network namespace.
    int below{};
    bool ppp{};       // a device below it is not told
    bool enslaved{};  // a port of a bridge, a bond, a VRF
};

struct OwnAddress {
    int index{};  // of the device
    IpAddress address;
};

// The devices of the lines are in it, where the operator has put them in none (`ip link`, group).
inline constexpr std::uint32_t kLineGroup = 4754;

// A policy rule.
struct RuleSpec {
    std::uint8_t family{};  // 4 or 6
    std::uint32_t priority{};
    std::uint32_t table{};
    std::optional<IpPrefix> from;
    std::optional<IpPrefix> to;
    bool suppress_lines{};  // neither default routes nor routes over a device of kLineGroup count
    std::uint8_t protocol{};
    bool other{};  // it does something else, or has further conditions

    bool operator==(const RuleSpec&) const = default;
};

// A route of urd's own table.
struct RouteSpec {
    IpPrefix to;
    std::uint8_t type{};  // RTN_UNICAST, RTN_UNREACHABLE, ...
    std::uint32_t metric{};
    int device{};  // of RTN_UNICAST; 0: none, or several
    std::uint8_t protocol{};

    bool operator==(const RouteSpec&) const = default;
};

// Of RTM_NEWLINK.
std::optional<Link> link_in(nlmsghdr* message);
// Of RTM_NEWADDR: a global address of the family on the device, `routed` not set. nullopt: none.
std::optional<SourceAddress> source_address_in(nlmsghdr* message, int index, std::uint8_t family);
// Of RTM_NEWADDR: a global address that can be sent from. nullopt: none such.
std::optional<OwnAddress> own_address_in(nlmsghdr* message);
// Of RTM_NEWADDR: any address on the device but link-local ones, ready for use or not, with the
// length of its network. nullopt: none.
std::optional<IpPrefix> interface_address_in(nlmsghdr* message, int index);
// Of RTM_NEWROUTE, an answer to where packets of the family go: the gateway, family 0 when they
// reach their destination on the link. nullopt: not over this device.
std::optional<IpAddress> gateway_in(nlmsghdr* message, int index, std::uint8_t family);
// Of the same answer: the address that the kernel sends from; family 0: it does not say.
IpAddress source_in(nlmsghdr* message, std::uint8_t family);
// Of RTM_NEWRULE.
std::optional<RuleSpec> rule_in(nlmsghdr* message);
// Of RTM_NEWROUTE. nullopt: not of this table.
std::optional<RouteSpec> table_route_in(nlmsghdr* message, std::uint32_t table);
// A route to an address or a network, of whatever table and type, over one device.
struct DeviceRoute {
    IpPrefix to;
    int index{};  // of the device
    std::uint32_t table{};
};
// Of RTM_NEWROUTE. nullopt: a default route, or over none or several.
std::optional<DeviceRoute> device_route_in(nlmsghdr* message);

struct Qdisc {
    int index{};  // of the device
    std::uint32_t parent{};
    std::string kind;
};
// Of RTM_NEWQDISC.
std::optional<Qdisc> qdisc_in(nlmsghdr* message);
struct Filter {
    std::uint32_t priority{};
};
// Of RTM_NEWTFILTER.
std::optional<Filter> filter_in(nlmsghdr* message);

// Whether one of the messages in a datagram is of anything but routes. `datagram` is aligned as a
// nlmsghdr is.
bool beyond_routes(std::span<char> datagram);

}  // namespace dr::ur
