// Which of a line's own addresses a tunnel is sent from.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "ur/source_choice.h"

using namespace dr;
using namespace dr::ur;

namespace {

IpAddress at(const std::string& text) {
    return text.empty() ? IpAddress{} : parse_address(text).value();
}

SourceAddress own(const std::string& text) {
    return {at(text), true, false, UINT32_MAX, true};
}

std::string best(const std::vector<SourceAddress>& addresses, const std::string& kernel,
                 const std::string& remote = "198.51.100.1", const std::string& answered = "") {
    const auto ranked = rank_sources(addresses, at(answered), at(kernel), at(remote));
    return ranked.empty() ? "" : to_string(ranked.front());
}

}  // namespace

TEST_CASE("the kernel's own choice is taken, wherever it stands among the addresses") {
    const std::vector<SourceAddress> all{own("192.168.100.2"), own("198.18.1.2"), own("10.9.0.1")};
    CHECK(best(all, "198.18.1.2") == "198.18.1.2");
    CHECK(best(all, "10.9.0.1") == "10.9.0.1");
    // Of another device: RFC 6724 looks at all of them.
    CHECK(best(all, "203.0.113.1") == "192.168.100.2");
}

TEST_CASE("an address of 169.254/16 is the last resort, even where the kernel would take it") {
    const std::vector<SourceAddress> both{own("169.254.7.7"), own("198.18.1.2")};
    CHECK(best(both, "169.254.7.7") == "198.18.1.2");
    CHECK(best({own("169.254.7.7")}, "169.254.7.7") == "169.254.7.7");
}

TEST_CASE("an address with a route goes before one without") {
    std::vector<SourceAddress> both{own("192.168.100.2"), own("198.18.1.2")};
    both[0].routed = false;
    CHECK(best(both, "192.168.100.2") == "198.18.1.2");
}

TEST_CASE("what is not ready is not taken, what is deprecated or about to go only alone") {
    std::vector<SourceAddress> both{own("2001:db8::1"), own("2001:db8::2")};
    both[0].ready = false;
    CHECK(best(both, "2001:db8::1", "2001:db8:e::1") == "2001:db8::2");
    CHECK(best({both[0]}, "2001:db8::1", "2001:db8:e::1").empty());
    both[0] = own("2001:db8::1");
    both[0].deprecated = true;
    CHECK(best(both, "2001:db8::1", "2001:db8:e::1") == "2001:db8::2");
    CHECK(best({both[0]}, "", "2001:db8:e::1") == "2001:db8::1");
    both[0] = own("2001:db8::1");
    both[0].valid_s = kExpiresS;
    CHECK(best(both, "2001:db8::1", "2001:db8:e::1") == "2001:db8::2");
    CHECK(best({both[0]}, "", "2001:db8:e::1") == "2001:db8::1");
}

TEST_CASE(
    "where the kernel says nothing, a unique local address is for a unique local remote end") {
    const std::vector<SourceAddress> both{own("fd12:3456::2"), own("2001:db8::2")};
    CHECK(best(both, "", "2001:db8:e::1") == "2001:db8::2");
    CHECK(best(both, "", "fd00::1") == "fd12:3456::2");
}

TEST_CASE("an address in use stays while the device has it and will have it") {
    std::vector<SourceAddress> all{own("192.168.100.2"), own("198.18.1.2")};
    CHECK(keeps_source(all, at("198.18.1.2")));
    CHECK_FALSE(keeps_source(all, at("198.18.1.9")));
    CHECK_FALSE(keeps_source(all, {}));
    all[1].ready = false;  // put on again: duplicate detection
    CHECK(keeps_source(all, at("198.18.1.2")));
    all[1].deprecated = true;
    CHECK_FALSE(keeps_source(all, at("198.18.1.2")));
    all[1] = own("198.18.1.2");
    all[1].valid_s = 1;
    CHECK_FALSE(keeps_source(all, at("198.18.1.2")));
}

TEST_CASE(
    "the address that the DR last answered goes before the kernel's choice, not before a route") {
    std::vector<SourceAddress> both{own("198.18.1.2"), own("192.168.100.2")};
    CHECK(best(both, "198.18.1.2", "198.51.100.1", "192.168.100.2") == "192.168.100.2");
    both[1].routed = false;
    CHECK(best(both, "198.18.1.2", "198.51.100.1", "192.168.100.2") == "198.18.1.2");
    both[1] = own("192.168.100.2");
    both[1].deprecated = true;
    CHECK(best(both, "198.18.1.2", "198.51.100.1", "192.168.100.2") == "198.18.1.2");
}

TEST_CASE("the best address has most of the time without an answer, each other one short turns") {
    CHECK(source_turn(1, 1000 * liveness::kSecond) == 0);
    for (const std::size_t count : {std::size_t{2}, std::size_t{4}}) {
        std::vector<unsigned> seconds(count);
        unsigned longest = 0, row = 0;
        for (unsigned s = 0; s < 600; ++s) {
            const std::size_t turn = source_turn(count, s * liveness::kSecond);
            REQUIRE(turn < count);
            if (s < 13) CHECK(turn == 0);
            ++seconds[turn];
            row = turn == 0 ? 0 : row + 1;
            longest = std::max(longest, row);
        }
        CHECK(longest <= 5);
        CHECK(seconds[0] > 480);
        for (const unsigned s : seconds) CHECK(s >= 20);
    }
}
