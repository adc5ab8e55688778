// What is read of route netlink's messages.
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>

#include <array>
#include <catch2/catch.hpp>
#include <memory>
#include <utility>
#include <vector>

#include "ur/netlink_messages.h"
#include "ur/pppoe.h"

namespace {

using Bytes = std::vector<std::uint8_t>;

// Memory of exactly the message's size, for sanitizers.
class Route final {
  public:
    Route() : message_(nlmsg_alloc_simple(RTM_NEWROUTE, 0), &nlmsg_free) {
        rtmsg route{};
        route.rtm_family = AF_INET;
        route.rtm_type = RTN_UNICAST;
        route.rtm_protocol = 146;
        REQUIRE(nlmsg_append(message_.get(), &route, sizeof route, NLMSG_ALIGNTO) == 0);
    }
    Route& put(int type, const Bytes& value) {
        REQUIRE(nla_put(message_.get(), type, static_cast<int>(value.size()), value.data()) == 0);
        return *this;
    }
    nlmsghdr* done() {
        const nlmsghdr* header = nlmsg_hdr(message_.get());
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(header);
        copy_.assign(bytes, bytes + header->nlmsg_len);
        return reinterpret_cast<nlmsghdr*>(copy_.data());
    }

  private:
    std::unique_ptr<nl_msg, decltype(&nlmsg_free)> message_;
    Bytes copy_;
};

const Bytes kDevice2{2, 0, 0, 0};
const Bytes kTable9{9, 0, 0, 0};

}  // namespace

TEST_CASE("a gateway is read of a route over the device asked for, of its own family or another") {
    Route plain;
    nlmsghdr* message = plain.put(RTA_OIF, kDevice2).put(RTA_GATEWAY, {192, 0, 2, 9}).done();
    CHECK(to_string(dr::ur::gateway_in(message, 2, 4).value()) == "192.0.2.9");
    CHECK_FALSE(dr::ur::gateway_in(message, 3, 4));

    Bytes via{AF_INET6, 0, 0xfe, 0x80};
    via.resize(2 + 15);
    via.push_back(1);
    Route other;
    message = other.put(RTA_OIF, kDevice2).put(RTA_VIA, via).done();
    CHECK(to_string(dr::ur::gateway_in(message, 2, 4).value()) == "fe80::1");

    Route direct;
    CHECK(dr::ur::gateway_in(direct.put(RTA_OIF, kDevice2).done(), 2, 4).value().family == 0);
}

TEST_CASE("an attribute shorter than it must be is not read") {
    for (const Bytes& via : {Bytes{}, Bytes{AF_INET6}, Bytes{AF_INET6, 0}, Bytes{AF_INET, 0, 1}}) {
        Route route;
        CHECK_FALSE(
            dr::ur::gateway_in(route.put(RTA_OIF, kDevice2).put(RTA_VIA, via).done(), 2, 4));
    }
    Route device;
    CHECK_FALSE(dr::ur::gateway_in(device.put(RTA_OIF, {2}).done(), 2, 4));
    Route table;
    CHECK_FALSE(dr::ur::table_route_in(table.put(RTA_TABLE, {9}).done(), 9));
    Route whole;
    CHECK(dr::ur::table_route_in(whole.put(RTA_TABLE, kTable9).done(), 9)->protocol == 146);
}

TEST_CASE("a route of a table is told by type, device, metric and protocol") {
    Route ours;
    const auto* message =
        ours.put(RTA_TABLE, kTable9).put(RTA_OIF, kDevice2).put(RTA_PRIORITY, {1, 0, 0, 0}).done();
    const auto route = dr::ur::table_route_in(const_cast<nlmsghdr*>(message), 9);
    REQUIRE(route);
    CHECK(*route == dr::ur::RouteSpec{{{4, {}}, 0}, RTN_UNICAST, 1, 2, 146});
    Route several;  // over a list of devices
    CHECK(dr::ur::table_route_in(several.put(RTA_TABLE, kTable9).done(), 9)->device == 0);
    Route elsewhere;
    CHECK_FALSE(dr::ur::table_route_in(elsewhere.put(RTA_TABLE, {8, 0, 0, 0}).done(), 9));
}

TEST_CASE("a rule with another action, a condition more or half a suppression is told as such") {
    const Bytes none{0xff, 0xff, 0xff, 0xff}, zero{0, 0, 0, 0}, lines{0x92, 0x12, 0, 0};
    const auto told = [](int action, const std::vector<std::pair<int, Bytes>>& attributes) {
        const std::unique_ptr<nl_msg, decltype(&nlmsg_free)> message(
            nlmsg_alloc_simple(RTM_NEWRULE, 0), &nlmsg_free);
        fib_rule_hdr rule{};
        rule.family = AF_INET;
        rule.src_len = 24;
        rule.action = static_cast<std::uint8_t>(action);
        REQUIRE(nlmsg_append(message.get(), &rule, sizeof rule, NLMSG_ALIGNTO) == 0);
        for (const auto& [type, value] : attributes)
            REQUIRE(nla_put(message.get(), type, static_cast<int>(value.size()), value.data()) ==
                    0);
        return dr::ur::rule_in(nlmsg_hdr(message.get())).value();
    };
    const std::vector<std::pair<int, Bytes>> plain{{FRA_SRC, {203, 0, 113, 0}},
                                                   {FRA_PRIORITY, {0x92, 0x12, 0, 0}},
                                                   {FRA_TABLE, {9, 0, 0, 0}},
                                                   {FRA_PROTOCOL, {147}},
                                                   {FRA_SUPPRESS_PREFIXLEN, none}};
    const auto rule = told(FR_ACT_TO_TBL, plain);
    CHECK(rule ==
          dr::ur::RuleSpec{4, 4754, 9, dr::parse_prefix("203.0.113.0/24"), {}, false, 147, false});
    CHECK(told(FR_ACT_BLACKHOLE, plain).other);
    auto marked = plain;
    marked.emplace_back(FRA_FWMARK, Bytes{1, 0, 0, 0});
    CHECK(told(FR_ACT_TO_TBL, marked).other);
    auto half = plain;
    half.back().second = zero;
    CHECK(told(FR_ACT_TO_TBL, half).other);
    half.emplace_back(FRA_SUPPRESS_IFGROUP, lines);
    CHECK_FALSE(told(FR_ACT_TO_TBL, half).other);
    CHECK(told(FR_ACT_TO_TBL, half).suppress_lines);
}

TEST_CASE(
    "a qdisc's kind is read to its end or the attribute's, a filter's priority from its place") {
    const auto told = [](const Bytes& kind) {
        const std::unique_ptr<nl_msg, decltype(&nlmsg_free)> message(
            nlmsg_alloc_simple(RTM_NEWQDISC, 0), &nlmsg_free);
        tcmsg qdisc{};
        qdisc.tcm_ifindex = 3;
        qdisc.tcm_parent = TC_H_INGRESS;
        qdisc.tcm_info = 4754U << 16 | 8;
        REQUIRE(nlmsg_append(message.get(), &qdisc, sizeof qdisc, NLMSG_ALIGNTO) == 0);
        REQUIRE(nla_put(message.get(), TCA_KIND, static_cast<int>(kind.size()), kind.data()) == 0);
        CHECK(dr::ur::filter_in(nlmsg_hdr(message.get()))->priority == 4754);
        return dr::ur::qdisc_in(nlmsg_hdr(message.get())).value();
    };
    const auto qdisc = told({'i', 'n', 'g', 'r', 'e', 's', 's', 0});
    CHECK(qdisc.kind == "ingress");
    CHECK(qdisc.index == 3);
    CHECK(qdisc.parent == TC_H_INGRESS);
    CHECK(told({'c', 'l'}).kind == "cl");
    CHECK(told({}).kind.empty());
}

TEST_CASE("a message without its fixed part says nothing") {
    nlmsghdr header{};
    header.nlmsg_len = sizeof header;
    CHECK_FALSE(dr::ur::link_in(&header));
    CHECK_FALSE(dr::ur::source_address_in(&header, 2, 4));
    CHECK(dr::ur::source_in(&header, 4).family == 0);
    CHECK_FALSE(dr::ur::own_address_in(&header));
    CHECK_FALSE(dr::ur::gateway_in(&header, 2, 4));
    CHECK_FALSE(dr::ur::rule_in(&header));
    CHECK_FALSE(dr::ur::qdisc_in(&header));
    CHECK_FALSE(dr::ur::filter_in(&header));
    CHECK_FALSE(dr::ur::table_route_in(&header, 0));
}

TEST_CASE("an address is read with its state and how long the device has it") {
    const auto address = [](std::uint8_t flags, const Bytes& times) {
        std::unique_ptr<nl_msg, decltype(&nlmsg_free)> message(nlmsg_alloc_simple(RTM_NEWADDR, 0),
                                                               &nlmsg_free);
        ifaddrmsg info{};
        info.ifa_family = AF_INET;
        info.ifa_flags = flags;
        info.ifa_index = 2;
        REQUIRE(nlmsg_append(message.get(), &info, sizeof info, NLMSG_ALIGNTO) == 0);
        const Bytes local{192, 0, 2, 7};
        REQUIRE(nla_put(message.get(), IFA_LOCAL, 4, local.data()) == 0);
        if (!times.empty())
            REQUIRE(nla_put(message.get(), IFA_CACHEINFO, static_cast<int>(times.size()),
                            times.data()) == 0);
        return dr::ur::source_address_in(nlmsg_hdr(message.get()), 2, 4);
    };
    const auto plain = address(0, {});
    REQUIRE(plain);
    CHECK(to_string(plain->address) == "192.0.2.7");
    CHECK((plain->ready && !plain->deprecated && plain->valid_s == UINT32_MAX));
    CHECK(address(IFA_F_DEPRECATED, {})->deprecated);
    CHECK_FALSE(address(IFA_F_TENTATIVE, {})->ready);
    CHECK_FALSE(address(IFA_F_DADFAILED, {})->ready);
    CHECK(address(0, Bytes{9, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})->valid_s == 7);
    CHECK_FALSE(address(0, {9, 0, 0, 0}));  // cut short
}

TEST_CASE(
    "the device below a VLAN or a macvlan is read, and none of a veth, a switch's port, or another "
    "namespace") {
    const auto below = [](const char* kind, bool elsewhere, std::uint16_t type = ARPHRD_ETHER) {
        std::unique_ptr<nl_msg, decltype(&nlmsg_free)> message(nlmsg_alloc_simple(RTM_NEWLINK, 0),
                                                               &nlmsg_free);
        ifinfomsg info{};
        info.ifi_index = 7;
        info.ifi_type = type;
        REQUIRE(nlmsg_append(message.get(), &info, sizeof info, NLMSG_ALIGNTO) == 0);
        REQUIRE(nla_put_u32(message.get(), IFLA_LINK, 3) == 0);
        REQUIRE(nla_put_u32(message.get(), IFLA_MASTER, elsewhere ? 9 : 0) == 0);
        if (elsewhere) REQUIRE(nla_put_u32(message.get(), IFLA_LINK_NETNSID, 0) == 0);
        nlattr* nest = nla_nest_start(message.get(), IFLA_LINKINFO);
        REQUIRE(nla_put_string(message.get(), IFLA_INFO_KIND, kind) == 0);
        nla_nest_end(message.get(), nest);
        return dr::ur::link_in(nlmsg_hdr(message.get())).value();
    };
    CHECK(below("vlan", false).below == 3);
    CHECK(below("macvlan", false).below == 3);
    CHECK(below("veth", false).below == 0);
    CHECK(below("dsa", false).below == 0);
    CHECK(below("macvlan", true).below == 0);
    CHECK(below("macvlan", true).enslaved);
    CHECK_FALSE(below("macvlan", false).enslaved);
    CHECK(below("ppp", false, ARPHRD_PPP).ppp);
    CHECK_FALSE(below("vlan", false).ppp);
}

TEST_CASE("the devices of PPPoE's sessions are read from the kernel's list") {
    using Names = std::set<std::string>;
    CHECK(dr::ur::pppoe_devices("Id       Address              Device\n"
                                "00004A2F 02:00:5e:10:00:01     eth1\n"
                                "00000007 02:00:5e:10:00:02  eth2.35\n") ==
          Names{"eth1", "eth2.35"});
    for (const char* text :
         {"", "Id       Address              Device\n", "Id\n00004A2F\n\n x y\n"})
        CHECK(dr::ur::pppoe_devices(text).empty());
}

TEST_CASE("a route over a device is read with its network, and a default route is none") {
    Route host;
    rtmsg* header = nullptr;
    nlmsghdr* message =
        host.put(RTA_OIF, kDevice2).put(RTA_TABLE, kTable9).put(RTA_DST, {192, 0, 2, 9}).done();
    CHECK_FALSE(dr::ur::device_route_in(message));
    header = static_cast<rtmsg*>(nlmsg_data(message));
    header->rtm_dst_len = 24;
    const auto route = dr::ur::device_route_in(message).value();
    CHECK((to_string(route.to) == "192.0.2.9/24" && route.index == 2 && route.table == 9));
    header->rtm_dst_len = 33;
    CHECK_FALSE(dr::ur::device_route_in(message));
}
