// Prefixes of sites against what is the router's own.
#include <catch2/catch.hpp>

#include "tests/unit/southbound/southbound_writer_fixture.h"

namespace dr::southbound::test {
namespace {

struct OwnFixture : Fixture {
    OwnFixture() {
        rib->insert(prefix("192.0.2.0/24"), RouteSource::Connected, Target(TargetKind::Glean, 0));
        rib->insert(prefix("192.0.2.1/32"), RouteSource::Local, Target(TargetKind::Local, 0));
        rib->insert(prefix("2001:db8:ff::/64"), RouteSource::Connected,
                    Target(TargetKind::Glean, 0));
        hop = rib->acquire_next_hop(0, address("192.0.2.254"));
        rib->insert(prefix("0.0.0.0/0"), RouteSource::Route,
                    Target(TargetKind::NextHop, hop.value));
        REQUIRE(commit(sites(1, 2)).ok());
    }
    void refused(const std::string& text, const std::string& says) {
        SubscriberSpec spec = site(9);
        spec.prefixes[1] = text;
        const Outcome o = commit(sites(1, 2).put(spec));
        INFO(text << ": " << o.text);
        CHECK(o.status == Status::BadReference);
        CHECK_THAT(o.text, Catch::StartsWith("prefixes[1]: " + text + " holds " + says));
        CHECK(o.record == 3);
        CHECK(writer->find_subscriber(9).value == kNoRow);
    }
    void taken(const std::string& text) {
        SubscriberSpec spec = site(9);
        spec.prefixes[1] = text;
        const Outcome o = commit(Txn().put(spec));
        INFO(text << ": " << o.text);
        CHECK(o.ok());
        REQUIRE(commit(Txn().drop_subscriber(9)).ok());
    }
    NextHopIndex hop;
};

}  // namespace

TEST_CASE("a prefix that holds an address, a network or a next hop of the router is refused") {
    OwnFixture f;
    f.refused("192.0.2.0/29", "192.0.2.1, an address of this router");
    f.refused("192.0.2.1/32", "192.0.2.1, an address of this router");
    f.refused("192.0.0.0/16", "192.0.2.1, an address of this router");
    f.refused("192.0.2.248/29", "192.0.2.254, a next hop");
    f.refused("2001:db8:ff::/64", "2001:db8:ff::/64, a network of this router");
    f.refused("2001:db8::/32", "2001:db8:ff::/64, a network of this router");
    f.taken("192.0.2.64/28");       // inside a network, and nothing of the router in it
    f.taken("2001:db8:ff:1::/64");  // beside it
    f.taken("192.0.3.0/24");
}

TEST_CASE("what is no longer the router's own may be a site's") {
    OwnFixture f;
    f.rib->remove(prefix("192.0.2.1/32"), RouteSource::Local);
    f.rib->remove(prefix("2001:db8:ff::/64"), RouteSource::Connected);
    f.rib->remove(prefix("0.0.0.0/0"), RouteSource::Route);
    f.rib->release_next_hop(f.hop);
    f.taken("192.0.2.0/29");
    f.taken("192.0.2.248/29");
    f.taken("2001:db8:ff::/64");
}

TEST_CASE(
    "a prefix that was there before the router's network came stays, with other changes too") {
    OwnFixture f;
    f.rib->insert(prefix("10.0.2.7/32"), RouteSource::Local, Target(TargetKind::Local, 0));
    SubscriberSpec spec = site(2);
    spec.tunnels.pop_back();
    CHECK(f.commit(Txn().put(spec)).ok());
    CHECK(f.lookup("10.0.2.9").kind() == TargetKind::Subscriber);
}

TEST_CASE("what was accepted once is installed by a sync, whatever is the router's own by now") {
    OwnFixture f;
    SubscriberSpec spec = site(9);
    spec.prefixes[1] = "192.0.2.0/29";
    const auto around = [&] {
        State state{};
        f.writer->fill(&state);
        return state.around_own;
    };
    CHECK(f.commit(Txn().put(spec)).status == Status::BadReference);
    CHECK(around() == 0);
    f.writer->sync_begin();
    CHECK(f.commit(sites(1, 2).put(spec)).ok());
    CHECK(f.writer->sync_end(true).ok());
    CHECK(around() == 9);
    // The router's own address wins, and so does what has a longer prefix.
    CHECK(f.lookup("192.0.2.1").kind() == TargetKind::Local);
    CHECK(f.lookup("192.0.2.3").kind() == TargetKind::Subscriber);
    CHECK(f.lookup("192.0.2.9").kind() == TargetKind::Glean);
    f.rib->remove(prefix("192.0.2.1/32"), RouteSource::Local);
    CHECK(around() == 0);
    f.rib->insert(prefix("192.0.2.0/30"), RouteSource::Connected, Target(TargetKind::Glean, 0));
    CHECK(around() == 9);
    f.rib->remove(prefix("192.0.2.0/30"), RouteSource::Connected);
    CHECK(around() == 0);
    const NextHopIndex hop = f.rib->acquire_next_hop(0, address("192.0.2.5"));
    CHECK(around() == 9);
    f.rib->release_next_hop(hop);
    CHECK(around() == 0);
    f.rib->insert(prefix("192.0.2.0/29"), RouteSource::Connected, Target(TargetKind::Glean, 0));
    CHECK(around() == 9);
}

}  // namespace dr::southbound::test
