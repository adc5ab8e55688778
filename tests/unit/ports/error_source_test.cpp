// Which of its addresses this router sends ICMP errors from.
#include "dataplane/ports/error_source.h"

#include <catch2/catch.hpp>

using namespace dr;

namespace {

OwnAddress own(const char* text, std::optional<std::uint16_t> port, bool loopback = false) {
    return {parse_address(text).value(), port, loopback};
}

std::string source(const std::vector<OwnAddress>& all, std::uint16_t port, unsigned family) {
    const IpAddress found = error_source(all, port, family);
    return found.family == 0 ? "none" : to_string(found);
}

}  // namespace

TEST_CASE("an ICMP error comes from the first address of the port that it leaves by") {
    const std::vector all{own("192.0.2.1", 0), own("198.51.100.1", 1), own("198.51.100.2", 1),
                          own("2001:db8:1::1", 1), own("2001:db8::1", 0)};
    CHECK(source(all, 0, 4) == "192.0.2.1");
    CHECK(source(all, 1, 4) == "198.51.100.1");
    CHECK(source(all, 0, 6) == "2001:db8::1");
    CHECK(source(all, 1, 6) == "2001:db8:1::1");
}

TEST_CASE("a port without an address has errors come from the loopback's, then another port's") {
    std::vector all{own("203.0.113.9", std::nullopt), own("192.0.2.1", 0),
                    own("198.51.100.1", std::nullopt, true)};
    CHECK(source(all, 1, 4) == "198.51.100.1");
    all.pop_back();
    CHECK(source(all, 1, 4) == "192.0.2.1");
    all.pop_back();
    CHECK(source(all, 1, 4) == "203.0.113.9");
    CHECK(source(all, 1, 6) == "none");
}

TEST_CASE("an address that only private networks reach is the last choice, on any interface") {
    for (const char* inside :
         {"10.0.0.1", "172.16.0.1", "172.31.255.1", "192.168.0.1", "100.64.0.1", "100.127.0.1"}) {
        CAPTURE(inside);
        CHECK(source({own(inside, 0), own("192.0.2.1", 0)}, 0, 4) == "192.0.2.1");
        CHECK(source({own(inside, 0), own("192.0.2.1", std::nullopt, true)}, 0, 4) == "192.0.2.1");
        CHECK(source({own("10.9.9.9", 1), own(inside, 0)}, 0, 4) == inside);
    }
    CHECK(source({own("fd00::1", 0), own("2001:db8::1", 1)}, 0, 6) == "2001:db8::1");
    for (const char* outside :
         {"11.0.0.1", "172.15.0.1", "172.32.0.1", "192.169.0.1", "100.63.0.1", "100.128.0.1"}) {
        CAPTURE(outside);
        CHECK(source({own("192.0.2.1", 1), own(outside, 0)}, 0, 4) == outside);
    }
}

TEST_CASE("a link-local address is never the source of an ICMP error") {
    CHECK(source({own("169.254.0.1", 0), own("fe80::1", 0)}, 0, 4) == "none");
    CHECK(source({own("fe80::1", 0)}, 0, 6) == "none");
    CHECK(source({own("fe80::1", 0), own("fd00::1", 1)}, 0, 6) == "fd00::1");
}
