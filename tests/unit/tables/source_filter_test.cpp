// Which sources may be this router's own or a subscriber's.
#include "dataplane/tables/source_filter.h"

#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "dataplane/tables/rib.h"

using namespace dr;

namespace {

struct Fixture {
    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    Fixture() {
        Capacity c;
        c.subscribers = c.tunnels = c.maps = c.next_hops = 64;
        c.prefixes4 = c.prefixes6 = 1000;
        c.groups4 = c.groups6 = 1024;
        std::string error;
        tables = Tables::create(c, &error);
        REQUIRE(tables);
        rib = std::make_unique<Rib>(*tables);
    }
    [[nodiscard]] bool may_hold(const IpAddress& a) const {
        return a.family == 4 ? tables->sources4.may_hold(a.bytes.data())
                             : tables->sources6.may_hold(a.bytes.data());
    }
    [[nodiscard]] bool may_hold(const std::string& text) const {
        const IpAddress a = parse_address(text).value();
        return may_hold(a);
    }
};

IpPrefix prefix(const std::string& text) {
    return parse_prefix(text).value();
}

// An address inside the prefix, host bits at random.
IpAddress inside(const IpPrefix& p, std::mt19937& random) {
    IpAddress a = p.address;
    for (unsigned bit = p.length; bit < (a.family == 4 ? 32U : 128U); ++bit)
        if (random() % 2 == 0) a.bytes[bit / 8] |= static_cast<std::uint8_t>(0x80U >> bit % 8);
    return a;
}

}  // namespace

TEST_CASE(
    "a source of a pool, of a subscriber, or of this router is never taken for a stranger's") {
    const auto seed = static_cast<std::uint32_t>(Catch::rngSeed());
    CAPTURE(seed);
    std::mt19937 random(seed);
    Fixture f;
    std::vector<IpPrefix> prefixes;
    for (const char* text :
         {"10.0.0.0/7", "100.64.0.0/10", "203.0.0.0/15", "203.0.0.0/16", "203.0.113.0/24",
          "203.0.113.8/29", "192.0.2.1/32", "2000::/12", "2a00::/16", "2001:d00::/24",
          "2001:db8::/29", "2001:db8::/32", "2001:db8:5000::/36", "2001:db8:5000::/40",
          "2001:db8:5000:100::/56", "2001:db8:ff::1/128"})
        prefixes.push_back(prefix(text));
    std::map<IpPrefix, std::map<RouteSource, Target>> model;
    constexpr std::array kSources{RouteSource::Local, RouteSource::Subscriber, RouteSource::Pool,
                                  RouteSource::Route};
    for (int i = 0; i < 2'000; ++i) {
        const IpPrefix& p = prefixes[random() % prefixes.size()];
        const RouteSource source = kSources[random() % kSources.size()];
        const Target target = source == RouteSource::Local ? Target(TargetKind::Local, 0)
                              : source == RouteSource::Subscriber
                                  ? Target(TargetKind::Subscriber, 3)
                              : source == RouteSource::Pool ? Target(TargetKind::Pool, 0)
                                                            : Target(TargetKind::NextHop, 1);
        if (random() % 2 == 0) {
            REQUIRE(f.rib->insert(p, source, target));
            model[p][source] = target;
        } else {
            f.rib->remove(p, source);
            model[p].erase(source);
        }
        for (const auto& [held, claims] : model)
            if (!claims.empty() && claims.begin()->second.is_ours())
                REQUIRE(f.may_hold(inside(held, random)));
    }
    for (const IpPrefix& p : prefixes)
        for (const RouteSource source : kSources) f.rib->remove(p, source);
    for (const IpPrefix& p : prefixes) CHECK_FALSE(f.may_hold(inside(p, random)));
}

TEST_CASE("a stranger's source is passed by without a lookup, routes and neighbours included") {
    Fixture f;
    f.rib->insert(prefix("203.0.113.0/24"), RouteSource::Pool, Target(TargetKind::Pool, 0));
    f.rib->insert(prefix("2001:db8:5000::/36"), RouteSource::Pool, Target(TargetKind::Pool, 0));
    f.rib->insert(prefix("0.0.0.0/0"), RouteSource::Route, Target(TargetKind::NextHop, 1));
    f.rib->insert(prefix("::/0"), RouteSource::Route, Target(TargetKind::NextHop, 1));
    f.rib->insert(prefix("192.0.2.0/24"), RouteSource::Connected, Target(TargetKind::Glean, 0));
    CHECK(f.may_hold("203.0.113.9"));
    CHECK(f.may_hold("2001:db8:5fff::9"));
    CHECK_FALSE(f.may_hold("93.184.216.34"));
    CHECK_FALSE(f.may_hold("192.0.2.254"));
    CHECK_FALSE(f.may_hold("2001:db8:1234::34"));
    CHECK_FALSE(f.may_hold("2a00::1"));
}

TEST_CASE("a prefix that every address is in makes every source one to look up") {
    Fixture f;
    f.rib->insert(prefix("::/0"), RouteSource::Pool, Target(TargetKind::Pool, 0));
    f.rib->insert(prefix("0.0.0.0/0"), RouteSource::Pool, Target(TargetKind::Pool, 0));
    CHECK(f.may_hold("93.184.216.34"));
    CHECK(f.may_hold("2a00::1"));
    f.rib->remove(prefix("::/0"), RouteSource::Pool);
    f.rib->remove(prefix("0.0.0.0/0"), RouteSource::Pool);
    CHECK_FALSE(f.may_hold("93.184.216.34"));
    CHECK_FALSE(f.may_hold("2a00::1"));
}
