#include <catch2/catch.hpp>

#include "dataplane/writer/tunnel_row.h"
#include "tests/unit/southbound/southbound_writer_fixture.h"

namespace dr::southbound::test {

TEST_CASE(
    "a subscriber's prefixes lead to its row, and its map's buckets to its tunnels by weight") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 3)).ok());
    const std::uint32_t index = f.writer->find_subscriber(2).value;
    CHECK(f.lookup("10.0.2.9") == Target(TargetKind::Subscriber, index));
    CHECK(f.lookup("2001:db8:2:5::1") == Target(TargetKind::Subscriber, index));
    CHECK(f.lookup("10.0.4.1").kind() == TargetKind::None);

    const auto a = static_cast<unsigned>(f.writer->line_number(1, "a"));
    unsigned to_a = 0;
    for (const std::uint8_t line : f.tables->maps[f.subscriber(2).map.load()].line)
        to_a += line == a ? 1U : 0U;
    CHECK(to_a == 192);
    CHECK(tunnel_id(f.tables->tunnels[f.tables->tunnel_for(index, a)]).value == 4);
    CHECK(f.writer->epoch() == 1);
}

TEST_CASE("an identical record changes no row") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 3)).ok());
    const std::uint32_t row = f.row_of(4);
    const std::uint32_t map = f.subscriber(2).map.load();
    const State before = f.state();
    REQUIRE(f.commit(sites(1, 3)).ok());
    CHECK(f.row_of(4) == row);
    CHECK(f.subscriber(2).map.load() == map);
    CHECK(f.state().digest == before.digest);
    CHECK(f.state().rows == before.rows);
    CHECK(f.writer->epoch() == 2);
}

TEST_CASE("only the tunnel that differs gets a new row, and the old one outlives its readers") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 1)).ok());
    f.tables->qsbr.online(0);
    const std::uint32_t old_a = f.row_of(2);
    const std::uint32_t old_b = f.row_of(3);
    SubscriberSpec changed = site(1);
    changed.tunnels[0].remote = "198.51.100.99";
    REQUIRE(f.commit(Txn().put(changed)).ok());
    CHECK(f.row_of(2) != old_a);
    CHECK(f.row_of(3) == old_b);
    // The reader has announced nothing: its row must not be given to another tunnel.
    for (std::uint32_t id = 10; id < 20; ++id) REQUIRE(f.commit(Txn().put(site(id))).ok());
    CHECK(remote_address(f.tables->tunnels[old_a]) == address("198.51.100.7"));
    f.tables->qsbr.quiescent(0);
    f.writer->reclaim();
    REQUIRE(f.commit(Txn().put(site(30))).ok());
    CHECK((f.row_of(60) == old_a || f.row_of(61) == old_a));
    f.tables->qsbr.offline(0);
}

TEST_CASE("subscribers with the same policy and the same lines share one map") {
    Fixture f;
    SubscriberSpec only_a = site(9);
    only_a.tunnels.pop_back();
    REQUIRE(f.commit(sites(1, 5).put(only_a)).ok());
    CHECK(f.subscriber(1).map.load() == f.subscriber(5).map.load());
    CHECK(f.subscriber(1).map.load() != f.subscriber(9).map.load());
    CHECK(f.state().rows[static_cast<std::size_t>(Table::Maps)] == 2);
    REQUIRE(f.commit(Txn().drop_subscriber(9)).ok());
    f.writer->reclaim();
    CHECK(f.state().rows[static_cast<std::size_t>(Table::Maps)] == 1);
}

TEST_CASE("the classes of a policy have consecutive maps") {
    Fixture f;
    const PolicySpec two{1, {{{{"a", 1}}, {{"b", 1}}}, {{{"b", 1}}, {{"a", 1}}}}};
    REQUIRE(f.commit(Txn().put(two).put(site(1))).ok());
    const std::uint32_t map = f.subscriber(1).map.load();
    const auto a = f.writer->line_number(1, "a");
    const auto b = f.writer->line_number(1, "b");
    CHECK(f.tables->maps[map].line[0] == a);
    CHECK(f.tables->maps[map + 1].line[0] == b);
}

TEST_CASE("a line keeps its number while the policy names it") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 2)).ok());
    const int b = f.writer->line_number(1, "b");
    PolicySpec changed = policy(1, {{{"c", 1}, {"b", 2}}});
    changed.numbers = {{"c", 2}, {"b", 1}};
    REQUIRE(f.commit(Txn().put(changed)).ok());
    CHECK(f.writer->line_number(1, "b") == b);
    CHECK(f.writer->line_number(1, "a") == -1);
    for (const std::uint8_t line : f.tables->maps[f.subscriber(1).map.load()].line)
        CHECK(line == b);
}

TEST_CASE("a line has the number that its record says") {
    Fixture f;
    PolicySpec numbered = policy(1, {kBoth});
    numbered.numbers = {{"a", 14}, {"b", 3}};
    REQUIRE(f.commit(Txn().put(numbered).put(site(1))).ok());
    CHECK(f.writer->line_number(1, "a") == 14);
    CHECK(f.writer->line_number(1, "b") == 3);
    const std::uint32_t index = f.writer->find_subscriber(1).value;
    CHECK(f.tables->tunnel_for(index, 14) == f.row_of(2));
    CHECK(f.tables->tunnel_for(index, 3) == f.row_of(3));
}

TEST_CASE("until the grace period is over the slot of a line that left keeps its tunnel") {
    Fixture f;
    f.tables->qsbr.online(0);
    const auto numbered = [](std::vector<TierSpec> tiers) {
        PolicySpec spec = policy(1, std::move(tiers));
        spec.numbers = {{"a", 0}, {"b", 1}, {"c", 0}};
        return spec;
    };
    REQUIRE(f.commit(Txn().put(numbered({kBoth})).put(site(1))).ok());
    const std::uint32_t index = f.writer->find_subscriber(1).value;
    const std::uint32_t of_a = f.row_of(2);
    SECTION("when the number is free") {
        REQUIRE(f.commit(Txn().put(numbered({{{"b", 1}}}))).ok());
        CHECK(f.tables->tunnel_for(index, 0) == of_a);
    }
    SECTION("when another line has the number, on which the subscriber has no tunnel") {
        REQUIRE(f.commit(Txn().put(numbered({{{"b", 1}}, {{"c", 1}}}))).ok());
        CHECK(f.tables->tunnel_for(index, 0) == of_a);
    }
    f.tables->qsbr.quiescent(0);
    f.writer->reclaim();
    CHECK(f.tables->tunnel_for(index, 0) == kNoRow);
    f.tables->qsbr.offline(0);
}

TEST_CASE("a number that means another line at once leads to a tunnel of the same subscriber") {
    Fixture f;
    f.tables->qsbr.online(0);
    PolicySpec numbered = policy(1, {kBoth});
    numbered.numbers = {{"a", 0}, {"b", 1}};
    REQUIRE(f.commit(Txn().put(numbered).put(site(1))).ok());
    const std::uint32_t index = f.writer->find_subscriber(1).value;
    numbered.numbers = {{"a", 1}, {"b", 0}};
    REQUIRE(f.commit(Txn().put(numbered)).ok());
    CHECK(f.tables->tunnel_for(index, 1) == f.row_of(2));
    CHECK(f.tables->tunnel_for(index, 0) == f.row_of(3));
    SubscriberSpec only_c = site(1);
    only_c.tunnels = {{"c", 2}};
    PolicySpec reused = policy(1, {{{"c", 1}}});
    reused.numbers = {{"c", 1}};
    REQUIRE(f.commit(Txn().put(reused).put(only_c)).ok());
    CHECK(f.tables->tunnel_for(index, 1) == f.row_of(2));
    CHECK(f.tables->tunnel_for(index, 0) != kNoRow);
    f.tables->qsbr.quiescent(0);
    f.writer->reclaim();
    CHECK(f.tables->tunnel_for(index, 0) == kNoRow);
    f.tables->qsbr.offline(0);
}

TEST_CASE("all sixteen lines of a policy can be replaced at once") {
    Fixture f;
    f.tables->qsbr.online(0);
    TierSpec old_lines;
    TierSpec new_lines;
    SubscriberSpec spec{1, {"10.0.1.0/24"}, {}};
    for (std::uint32_t i = 0; i < 16; ++i) {
        old_lines.emplace_back("old" + std::to_string(i), std::uint8_t{1});
        new_lines.emplace_back("new" + std::to_string(i), std::uint8_t{1});
        spec.tunnels.push_back({"old" + std::to_string(i), i + 1});
    }
    REQUIRE(f.commit(Txn().put(policy(1, {old_lines})).put(spec)).ok());
    for (auto& tunnel : spec.tunnels) tunnel.line.replace(0, 3, "new");
    REQUIRE(f.commit(Txn().put(policy(1, {new_lines})).put(spec)).ok());
    const std::uint32_t index = f.writer->find_subscriber(1).value;
    for (const std::uint8_t line : f.tables->maps[f.subscriber(1).map.load()].line)
        REQUIRE(f.tables->tunnel_for(index, line) != kNoRow);
    f.tables->qsbr.offline(0);
}

TEST_CASE("a tunnel on a line that the policy does not name is installed for uplink only") {
    Fixture f;
    SubscriberSpec spec = site(1);
    spec.tunnels[1].line = "x";
    REQUIRE(f.commit(Txn().put(policy(1, {kBoth})).put(spec)).ok());
    CHECK(f.row_of(3) != kNoRow);
    REQUIRE(f.commit(Txn().put(policy(1, {{{"x", 1}}}))).ok());
    const auto x = static_cast<unsigned>(f.writer->line_number(1, "x"));
    CHECK(f.tables->tunnel_for(f.writer->find_subscriber(1).value, x) == f.row_of(3));
}

TEST_CASE("a deleted subscriber leaves the lookup at once and its row after the grace period") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 3)).ok());
    f.tables->qsbr.online(0);
    const std::uint32_t index = f.writer->find_subscriber(2).value;
    REQUIRE(f.commit(Txn().drop_subscriber(2)).ok());
    CHECK(f.lookup("10.0.2.1").kind() == TargetKind::None);
    CHECK(f.row_of(4) == kNoRow);
    CHECK(f.tables->subscribers[index].map.load() != kNoRow);
    CHECK(f.tables->tunnel_for(index, 0) != kNoRow);
    CHECK(f.zeroed.empty());
    f.tables->qsbr.quiescent(0);
    f.writer->reclaim();
    CHECK(f.tables->subscribers[index].map.load() == kNoRow);
    CHECK(f.tables->tunnel_for(index, 0) == kNoRow);
    CHECK(f.zeroed == std::multiset<std::uint32_t>{4, 5});
    f.tables->qsbr.offline(0);
}

TEST_CASE("prefixes and tunnel ids can change hands within one transaction, in any order") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 2)).ok());
    SubscriberSpec one = site(1);
    SubscriberSpec two = site(2);
    std::swap(one.prefixes, two.prefixes);
    std::swap(one.tunnels, two.tunnels);
    REQUIRE(f.commit(Txn().put(one).put(two)).ok());
    CHECK(f.lookup("10.0.2.1").index() == f.writer->find_subscriber(1).value);
    CHECK(f.lookup("10.0.1.1").index() == f.writer->find_subscriber(2).value);
    CHECK(f.tables->tunnels[f.row_of(4)].subscriber == f.writer->find_subscriber(1).value);
    REQUIRE(f.commit(Txn().drop_subscriber(1).put(site(2)).put(site(3))).ok());
    CHECK(f.lookup("2001:db8:1::1").kind() == TargetKind::None);
    CHECK(f.tables->tunnels[f.row_of(4)].subscriber == f.writer->find_subscriber(2).value);
}

TEST_CASE(
    "a map whose last subscriber leaves it is kept for the one that comes in the same commit") {
    Fixture f;
    SubscriberSpec one = site(1);
    SubscriberSpec two = site(2);
    one.tunnels.pop_back();
    REQUIRE(f.commit(Txn().put(policy(1, {kBoth})).put(one).put(two)).ok());
    SubscriberSpec three = two;
    three.tunnels.pop_back();
    REQUIRE(f.commit(Txn().put(site(1)).put(three)).ok());
    const std::uint32_t both = f.subscriber(1).map.load();
    const std::uint32_t only = f.subscriber(2).map.load();
    CHECK(both != only);
    f.writer->reclaim();
    REQUIRE(f.commit(Txn().put(policy(2, {{{"q", 1}}})).put(site(5))).ok());
    CHECK(f.subscriber(5).map.load() == both);
}

TEST_CASE("a refused transaction names the record, says why, and changes nothing") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 3).put(PoolSpec{1, "10.0.0.0/8"})).ok());
    const State before = f.state();
    Txn txn;
    Status expected{};
    std::uint32_t record = 1;
    SubscriberSpec bad = site(9);
    txn.put(site(8));
    SECTION("a prefix of another subscriber") {
        bad.prefixes[0] = "10.0.1.0/24";
        txn.put(bad);
        expected = Status::Conflict;
    }
    SECTION("a tunnel index of another subscriber, whatever its generation") {
        bad.tunnels[0].id = 0x07000002;
        txn.put(bad);
        expected = Status::Conflict;
    }
    SECTION("a prefix claimed twice in the transaction") {
        bad.prefixes[0] = "10.0.8.0/24";
        txn.put(bad);
        expected = Status::Conflict;
    }
    SECTION("an unknown policy") {
        bad.policy = 2;
        txn.put(bad);
        expected = Status::BadReference;
    }
    SECTION("a policy that is still used") {
        txn = Txn().drop_policy(1);
        record = 0;
        expected = Status::BadReference;
    }
    SECTION("a policy deleted beside a new subscriber that wants it") {
        txn.drop_subscriber(1).drop_subscriber(2).drop_policy(1);
        record = 0;
        expected = Status::BadReference;
    }
    SECTION("a tunnel index beyond the capacity") {
        bad.tunnels[0].id = 256;
        txn.put(bad);
        expected = Status::Full;
    }
    SECTION("a pool that another pool is already") {
        txn.put(PoolSpec{2, "10.0.0.0/8"});
        expected = Status::Conflict;
    }
    SECTION("a malformed record behind good ones") {
        txn.add(Type::UpsertSubscriber, Body(15));
        expected = Status::Malformed;
    }
    SECTION("too many subscribers") {
        for (std::uint32_t id = 20; id < 90; ++id) txn.put(site(id));
        record = 0;
        expected = Status::Full;
    }
    const Outcome outcome = f.commit(txn);
    CHECK(outcome.status == expected);
    CHECK(outcome.record == record);
    CHECK_FALSE(outcome.text.empty());
    const State after = f.state();
    CHECK(after.digest == before.digest);
    CHECK(after.rows == before.rows);
    CHECK(after.epoch == before.epoch);
    CHECK(f.lookup("10.0.8.1").kind() == TargetKind::Pool);
    REQUIRE(f.commit(Txn().put(site(8))).ok());
}

TEST_CASE("the counters of a slot are zeroed when the grace period of its old tunnel is over") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 3)).ok());
    f.tables->qsbr.online(0);
    SECTION("its subscriber is deleted and the slot is given out again at once") {
        REQUIRE(f.commit(Txn().drop_subscriber(2)).ok());
        REQUIRE(f.commit(Txn().put(site(2))).ok());
    }
    SECTION("another subscriber takes the slots over in one transaction") {
        SubscriberSpec heir = site(9);
        heir.tunnels = site(2).tunnels;
        REQUIRE(f.commit(Txn().put(heir).drop_subscriber(2)).ok());
    }
    SECTION("the tunnels get another generation") {
        SubscriberSpec next = site(2);
        for (TunnelSpec& tunnel : next.tunnels) tunnel.id |= 1U << 24;
        REQUIRE(f.commit(Txn().put(next)).ok());
    }
    CHECK(f.zeroed.empty());
    f.tables->qsbr.quiescent(0);
    f.writer->reclaim();
    CHECK(std::set<std::uint32_t>(f.zeroed.begin(), f.zeroed.end()) ==
          std::set<std::uint32_t>{4, 5});
    f.tables->qsbr.offline(0);
}

TEST_CASE("tunnels get the next hop of their remote address, and follow when routes change") {
    Fixture f;
    REQUIRE(f.commit(sites(1, 20)).ok());
    const auto next_hop = [&](std::uint32_t slot) {
        return f.tables->tunnels[f.row_of(slot)].next_hop.load();
    };
    CHECK(next_hop(4) == 0);
    const NextHopIndex gateway = f.rib->acquire_next_hop(0, address("192.0.2.254"));
    REQUIRE(f.rib->insert(prefix("198.51.100.0/24"), RouteSource::Route,
                          Target(TargetKind::NextHop, gateway.value)));
    unsigned slices = 1;
    while (!f.writer->refresh(8)) ++slices;
    CHECK(slices > 2);
    for (std::uint32_t slot = 2; slot < 42; ++slot) REQUIRE(next_hop(slot) == gateway.value);
    REQUIRE(f.commit(Txn().put(site(30))).ok());
    CHECK(next_hop(60) == gateway.value);
    f.rib->remove(prefix("198.51.100.0/24"), RouteSource::Route);
    while (!f.writer->refresh(8)) continue;
    CHECK(next_hop(4) == 0);
}

TEST_CASE("the local addresses of tunnels are known, each once") {
    Fixture f;
    SubscriberSpec v6 = site(2);
    v6.tunnels[0].local = "2001:db8:ff::1";
    v6.tunnels[0].remote = "2001:db8:b::7";
    REQUIRE(f.commit(sites(1, 1).put(v6)).ok());
    CHECK(f.writer->local_addresses().size() == 2);
    const auto generation = f.writer->local_addresses_generation();
    REQUIRE(f.commit(Txn().put(site(3))).ok());
    CHECK(f.writer->local_addresses_generation() == generation);
    REQUIRE(f.commit(Txn().drop_subscriber(2)).ok());
    CHECK(f.writer->local_addresses().size() == 1);
    CHECK(f.writer->local_addresses_generation() > generation);
}

TEST_CASE(
    "a full map table refuses a new set of lines, and has room again after the grace period") {
    Capacity capacity = small();
    capacity.maps = 1;
    Fixture f(capacity);
    // The table has room beside its capacity; fill it with policies of eight classes.
    std::vector<std::vector<TierSpec>> eight(8, {{{"a", 1}}});
    Outcome outcome;
    std::uint32_t id = 0;
    while (outcome.ok() && id < 60) {
        ++id;
        SubscriberSpec spec = site(id);
        spec.policy = id;
        outcome = f.commit(Txn().put(PolicySpec{id, eight}).put(spec));
    }
    CHECK(outcome.status == Status::Full);
    CHECK_THAT(outcome.text, Catch::Contains("maps"));
    const std::uint32_t kept = f.writer->rows()[2];
    CHECK(kept == id - 1);
    REQUIRE(f.commit(Txn().drop_subscriber(1).drop_policy(1)).ok());
    SubscriberSpec spec = site(id);
    spec.policy = id;
    CHECK(f.commit(Txn().put(PolicySpec{id, eight}).put(spec)).ok());
}

TEST_CASE("the memory of every table is reported, and grows with the rows in use") {
    Fixture f;
    const auto named = [&](const std::string& name) {
        const State state = f.state();
        for (const Memory& memory : std::span(state.memory).first(state.memories))
            if (name == memory.name.data()) return memory;
        FAIL("no memory named " << name);
        return Memory{};
    };
    REQUIRE(f.commit(sites(1, 3)).ok());
    const std::uint64_t records = named("writer.records").bytes;
    REQUIRE(f.commit(sites(4, 13)).ok());
    CHECK(named("subscribers").bytes == 14 * sizeof(SubscriberRow));
    CHECK(named("subscribers").rows == 13);
    CHECK(named("subscribers").capacity_rows == 64);
    CHECK(named("tunnels").rows == 26);
    CHECK(named("tunnels").bytes == 27 * sizeof(TunnelRow));
    CHECK(named("tunnels").capacity_bytes >= 256 * sizeof(TunnelRow));
    CHECK(named("lookup4.root").bytes == std::uint64_t{4} << 24);
    // For 2001:db8::/32, of which the root takes 24 bits, and for what follows within it.
    CHECK(named("lookup6.groups").bytes == 3 * 1024);
    CHECK(named("writer.lookup6").rows == 13);
    CHECK(named("writer.records").bytes > records);
    CHECK(named("writer.keys").capacity_bytes == 0);
    REQUIRE(f.commit(Txn().drop_subscriber(13)).ok());
    CHECK(named("subscribers").rows == 12);
    CHECK(named("subscribers").bytes == 14 * sizeof(SubscriberRow));
}

}  // namespace dr::southbound::test
