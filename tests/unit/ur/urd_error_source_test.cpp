// The address from which the router's ICMP errors about the site's packets come.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "ur/error_source.h"

using dr::IpPrefix;
using dr::ur::OwnAddress;

namespace {

constexpr int kLan = 4, kWan = 2, kLoopback = 1;

std::vector<IpPrefix> prefixes(const std::vector<std::string>& texts) {
    std::vector<IpPrefix> out(texts.size());
    for (std::size_t i = 0; i < texts.size(); ++i) out[i] = dr::parse_prefix(texts[i]).value();
    return out;
}

OwnAddress own(int index, const std::string& text) {
    return {index, dr::parse_address(text).value()};
}

const std::vector<std::string> kSite{"203.0.113.8/29", "203.0.113.128/29",
                                     "2001:db8:5000:100::/56"};

std::string picked(std::uint8_t family, const std::vector<OwnAddress>& addresses, int lan = kLan) {
    return to_string(dr::ur::pick_error_source(family, prefixes(kSite), addresses, lan));
}

}  // namespace

TEST_CASE("ICMP errors come from the LAN device's address inside a prefix before any other's") {
    const std::vector<OwnAddress> all{own(kWan, "198.18.1.2"), own(kLoopback, "203.0.113.15"),
                                      own(kLan, "192.168.1.1"), own(kLan, "203.0.113.129"),
                                      own(kLan, "2001:db8:5000:100::1")};
    CHECK(picked(4, all) == "203.0.113.129");
    CHECK(picked(6, all) == "2001:db8:5000:100::1");
    CHECK(picked(4, all, 0) == "203.0.113.15");
}

TEST_CASE(
    "a router without an address of the site's sends ICMP errors from the first of a prefix") {
    const std::vector<OwnAddress> all{own(kWan, "198.18.1.2"), own(kLan, "203.0.113.16"),
                                      own(kLan, "2001:db8:5000:200::1")};
    CHECK(picked(4, all) == "203.0.113.8");
    CHECK(picked(6, all) == "2001:db8:5000:100::");
}

TEST_CASE("without a prefix of the family ICMP errors have no address of the site's") {
    CHECK(dr::ur::pick_error_source(6, prefixes({"203.0.113.8/29"}), {}, kLan).family == 0);
}
