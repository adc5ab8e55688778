// Mark and sweep, and what needs force.
#include <catch2/catch.hpp>

#include "tests/unit/southbound/southbound_writer_fixture.h"

namespace dr::southbound::test {

TEST_CASE("a commit that drops more than half of ten subscribers, or all, needs force") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 10)).ok());
    Txn five;
    for (std::uint32_t id = 1; id <= 5; ++id) five.drop_subscriber(id);
    Txn six = five;
    six.drop_subscriber(6);
    CHECK(f.commit(six).status == Status::NeedsForce);
    CHECK(f.state().rows[static_cast<std::size_t>(Table::Subscribers)] == 10);
    CHECK(f.commit(five).ok());
    Txn rest;
    for (std::uint32_t id = 6; id <= 10; ++id) rest.drop_subscriber(id);
    CHECK(f.commit(rest).status == Status::NeedsForce);
    CHECK(f.commit(rest, true).ok());
}

TEST_CASE("the end of a sync deletes what was not upserted since its beginning") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 6).put(PoolSpec{1, "10.0.0.0/8"}).put(policy(7, {kBoth}))).ok());
    f.writer->sync_begin();
    REQUIRE(f.commit(sites(1, 2)).ok());
    REQUIRE(f.commit(Txn().put(site(3)).put(site(9))).ok());
    CHECK(f.lookup("10.0.5.1").kind() == TargetKind::Subscriber);
    CHECK_FALSE(f.writer->synced());
    REQUIRE(f.writer->sync_end(false).ok());
    CHECK(f.writer->synced());
    CHECK(f.lookup("10.0.5.1").kind() == TargetKind::None);
    CHECK(f.lookup("10.0.3.1").kind() == TargetKind::Subscriber);
    const auto rows = f.writer->rows();
    CHECK(rows[0] == 0);
    CHECK(rows[1] == 1);
    CHECK(rows[2] == 4);
    CHECK(f.writer->sync_end(false).status == Status::BadSequence);
}

TEST_CASE("a sync that is cut off sweeps nothing, and the next one starts afresh") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 4)).ok());
    f.writer->sync_begin();
    REQUIRE(f.commit(Txn().put(site(1))).ok());
    f.writer->sync_abort();
    CHECK(f.writer->rows()[2] == 4);
    f.writer->sync_begin();
    REQUIRE(f.commit(sites(2, 4)).ok());
    REQUIRE(f.writer->sync_end(false).ok());
    CHECK(f.writer->rows()[2] == 3);
    CHECK(f.writer->find_subscriber(1).value == 0);
}

TEST_CASE("an empty sync needs force, and goes on after the refusal") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 4)).ok());
    f.writer->sync_begin();
    CHECK(f.writer->sync_end(false).status == Status::NeedsForce);
    CHECK(f.writer->syncing());
    CHECK(f.writer->rows()[2] == 4);
    CHECK(f.writer->sync_end(true).ok());
    CHECK(f.writer->rows()[2] == 0);
    CHECK(f.writer->rows()[1] == 0);
}

TEST_CASE("a sync that takes most pools, policies or tunnels away needs force") {
    Fixture f;
    Txn txn = sites(1, 12);
    for (std::uint32_t id = 1; id <= 12; ++id) {
        txn.put(PoolSpec{id, "10.0." + std::to_string(id) + ".0/24"});
        txn.put(policy(100 + id, {kBoth}));
    }
    REQUIRE(f.commit(txn).ok());
    f.writer->sync_begin();
    Outcome outcome;
    SECTION("pools") {
        for (std::uint32_t id = 101; id <= 112; ++id)
            REQUIRE(f.commit(Txn().put(policy(id, {kBoth}))).ok());
        REQUIRE(f.commit(sites(1, 12).put(PoolSpec{1, "10.0.1.0/24"})).ok());
        outcome = f.writer->sync_end(false);
        CHECK(f.writer->rows()[0] == 12);
    }
    SECTION("policies") {
        for (std::uint32_t id = 1; id <= 12; ++id)
            REQUIRE(f.commit(Txn().put(PoolSpec{id, "10.0." + std::to_string(id) + ".0/24"})).ok());
        REQUIRE(f.commit(sites(1, 12)).ok());
        outcome = f.writer->sync_end(false);
        CHECK(f.writer->rows()[1] == 13);
    }
    SECTION("tunnels, in however many transactions") {
        for (std::uint32_t id = 1; id <= 6; ++id) {
            SubscriberSpec bare = site(id);
            bare.tunnels.clear();
            REQUIRE(f.commit(Txn().put(bare)).ok());
        }
        SubscriberSpec bare = site(7);
        bare.tunnels.pop_back();
        outcome = f.commit(Txn().put(bare));
        CHECK(f.writer->rows()[3] == 12);
        CHECK(f.commit(Txn().put(bare), true).ok());
        CHECK(f.commit(sites(8, 12)).ok());
    }
    CHECK(outcome.status == Status::NeedsForce);
    CHECK(f.writer->sync_end(true).ok());
}

TEST_CASE("a store that numbers other subscribers alike needs force to replace them") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 12)).ok());
    const auto other = [](std::uint32_t id) {
        SubscriberSpec spec = site(id);
        spec.prefixes = {"10.9." + std::to_string(id) + ".0/24"};
        return Txn().put(spec);
    };
    f.writer->sync_begin();
    REQUIRE(f.commit(Txn().put(policy(1, {kBoth}))).ok());
    for (std::uint32_t id = 1; id <= 6; ++id) REQUIRE(f.commit(other(id)).ok());
    CHECK(f.commit(other(7)).status == Status::NeedsForce);
    CHECK(f.lookup("10.0.7.1").kind() == TargetKind::Subscriber);
    // What stays as it is costs nothing, and force passes.
    REQUIRE(f.commit(sites(8, 12)).ok());
    CHECK(f.commit(other(7), true).ok());
    CHECK(f.writer->sync_end(false).ok());
    for (std::uint32_t id = 8; id <= 12; ++id) CHECK(f.commit(other(id)).ok());
}

TEST_CASE("deletions of a sync add up, also over syncs that came to no end") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 20)).ok());
    f.writer->sync_begin();
    for (std::uint32_t id = 1; id <= 5; ++id) REQUIRE(f.commit(Txn().drop_subscriber(id)).ok());
    f.writer->sync_abort();
    f.writer->sync_begin();
    for (std::uint32_t id = 6; id <= 10; ++id) REQUIRE(f.commit(Txn().drop_subscriber(id)).ok());
    CHECK(f.commit(Txn().drop_subscriber(11)).status == Status::NeedsForce);
    CHECK(f.writer->rows()[2] == 10);
    REQUIRE(f.commit(sites(11, 20)).ok());
    CHECK(f.writer->sync_end(false).ok());
    f.writer->sync_begin();
    CHECK(f.commit(Txn().drop_subscriber(11)).ok());
}

TEST_CASE("after a forced deletion, a sync that takes nothing more away comes to its end") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 12)).ok());
    f.writer->sync_begin();
    for (std::uint32_t id = 1; id <= 6; ++id) REQUIRE(f.commit(Txn().drop_subscriber(id)).ok());
    CHECK(f.commit(Txn().drop_subscriber(7), true).ok());
    CHECK(f.commit(sites(8, 12)).ok());
    CHECK(f.writer->sync_end(false).ok());
}

TEST_CASE("outside a sync an update may take tunnels, pools and policies away without force") {
    Fixture f;
    Txn txn = sites(1, 12);
    for (std::uint32_t id = 1; id <= 12; ++id)
        txn.put(PoolSpec{id, "10.1." + std::to_string(id) + ".0/24"});
    REQUIRE(f.commit(txn).ok());
    Txn bare;
    for (std::uint32_t id = 1; id <= 12; ++id) {
        SubscriberSpec spec = site(id);
        spec.tunnels.clear();
        bare.put(spec);
        bare.drop_pool(id);
    }
    CHECK(f.commit(bare).ok());
    CHECK(f.writer->rows()[0] == 0);
    CHECK(f.writer->rows()[3] == 0);
}

}  // namespace dr::southbound::test
