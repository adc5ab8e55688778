// What messages of the kernel's route netlink say. Pure; any thread.
//
// A message has the nlmsg_len bytes that it says it has, at least a nlmsghdr; everything else is
// checked, and what is too short for what it should be, or of another kind, says nothing.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <optional>
#include <span>

#include "base/ip.h"
#include "ur/source_choice.h"

namespace dr::ur {

struct Link {
    int index{};
    bool usable{};    // up and with carrier
    bool ethernet{};  // has an Ethernet header
    std::uint32_t group{};
    unsigned mtu{};  // bytes; 0: not told
};

struct OwnAddress {
    int index{};  // of the device
    IpAddress address;
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
// Whether it is a rule of this protocol number (RTM_NEWRULE).
bool is_rule_of(nlmsghdr* message, std::uint8_t protocol);
// Whether it is a route of this table and protocol number (RTM_NEWROUTE).
bool is_route_of(nlmsghdr* message, std::uint32_t table, std::uint8_t protocol);

// Whether one of the messages in a datagram is of anything but routes. `datagram` is aligned as a
// nlmsghdr is.
bool beyond_routes(std::span<char> datagram);

}  // namespace dr::ur
