// Prefixes claimed by several sources, and next hops.
#include "dataplane/tables/rib.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <set>

using namespace dr;

namespace {

struct Fixture {
    std::string error;
    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    explicit Fixture(std::uint32_t next_hops = 64, std::uint32_t groups = 256) {
        Capacity c;
        c.subscribers = c.tunnels = c.maps = 64;
        c.next_hops = next_hops;
        c.prefixes4 = c.prefixes6 = 1000;
        c.groups4 = c.groups6 = groups;
        tables = Tables::create(c, &error);
        REQUIRE(tables);
        rib = std::make_unique<Rib>(*tables);
    }
    Target at(const std::string& text) const {
        const IpAddress a = parse_address(text).value();
        return a.family == 4 ? tables->lpm4->lookup(a.bytes.data())
                             : tables->lpm6->lookup(a.bytes.data());
    }
    const NextHopRow& row(NextHopIndex index) const { return tables->next_hop(index.value); }
};

IpAddress address(const std::string& text) {
    return parse_address(text).value();
}
IpPrefix prefix(const std::string& text) {
    return parse_prefix(text).value();
}

const wire::Mac kMac1{2, 0, 0, 0, 0, 1}, kMac2{2, 0, 0, 0, 0, 2}, kOwn{2, 0, 0, 0, 0, 0xfe};
const Target kSite(TargetKind::Subscriber, 7), kPool(TargetKind::Pool, 1);
const Target kLocal(TargetKind::Local, 0), kConnected(TargetKind::Glean, 0);
const Target kBlackhole(TargetKind::Blackhole, 0);

Target via(NextHopIndex hop) {
    return {TargetKind::NextHop, hop.value};
}

// As rib.h has it.
Target preferred(const std::map<RouteSource, Target>& claims) {
    const auto route = claims.find(RouteSource::Route);
    if (claims.begin()->first == RouteSource::Subscriber && !claims.contains(RouteSource::Pool) &&
        route != claims.end() && route->second.kind() == TargetKind::Blackhole)
        return {TargetKind::Blackhole, claims.begin()->second.index()};
    return claims.begin()->second;
}

}  // namespace

TEST_CASE(
    "where several sources claim a prefix the best one is installed, and the next best after") {
    const std::string text = GENERATE("203.0.113.8/29", "2001:db8:5000:100::/56");
    Fixture f;
    const std::string inside =
        text[0] == '2' && text[3] == '.' ? "203.0.113.9" : "2001:db8:5000:100::9";
    const IpPrefix p = prefix(text);
    CHECK(f.rib->insert(p, RouteSource::Pool, kPool));
    CHECK(f.at(inside) == kPool);
    CHECK(f.rib->insert(p, RouteSource::Route, kBlackhole));
    CHECK(f.at(inside) == kPool);
    CHECK(f.rib->insert(p, RouteSource::Subscriber, kSite));
    CHECK(f.at(inside) == kSite);
    CHECK(f.rib->insert(p, RouteSource::Local, kLocal));
    CHECK(f.at(inside) == kLocal);
    f.rib->remove(p, RouteSource::Local);
    CHECK(f.at(inside) == kSite);
    f.rib->remove(p, RouteSource::Subscriber);
    CHECK(f.at(inside) == kPool);
    f.rib->remove(p, RouteSource::Subscriber);  // again: nothing happens
    f.rib->remove(p, RouteSource::Pool);
    CHECK(f.at(inside) == kBlackhole);
    f.rib->remove(p, RouteSource::Route);
    CHECK(f.at(inside) == Target{});
    CHECK(f.tables->lpm4->size() + f.tables->lpm6->size() == 0);
}

TEST_CASE("claims of all sources in random order agree with a model") {
    const unsigned seed = std::random_device{}();
    WARN("seed " << seed);
    std::mt19937 random(seed);
    Fixture f;
    std::map<IpPrefix, std::map<RouteSource, Target>> model;
    std::vector<IpPrefix> prefixes;
    for (const char* text : {"10.0.0.0/8", "10.0.0.0/24", "10.0.0.0/25", "10.0.0.1/32",
                             "2001:db8::/32", "2001:db8::/56", "2001:db8::/64", "2001:db8::1/128"})
        prefixes.push_back(prefix(text));
    for (int i = 0; i < 5'000; ++i) {
        const IpPrefix& p = prefixes[random() % prefixes.size()];
        const auto source = static_cast<RouteSource>(random() % 6);
        if (random() % 2 == 0) {
            const Target target(static_cast<TargetKind>(1 + random() % 7),
                                static_cast<std::uint32_t>(random() % 5));
            REQUIRE(f.rib->insert(p, source, target));
            model[p][source] = target;
        } else {
            f.rib->remove(p, source);
            model[p].erase(source);
        }
        std::array<Target, 2> expected;
        std::array<int, 2> longest{-1, -1};
        for (const auto& [q, claims] : model) {
            const std::size_t family = q.address.family == 4 ? 0 : 1;
            if (claims.empty() || q.length < longest[family]) continue;
            longest[family] = q.length;
            expected[family] = preferred(claims);
        }
        REQUIRE(f.at("10.0.0.1") == expected[0]);
        REQUIRE(f.at("2001:db8::1") == expected[1]);
        if (i % 32 == 0) f.rib->reclaim();
    }
}

TEST_CASE("a claim that finds the lookup table full is refused and changes nothing") {
    Fixture f(64, 1);
    CHECK(f.rib->insert(prefix("10.0.0.1/32"), RouteSource::Route, kBlackhole));
    const auto before = f.rib->generation();
    CHECK_FALSE(f.rib->insert(prefix("10.0.1.1/32"), RouteSource::Route, kBlackhole));
    CHECK_FALSE(f.rib->insert(prefix("10.0.1.1/32"), RouteSource::Subscriber, kSite));
    CHECK(f.rib->generation() == before);
    CHECK(f.at("10.0.1.1") == Target{});
    f.rib->remove(prefix("10.0.1.1/32"), RouteSource::Route);
    CHECK(f.rib->insert(prefix("10.0.0.1/32"), RouteSource::Subscriber, kSite));
}

TEST_CASE("a next hop is shared by all that acquire it and gone after the last release") {
    Fixture f;
    const NextHopIndex a = f.rib->acquire_next_hop(0, address("192.0.2.254"));
    CHECK(a.value != 0);
    CHECK(f.rib->acquire_next_hop(0, address("192.0.2.254")) == a);
    CHECK(f.rib->acquire_next_hop(1, address("192.0.2.254")) != a);
    f.rib->release_next_hop(a);
    CHECK(f.rib->acquire_next_hop(0, address("192.0.2.254")) == a);
    f.rib->release_next_hop(a);
    f.rib->release_next_hop(a);
    f.rib->confirm(f.rib->generation());
    f.rib->reclaim();
    CHECK(f.tables->next_hops[a.value].load() == 0);
    CHECK(f.rib->acquire_next_hop(0, address("192.0.2.253")) != a);  // the last to be used again
}

TEST_CASE(
    "next hops run out with index 0, and come back when no worker and no tunnel can name them") {
    Fixture f(4);
    f.tables->qsbr.online(0);
    std::vector<NextHopIndex> hops;
    for (int i = 1; i <= 3; ++i)
        hops.push_back(f.rib->acquire_next_hop(0, address("192.0.2." + std::to_string(i))));
    CHECK(std::set<NextHopIndex>(hops.begin(), hops.end()).size() == 3);
    CHECK(f.rib->acquire_next_hop(0, address("192.0.2.9")).value == 0);
    f.rib->release_next_hop(hops[1]);
    CHECK(f.rib->acquire_next_hop(0, address("192.0.2.9")).value == 0);  // a worker may hold it
    f.tables->qsbr.quiescent(0);
    // A tunnel's row may still name it.
    CHECK(f.rib->acquire_next_hop(0, address("192.0.2.9")).value == 0);
    f.rib->confirm(f.rib->generation());
    CHECK(f.rib->acquire_next_hop(0, address("192.0.2.9")) == hops[1]);
    f.tables->qsbr.offline(0);
}

TEST_CASE("a neighbour's MAC address is published in a new row, never in place") {
    Fixture f;
    f.rib->set_port(0, kOwn, 9000);
    const NextHopIndex hop = f.rib->acquire_next_hop(0, address("2001:db8::1"));
    CHECK(f.row(hop).resolved == 0);
    f.tables->qsbr.online(0);
    const NextHopRow* old = &f.row(hop);
    f.rib->set_neighbour(0, address("2001:db8::1"), kMac1);
    CHECK(old->resolved == 0);
    CHECK(&f.row(hop) != old);
    CHECK(f.row(hop).resolved == 1);
    CHECK(f.row(hop).destination == kMac1);
    CHECK(f.row(hop).source == kOwn);
    CHECK(f.row(hop).mtu == 9000);
    CHECK(f.row(hop).family == 6);
    old = &f.row(hop);
    for (int i = 0; i < 20; ++i) {
        f.rib->set_neighbour(0, address("2001:db8::1"), i % 2 == 0 ? kMac2 : kMac1);
        f.rib->reclaim();
        CHECK(old->destination == kMac1);  // held by a worker that was not quiescent yet
    }
    f.rib->clear_neighbour(0, address("2001:db8::1"));
    CHECK(f.row(hop).resolved == 0);
    f.tables->qsbr.offline(0);
}

TEST_CASE("a neighbour known before its next hop is used at once") {
    Fixture f;
    f.rib->set_neighbour(3, address("192.0.2.1"), kMac1);
    const NextHopIndex hop = f.rib->acquire_next_hop(3, address("192.0.2.1"));
    CHECK(f.row(hop).resolved == 1);
    CHECK(f.row(hop).port == 3);
    CHECK(f.row(hop).destination == kMac1);
}

TEST_CASE("a change that finds no free row is published by the next reclaim") {
    Fixture f(4);
    const NextHopIndex hop = f.rib->acquire_next_hop(0, address("192.0.2.1"));
    f.tables->qsbr.online(0);
    const std::uint32_t rows = f.tables->next_hop_rows.size();
    for (std::uint32_t i = 0; i < 2 * rows; ++i)
        f.rib->set_neighbour(0, address("192.0.2.1"), i % 2 == 0 ? kMac1 : kMac2);
    f.rib->set_neighbour(0, address("192.0.2.1"), kOwn);
    CHECK(f.row(hop).destination != kOwn);
    f.tables->qsbr.quiescent(0);
    f.rib->reclaim();
    CHECK(f.row(hop).destination == kOwn);
    f.tables->qsbr.offline(0);
}

TEST_CASE("resolve() follows neighbours, connected networks and routes, and nothing else") {
    Fixture f;
    const NextHopIndex gateway = f.rib->acquire_next_hop(0, address("192.0.2.254"));
    CHECK(f.rib->resolve(address("198.51.100.7")).value == 0);
    f.rib->insert(prefix("0.0.0.0/0"), RouteSource::Route, via(gateway));
    CHECK(f.rib->resolve(address("198.51.100.7")) == gateway);
    // A pool, a subscriber and a local address hide a route from packets, not from tunnels.
    f.rib->insert(prefix("198.51.100.0/24"), RouteSource::Pool, kPool);
    f.rib->insert(prefix("198.51.100.7/32"), RouteSource::Subscriber, kSite);
    CHECK(f.rib->resolve(address("198.51.100.7")) == gateway);
    f.rib->insert(prefix("198.51.100.0/25"), RouteSource::Route, kBlackhole);
    CHECK(f.rib->resolve(address("198.51.100.7")).value == 0);
    CHECK(f.rib->resolve(address("198.51.100.200")) == gateway);
    f.rib->remove(prefix("198.51.100.0/25"), RouteSource::Route);
    CHECK(f.rib->resolve(address("198.51.100.7")) == gateway);
    CHECK(f.rib->resolve(address("2001:db8::1")).value == 0);
}

TEST_CASE("a connected address without neighbour gets an unresolved next hop of its own") {
    Fixture f;
    f.rib->insert(prefix("192.0.2.0/24"), RouteSource::Connected, kConnected);
    const NextHopIndex hop = f.rib->resolve(address("192.0.2.7"));
    CHECK(hop.value != 0);
    CHECK(f.rib->resolve(address("192.0.2.7")) == hop);
    CHECK(f.rib->resolve(address("192.0.2.8")) != hop);
    CHECK(f.row(hop).resolved == 0);
    std::set<std::string> asked;
    f.rib->for_each_unresolved([&](std::uint16_t port, const IpAddress& a, bool) {
        CHECK(port == 0);
        asked.insert(to_string(a));
    });
    CHECK(asked == std::set<std::string>{"192.0.2.7", "192.0.2.8"});
    f.rib->set_neighbour(0, address("192.0.2.7"), kMac1);
    CHECK(f.row(hop).destination == kMac1);
    // They go with the network.
    f.rib->remove(prefix("192.0.2.0/24"), RouteSource::Connected);
    CHECK(f.rib->resolve(address("192.0.2.7")).value == 0);
    f.rib->confirm(f.rib->generation());
    f.rib->reclaim();
    CHECK(f.tables->next_hops[hop.value].load() == 0);
}

// Anybody on a network can have the kernel learn any address there: by an ARP request or a
// neighbour solicitation for an address of this router.
TEST_CASE(
    "a learned neighbour has a host route where a network of its own port leads to it alone") {
    struct Case {
        const char *network, *inside, *site, *elsewhere;
        unsigned bits;
    };
    const auto c = GENERATE(
        Case{"192.0.2.0/24", "192.0.2.9", "203.0.113.8", "9.9.9.9", 32},
        Case{"2001:db8:ff::/64", "2001:db8:ff::9", "2001:db8:5000::1", "2001:db8:9::9", 128});
    Fixture f;
    const auto host = [&](const char* text) {
        return prefix(std::string(text) + "/" + std::to_string(c.bits));
    };
    const NextHopIndex gateway = f.rib->acquire_next_hop(0, address(c.inside));
    IpPrefix all{address(c.inside), 0};
    all.address.bytes = {};
    f.rib->insert(all, RouteSource::Route, via(gateway));
    f.rib->insert(prefix(c.network), RouteSource::Connected, kConnected);
    f.rib->insert(host(c.site), RouteSource::Subscriber, kSite);
    for (const char* taken : {c.inside, c.site, c.elsewhere})
        f.rib->learn_neighbour(0, address(taken), kMac1);
    CHECK(f.at(c.inside) == via(gateway));
    CHECK(f.row(gateway).destination == kMac1);
    CHECK(f.at(c.site) == kSite);
    CHECK(f.at(c.elsewhere) == via(gateway));
    CHECK(f.rib->resolve(address(c.site)) == gateway);
    CHECK(f.rib->resolve(address(c.elsewhere)) == gateway);
    // The same address on another port, and one that is a site's, a pool's or the router's own.
    f.rib->clear_neighbour(0, address(c.inside));
    CHECK(f.at(c.inside) == kConnected);
    f.rib->learn_neighbour(1, address(c.inside), kMac2);
    CHECK(f.at(c.inside) == kConnected);
    f.rib->learn_neighbour(0, address(c.inside), kMac1);
    for (const auto& [source, target] :
         {std::pair(RouteSource::Subscriber, kSite), std::pair(RouteSource::Pool, kPool),
          std::pair(RouteSource::Local, kLocal), std::pair(RouteSource::Route, kBlackhole)}) {
        for (const IpPrefix& longer :
             {host(c.inside),
              IpPrefix{prefix(c.network).address, static_cast<std::uint8_t>(c.bits - 4)}}) {
            INFO(to_string(longer) << " of source " << static_cast<int>(source));
            CHECK(f.at(c.inside) == via(gateway));
            f.rib->insert(longer, source, target);
            CHECK(f.at(c.inside) == target);
            f.rib->remove(longer, source);
            CHECK(f.at(c.inside) == via(gateway));
        }
    }
}

TEST_CASE("a learned neighbour's host route follows its connected network, from port to port") {
    Fixture f;
    const IpPrefix network = prefix("192.0.2.0/24");
    const auto destination = [&] {
        const Target target = f.at("192.0.2.9");
        return target.kind() == TargetKind::NextHop ? f.row({target.index()}).destination
                                                    : wire::Mac{};
    };
    f.rib->learn_neighbour(0, address("192.0.2.9"), kMac1);
    f.rib->learn_neighbour(1, address("192.0.2.9"), kMac2);
    CHECK(f.at("192.0.2.9").kind() == TargetKind::None);
    for (const std::uint32_t port : {0U, 1U, 0U, 1U}) {
        f.rib->insert(network, RouteSource::Connected, Target(TargetKind::Glean, port));
        CHECK(destination() == (port == 0 ? kMac1 : kMac2));
    }
    f.rib->remove(network, RouteSource::Connected);
    CHECK(f.at("192.0.2.9").kind() == TargetKind::None);
    f.rib->insert(network, RouteSource::Connected, kConnected);
    CHECK(destination() == kMac1);
    f.rib->clear_neighbour(0, address("192.0.2.9"));
    CHECK(f.at("192.0.2.9") == kConnected);
    // All that they held is free again.
    f.rib->remove(network, RouteSource::Connected);
    f.rib->clear_neighbour(1, address("192.0.2.9"));
    f.rib->confirm(f.rib->generation());
    f.rib->reclaim();
    f.rib->reclaim();
    unsigned hops = 0;
    for (unsigned n = 0; n < 64; ++n)
        hops += f.rib->acquire_next_hop(2, address("192.0.3." + std::to_string(n))).value != 0;
    CHECK(hops == 63);
}

TEST_CASE("a link-local neighbour is a gateway's next hop, and has no host route") {
    Fixture f;
    const NextHopIndex gateway = f.rib->acquire_next_hop(0, address("fe80::1"));
    f.rib->insert(prefix("::/0"), RouteSource::Connected, kConnected);
    f.rib->learn_neighbour(0, address("fe80::1"), kMac1);
    CHECK(f.row(gateway).destination == kMac1);
    CHECK(f.at("fe80::1") == kConnected);
}

TEST_CASE("of next hops, a prefix holds those of routes and of tunnels, not neighbours as such") {
    Fixture f;
    f.rib->insert(prefix("192.0.2.0/24"), RouteSource::Connected, kConnected);
    for (const char* neighbour : {"192.0.2.9", "192.0.2.17", "203.0.113.9"})
        f.rib->learn_neighbour(0, address(neighbour), kMac1);
    CHECK(f.rib->own_inside(prefix("192.0.2.8/29")).empty());
    CHECK(f.rib->own_inside(prefix("203.0.113.8/29")).empty());
    // A tunnel ends there, whether its neighbour was learned before it or comes after it.
    CHECK(f.rib->resolve(address("192.0.2.9")).value != 0);
    CHECK(f.rib->own_inside(prefix("192.0.2.8/29")) == "192.0.2.9, a next hop");
    const NextHopIndex gateway = f.rib->acquire_next_hop(0, address("192.0.2.17"));
    CHECK(f.rib->own_inside(prefix("192.0.2.16/29")) == "192.0.2.17, a next hop");
    CHECK(f.rib->leads_on(0, address("192.0.2.17")));
    f.rib->release_next_hop(gateway);
    CHECK(f.rib->own_inside(prefix("192.0.2.16/29")).empty());
    CHECK_FALSE(f.rib->leads_on(0, address("192.0.2.17")));
    f.rib->remove(prefix("192.0.2.0/24"), RouteSource::Connected);
    CHECK(f.rib->own_inside(prefix("192.0.2.8/29")).empty());
}

TEST_CASE("the generation grows with what may alter a result of resolve(), and only then") {
    Fixture f;
    const NextHopIndex gateway = f.rib->acquire_next_hop(0, address("192.0.2.254"));
    std::uint64_t before = f.rib->generation();
    f.rib->insert(prefix("203.0.113.0/24"), RouteSource::Pool, kPool);
    f.rib->insert(prefix("203.0.113.8/29"), RouteSource::Subscriber, kSite);
    f.rib->insert(prefix("192.0.2.1/32"), RouteSource::Local, kLocal);
    f.rib->remove(prefix("203.0.113.8/29"), RouteSource::Subscriber);
    f.rib->set_neighbour(0, address("192.0.2.254"), kMac1);
    CHECK(f.rib->generation() == before);
    for (const RouteSource source :
         {RouteSource::Neighbour, RouteSource::Route, RouteSource::Connected}) {
        f.rib->insert(prefix("198.51.100.0/24"), source, via(gateway));
        CHECK(f.rib->generation() > before);
        before = f.rib->generation();
        f.rib->insert(prefix("198.51.100.0/24"), source, via(gateway));  // the same again
        CHECK(f.rib->generation() == before);
        f.rib->remove(prefix("198.51.100.0/24"), source);
        CHECK(f.rib->generation() > before);
        before = f.rib->generation();
    }
    f.rib->release_next_hop(gateway);
    CHECK(f.rib->generation() > before);
}

TEST_CASE("a route that discards goes before a subscriber of the same prefix, and names it") {
    const std::string text = GENERATE("203.0.113.8/29", "2001:db8:5000:100::/56");
    const std::string inside = text.front() == '2' && text.find(':') == std::string::npos
                                   ? "203.0.113.9"
                                   : "2001:db8:5000:100::9";
    const Target discarded(TargetKind::Blackhole, kSite.index());
    const bool first = GENERATE(true, false);
    Fixture f;
    if (first) CHECK(f.rib->insert(prefix(text), RouteSource::Route, kBlackhole));
    CHECK(f.rib->insert(prefix(text), RouteSource::Subscriber, kSite));
    if (!first) CHECK(f.rib->insert(prefix(text), RouteSource::Route, kBlackhole));
    CHECK(f.at(inside) == discarded);
    CHECK(f.at(inside).is_ours());
    const Target moved(TargetKind::Subscriber, 9);
    CHECK(f.rib->insert(prefix(text), RouteSource::Subscriber, moved));
    CHECK(f.at(inside) == Target(TargetKind::Blackhole, 9));
    // A pool's own prefix is discarded by whoever announces it.
    CHECK(f.rib->insert(prefix(text), RouteSource::Pool, kPool));
    CHECK(f.at(inside) == moved);
    f.rib->remove(prefix(text), RouteSource::Pool);
    f.rib->remove(prefix(text), RouteSource::Route);
    CHECK(f.at(inside) == moved);
}

TEST_CASE("a group of next hops leads to the first member that is known, and takes all along") {
    Fixture f;
    Rib& rib = *f.rib;
    rib.set_port(0, kOwn, 1500);
    rib.set_port(1, kOwn, 1400);
    const std::vector<Via> members{{0, address("192.0.2.7")}, {1, address("198.51.100.7")}};
    const NextHopIndex group = rib.acquire_group(members);
    CHECK(group.value != 0);
    CHECK(rib.acquire_group(members) == group);
    CHECK(f.row(group).resolved == 0);
    unsigned asked = 0;
    rib.for_each_unresolved(
        [&](std::uint16_t, const IpAddress&, bool gateway) { asked += gateway ? 1U : 0U; });
    CHECK(asked == 2);
    rib.set_neighbour(1, members[1].gateway, kMac2);
    CHECK(f.row(group).destination == kMac2);
    CHECK(f.row(group).port == 1);
    CHECK(f.row(group).mtu == 1400);
    rib.set_port(1, kOwn, 1300);
    CHECK(f.row(group).mtu == 1300);
    rib.set_neighbour(0, members[0].gateway, kMac1);
    CHECK(f.row(group).destination == kMac1);
    CHECK(f.row(group).port == 0);
    CHECK(rib.leads_on(0, members[0].gateway));
    rib.clear_neighbour(0, members[0].gateway);
    CHECK(f.row(group).destination == kMac2);
    rib.release_next_hop(group);
    CHECK(rib.leads_on(1, members[1].gateway));  // the group was acquired twice
    rib.release_next_hop(group);
    CHECK_FALSE(rib.leads_on(1, members[1].gateway));
    CHECK(rib.acquire_group({members[1], members[0]}) != group);
}

TEST_CASE("a group that finds no room for one of its next hops holds none of them") {
    Fixture f(4);  // three next hops
    const std::vector<Via> members{
        {0, address("192.0.2.7")}, {0, address("192.0.2.8")}, {0, address("192.0.2.9")}};
    CHECK(f.rib->acquire_group(members).value == 0);  // three, and one for the group
    unsigned held = 0;
    f.rib->for_each_unresolved([&](std::uint16_t, const IpAddress&, bool) { ++held; });
    CHECK(held == 0);
}

TEST_CASE("addresses and prefixes are read strictly and written back the same") {
    for (const char* text : {"0.0.0.0/0", "192.0.2.0/24", "203.0.113.9/32", "::/0",
                             "2001:db8:5000:100::/56", "2001:db8::1/128"})
        CHECK(to_string(prefix(text)) == text);
    for (const char* text : {"192.0.2.1/24", "2001:db8::1/64", "192.0.2.0", "192.0.2.0/",
                             "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/24x", "192.0.2/24",
                             "2001:db8::/129", "/24", "", "192.0.2.0/256"})
        CHECK_FALSE(parse_prefix(text));
    CHECK(to_string(parse_interface_address("192.0.2.1/24").value()) == "192.0.2.1/24");
    for (const char* text : {"192.0.2.256", "192.0.2.1/32", "2001:db8:::1", "", "localhost"})
        CHECK_FALSE(parse_address(text));
}

TEST_CASE("tables refuse a capacity that their indexes cannot hold, and name it") {
    for (std::uint32_t Capacity::*field :
         {&Capacity::next_hops, &Capacity::subscribers, &Capacity::tunnels, &Capacity::groups6}) {
        for (const std::uint32_t value : {0U, 0x7fffffffU}) {
            Capacity c;
            c.*field = value;
            std::string error;
            CHECK_FALSE(Tables::create(c, &error));
            CHECK(error.find("must be from 1 to") != std::string::npos);
        }
    }
}

TEST_CASE("a prefix covers the addresses that share its bits, and no others") {
    CHECK(prefix("203.0.113.0/24").contains(address("203.0.113.255")));
    CHECK_FALSE(prefix("203.0.113.0/24").contains(address("203.0.114.0")));
    CHECK(prefix("203.0.113.8/29").contains(address("203.0.113.15")));
    CHECK_FALSE(prefix("203.0.113.8/29").contains(address("203.0.113.16")));
    CHECK(prefix("0.0.0.0/0").contains(address("255.255.255.255")));
    CHECK_FALSE(prefix("0.0.0.0/0").contains(address("::")));
    CHECK(prefix("192.0.2.1/32").contains(address("192.0.2.1")));
    CHECK(prefix("2001:db8::/37").contains(address("2001:db8:7ff::1")));
    CHECK_FALSE(prefix("2001:db8::/37").contains(address("2001:db8:800::1")));
    CHECK(prefix("2001:db8::1/128").contains(address("2001:db8::1")));
}
