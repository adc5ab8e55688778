// What urd refuses of prefixes and tunnel ends, whoever sends them.
#include <catch2/catch.hpp>

#include "dr/v1/signalling.pb.h"
#include "ur/attachment.h"
#include "ur/prefix_check.h"

namespace v1 = dr::v1;
using namespace dr::ur;
using Catch::Contains;

namespace {

dr::IpAddress address(const std::string& text) {
    return dr::parse_address(text).value();
}
dr::IpPrefix own(const std::string& text) {
    return dr::parse_interface_address(text).value();
}
dr::IpPrefix prefix(const std::string& text) {
    return dr::parse_prefix(text).value();
}

v1::Attachment good() {
    v1::Attachment a;
    a.set_subscriber("site-42");
    a.add_prefixes("203.0.113.8/29");
    a.mutable_policy()->add_classes()->add_tiers()->add_lines()->set_line("a");
    auto& t = *a.add_tunnels();
    t.set_id(101);
    t.set_line("a");
    t.set_encapsulation(v1::GRE_UDP);
    t.set_dr_address("198.51.100.1");
    t.set_mtu(1464);
    return a;
}

std::string errors_of(const v1::Attachment& attachment) {
    try {
        Translator(std::map<std::string, std::string>{{"a", "eth0"}}).translate(attachment);
    } catch (const ConfigError& e) {
        return e.what();
    }
    return {};
}

std::string with_prefix(const std::string& text) {
    v1::Attachment a = good();
    a.add_prefixes(text);
    return errors_of(a);
}

std::string with_end(const std::string& text, bool ours = false) {
    v1::Attachment a = good();
    if (ours)
        a.mutable_tunnels(0)->set_ur_address(text);
    else
        a.mutable_tunnels(0)->set_dr_address(text);
    return errors_of(a);
}

}  // namespace

TEST_CASE("prefixes that no site can have are refused by the place and the block") {
    for (const char* text :
         {"0.0.0.0/0", "::/0", "0.0.0.0/8", "127.0.0.0/8", "127.0.0.1/32", "169.254.0.0/24",
          "224.0.0.0/24", "240.0.0.0/24", "255.255.255.255/32", "::/128", "::1/128",
          "::ffff:10.0.0.0/104", "fe80::/64", "ff02::/16", "64:ff9b::/96"})
        CHECK_THAT(with_prefix(text), Contains(std::string("prefixes[1]: ") + text + " overlaps"));
    CHECK_THAT(with_prefix("64.0.0.0/7"), Contains("prefixes[1]: 64.0.0.0/7 is too large"));
    CHECK_THAT(with_prefix("2000::/3"), Contains("prefixes[1]: 2000::/3 is too large"));
    for (const char* text : {"10.0.0.0/8", "192.168.0.0/16", "192.0.2.0/24", "2001:db8::/32"})
        CHECK(with_prefix(text).empty());
}

TEST_CASE("ends of tunnels that nobody can have are refused, of both sides") {
    for (const char* text : {"127.0.0.1", "224.0.0.1", "0.0.0.0", "255.255.255.255", "169.254.1.1",
                             "240.0.0.1", "::1", "::", "fe80::1", "ff02::1", "::ffff:10.0.0.1"}) {
        CHECK_THAT(with_end(text),
                   Contains("tunnels[0].dr_address: ") && Contains("unicast address"));
        CHECK_THAT(with_end(text, true), Contains("tunnels[0].ur_address: "));
    }
    CHECK_THAT(with_end("203.0.113.9"), Contains("inside the site's prefix 203.0.113.8/29"));
}

TEST_CASE("names that are none are refused, shortened and printable") {
    v1::Attachment a = good();
    a.mutable_tunnels(0)->set_line("a\x1b[2J" + std::string(100'000, 'x'));
    CHECK_THAT(errors_of(a),
               Contains("\"a\\x1b[2Jxxx") && Contains("...\"") && Contains("no name of a line"));
    CHECK(errors_of(a).size() < 1000);
    a = good();
    a.mutable_policy()->mutable_classes(0)->set_name("\n");
    CHECK_THAT(errors_of(a), Contains("\"\\x0a\" is no name of a class"));
    a = good();
    a.mutable_policy()->mutable_classes(0)->mutable_tiers(0)->mutable_lines(0)->set_line(
        std::string(1'000'000, 'y'));
    CHECK(errors_of(a).size() < 1000);
    a = good();
    auto& number = *a.mutable_policy()->add_line_numbers();
    number.set_line(std::string(1'000'000, 'z'));
    CHECK(errors_of(a).size() < 1000);
    a = good();
    for (int i = 0; i < 100'000; ++i) a.add_prefixes("nonsense");
    CHECK(errors_of(a).size() < 1000);
}

TEST_CASE("a prefix that holds what a line or signalling needs is named with what it holds") {
    const std::vector<LineAddresses> lines{
        {"a",
         {own("198.18.1.2/24"), own("2001:db8:a::2/64")},
         {{address("198.18.1.2"), address("198.18.1.1")}}},
        {"b",
         {own("100.64.7.9/32")},
         {{address("100.64.7.9"), address("100.127.0.1")}, {address("100.64.7.9"), {}}}}};
    const std::vector<dr::IpAddress> signalling{address("192.0.2.53")};
    const auto held = [&](const char* text) { return held_by(prefix(text), lines, signalling); };
    CHECK(held("198.18.1.0/30") == "198.18.1.2, the address of line a");
    CHECK(held("198.18.0.0/15") == "198.18.1.2, the address of line a");
    CHECK(held("198.18.1.1/32") == "198.18.1.1, the gateway of line a");
    CHECK(held("2001:db8:a::/48") == "2001:db8:a::2, the address of line a");
    CHECK(held("100.64.0.0/16") == "100.64.7.9, the address of line b");
    CHECK(held("100.127.0.0/24") == "100.127.0.1, the gateway of line b");
    CHECK(held("192.0.2.0/24") == "192.0.2.53, an address of the DR's signalling");
    CHECK(held("198.18.1.64/26").empty());  // inside the line's network, and nothing of it
    CHECK(held("2001:db8:b::/48").empty());
    CHECK(held("203.0.113.8/29").empty());
    // What a prefix in force holds already is no reason against another around it.
    const std::vector<dr::IpPrefix> before{prefix("198.18.1.0/30")};
    CHECK(held_by(prefix("198.18.1.0/24"), lines, signalling, before).empty());
    CHECK(held_by(prefix("198.18.0.0/15"), lines, {address("198.18.1.3")}, before) ==
          "198.18.1.3, an address of the DR's signalling");
}

TEST_CASE("a line costs a prefix only where no line is left without what the prefix holds") {
    const LineAddresses good{
        "a", {own("198.18.1.2/24")}, {{address("198.18.1.2"), address("198.18.1.1")}}};
    const LineAddresses inside_it{
        "b", {own("203.0.113.14/29")}, {{address("203.0.113.14"), address("203.0.113.9")}}};
    const LineAddresses two{"c",
                            {own("203.0.113.14/29"), own("198.18.3.2/24")},
                            {{address("203.0.113.14"), address("198.18.3.1")},
                             {address("198.18.3.2"), address("198.18.3.1")}}};
    const LineAddresses behind{
        "d", {own("198.18.4.2/24")}, {{address("198.18.4.2"), address("203.0.113.9")}}};
    const auto site = prefix("203.0.113.8/29");
    const std::vector<dr::IpPrefix> none, used{site};
    CHECK(cuts_off(site, none, {good, inside_it}, {}).empty());
    CHECK(cuts_off(site, none, {inside_it, good}, {}).empty());
    CHECK(cuts_off(site, none, {two}, {}).empty());
    CHECK(cuts_off(site, none, {}, {}).empty());
    CHECK(cuts_off(site, none, {{"a", {}, {}}, {"b", {own("203.0.113.14/29")}, {}}}, {}).empty());
    CHECK(cuts_off(site, none, {{"a", {own("203.0.113.13/29")}, {}}, inside_it}, {}) ==
          "203.0.113.14, the address of line b");
    CHECK(cuts_off(site, none, {behind}, {}) == "203.0.113.9, the gateway of line d");
    CHECK(cuts_off(prefix("198.18.3.0/24"), used, {two}, {}) ==
          "198.18.3.2, the address of line c");
    CHECK(cuts_off(site, none, {good}, {address("203.0.113.10")}) ==
          "203.0.113.10, an address of the DR's signalling");
    CHECK(set_aside(used, {good, behind, two}) ==
          std::vector<std::string>{"203.0.113.9, the gateway of line d",
                                   "203.0.113.14, the address of line c"});
    CHECK(needed_in(used, {good, inside_it}, {address("203.0.113.10"), address("192.0.2.1")}) ==
          std::vector<dr::IpAddress>{address("203.0.113.10"), address("203.0.113.14"),
                                     address("203.0.113.9")});
}

TEST_CASE("the address is found in every form in which a DR's place is written") {
    for (const char* text : {"192.0.2.1:4755", "ipv4:192.0.2.1:4755", "[192.0.2.1]:4755"})
        CHECK(address_in(text) == address("192.0.2.1"));
    for (const char* text :
         {"[2001:db8::1]:4755", "ipv6:[2001:db8::1]:4755", "ipv6:%5B2001:db8::1%5D:4755"})
        CHECK(address_in(text) == address("2001:db8::1"));
    for (const char* text : {"dr1.example.net:4755", "", ":", "unix-abstract:urd-line-1", "x"})
        CHECK(address_in(text).family == 0);
}
