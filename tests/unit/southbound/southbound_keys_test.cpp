// Keys of tunnels, from the record to the row that liveness reads.
#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
#include <memory>

#include "dataplane/writer/table_writer.h"
#include "tests/unit/southbound/southbound_records.h"

namespace dr::southbound::test {
namespace {

KeyRecord key_record(std::uint32_t tunnel, std::uint8_t number, std::uint8_t previous = 0) {
    KeyRecord key{};
    key.tunnel = tunnel;
    key.number = number;
    key.key.fill(number);
    key.previous_number = previous;
    key.previous.fill(previous);
    return key;
}

// A subscriber whose tunnels on lines a and b are learned, with the keys given.
Body keyed_site(std::vector<KeyRecord> keys, std::uint32_t policy = 1) {
    Body body;
    append(&body, SubscriberRecord{1, policy, 7, 1, static_cast<std::uint16_t>(keys.size())});
    const IpPrefix p = prefix("203.0.113.8/29");
    append(&body, PrefixRecord{p.address.family, p.length, 0, p.address.bytes});
    char line = 'a';
    for (const KeyRecord& key : keys) {
        TunnelRecord tunnel = tunnel_record({std::string(1, line++), key.tunnel});
        tunnel.remote = {};
        tunnel.key_number = key.number;
        tunnel.profile = Profile::Mobile;
        append(&body, tunnel);
    }
    for (const KeyRecord& key : keys) append(&body, key);
    return body;
}

struct World {
    std::string error;
    std::unique_ptr<Tables> tables = Tables::create({16, 64, 64, 16, 64, 64, 32, 64}, &error);
    Rib rib{*tables};
    std::vector<std::uint32_t> changed;
    WriterHooks hooks{{}, [this](std::uint32_t slot) { changed.push_back(slot); }};
    TableWriter writer{*tables, rib, hooks};

    World() {
        const Outcome o = writer.commit(Txn().put(policy(1, {{{"b", 1}}, {{"a", 1}}})), false);
        REQUIRE(o.ok());
    }
    Outcome put(const Body& site) {
        return writer.commit(Txn().add(Type::UpsertSubscriber, site), true);
    }
    TunnelKeys keys(std::uint32_t slot) { return read_tunnel_key(tables->tunnel_keys[slot]); }
    std::uint64_t digest() {
        State state{};
        writer.fill(&state);
        return state.digest[2];
    }
};

}  // namespace

TEST_CASE("a tunnel's keys reach its row, with the line's number in order of appearance") {
    World w;
    REQUIRE(w.put(keyed_site({key_record(0x1000005, 1), key_record(6, 9, 8)})).ok());
    const TunnelKeys a = w.keys(5);
    CHECK(a.tunnel == 0x1000005);
    CHECK(a.number == 1);
    CHECK(a.previous_number == 0);
    CHECK(a.line == 1);  // the policy names b first
    CHECK(a.profile == 2);
    CHECK(a.key[31] == 1);
    const TunnelKeys b = w.keys(6);
    CHECK(b.line == 0);
    CHECK(b.previous_number == 8);
    CHECK(b.previous[0] == 8);
    CHECK(w.changed == std::vector<std::uint32_t>{5, 6});
}

TEST_CASE("a rotation changes the key's row and the digest, and not the tunnel") {
    World w;
    REQUIRE(w.put(keyed_site({key_record(5, 1)})).ok());
    const std::uint64_t digest = w.digest();
    const std::uint32_t row = w.tables->tunnel_of_slot[5].load();
    w.changed.clear();
    REQUIRE(w.put(keyed_site({key_record(5, 2, 1)})).ok());
    CHECK(w.keys(5).number == 2);
    CHECK(w.keys(5).previous[0] == 1);
    CHECK(w.tables->tunnel_of_slot[5].load() == row);
    CHECK(w.digest() != digest);
    CHECK(w.changed == std::vector<std::uint32_t>{5});
}

TEST_CASE("the digest does not depend on the keys themselves") {
    World w;
    KeyRecord key = key_record(5, 1);
    REQUIRE(w.put(keyed_site({key})).ok());
    const std::uint64_t digest = w.digest();
    key.key.fill(0x5a);
    REQUIRE(w.put(keyed_site({key})).ok());
    CHECK(w.keys(5).key[0] == 0x5a);
    CHECK(w.digest() == digest);
}

TEST_CASE("a tunnel that goes takes its keys along") {
    World w;
    REQUIRE(w.put(keyed_site({key_record(5, 1), key_record(6, 1)})).ok());
    REQUIRE(w.put(keyed_site({key_record(5, 1)})).ok());
    CHECK(w.keys(5).number == 1);
    CHECK(w.keys(6) == TunnelKeys{});
    REQUIRE(w.writer.commit(Txn().drop_subscriber(1), true).ok());
    CHECK(w.keys(5) == TunnelKeys{});
}

TEST_CASE("a policy that names its lines in another order renumbers them for keepalives") {
    World w;
    REQUIRE(w.put(keyed_site({key_record(5, 1)})).ok());
    REQUIRE(w.keys(5).line == 1);
    REQUIRE(w.writer.commit(Txn().put(policy(1, {{{"a", 1}}, {{"b", 1}}})), false).ok());
    CHECK(w.keys(5).line == 0);
}

TEST_CASE("a learned tunnel has no next hop, whatever the routes") {
    World w;
    REQUIRE(w.put(keyed_site({key_record(5, 1)})).ok());
    const TunnelRow& row = w.tables->tunnels[w.tables->tunnel_of_slot[5].load()];
    CHECK((row.flags & TunnelRow::kDisabled) != 0);
    CHECK(row.next_hop.load() == 0);
}

TEST_CASE("keys that do not fit their tunnels are refused and change nothing") {
    World w;
    const auto refused = [&](const Body& body) {
        const Outcome o = w.put(body);
        CHECK(o.status == Status::Malformed);
        CHECK(w.keys(5) == TunnelKeys{});
        return o.text;
    };
    KeyRecord zero = key_record(5, 1);
    zero.key = {};
    CHECK_THAT(refused(keyed_site({zero})), Catch::Contains("is zero"));
    KeyRecord half = key_record(5, 2, 1);
    half.previous = {};
    CHECK_THAT(refused(keyed_site({half})), Catch::Contains("belong together"));
    KeyRecord same = key_record(5, 2, 2);
    CHECK_THAT(refused(keyed_site({same})), Catch::Contains("belong together"));

    Body other = keyed_site({key_record(5, 1)});
    other[other.size() - sizeof(KeyRecord)] ^= 1U;  // the key's tunnel
    CHECK_THAT(refused(other), Catch::Contains("of tunnel 4, must be number 1 of tunnel 5"));
    Body cut = keyed_site({key_record(5, 1)});
    cut.pop_back();
    CHECK_THAT(refused(cut), Catch::Contains("bytes, must be"));

    TunnelSpec keyless{"a", 5};
    Body body = encode(SubscriberSpec{1, {"203.0.113.8/29"}, {keyless}});
    const std::size_t remote = body.size() - 32 - 16;
    std::fill_n(body.begin() + static_cast<std::ptrdiff_t>(remote), 16, std::uint8_t{0});
    CHECK_THAT(refused(body), Catch::Contains("no remote address and no key"));
}

TEST_CASE("more tunnels with keys than there is room for are refused, and changing one is not") {
    World w;
    w.writer.limit_keyed_tunnels(2);
    REQUIRE(w.put(keyed_site({key_record(5, 1), key_record(6, 1)})).ok());
    const Outcome full = w.put(keyed_site({key_record(5, 1), key_record(6, 1), key_record(7, 1)}));
    CHECK(full.status == Status::Full);
    CHECK_THAT(full.text, Catch::Contains("liveness.tunnels"));
    CHECK(w.put(keyed_site({key_record(5, 2, 1), key_record(6, 2, 1)})).ok());
    CHECK(w.put(keyed_site({key_record(5, 2)})).ok());
    CHECK(w.put(keyed_site({key_record(5, 2), key_record(7, 1)})).ok());
}

TEST_CASE("a policy that changes while a site is moved leaves the next site its map") {
    World w;
    std::vector<LiveSubscriber> told;
    w.hooks.keyed_subscriber_changed = [&](LiveSubscriber s) { told.push_back(std::move(s)); };
    TableWriter writer{*w.tables, w.rib, w.hooks};
    REQUIRE(writer.commit(Txn().put(policy(1, {{{"a", 1}, {"b", 1}}})), false).ok());
    // Two sites with the same lines share a map. The first moves when the policy changes.
    const auto site = [](std::uint32_t id, const std::string& prefix_text, std::uint32_t first) {
        Body body = keyed_site({key_record(first, 1), key_record(first + 1, 1)});
        SubscriberRecord record;
        std::memcpy(&record, body.data(), sizeof record);
        record.id = id;
        std::memcpy(body.data(), &record, sizeof record);
        const IpPrefix p = prefix(prefix_text);
        const PrefixRecord held{p.address.family, p.length, 0, p.address.bytes};
        std::memcpy(body.data() + sizeof record, &held, sizeof held);
        return body;
    };
    REQUIRE(
        writer.commit(Txn().add(Type::UpsertSubscriber, site(1, "203.0.113.8/29", 5)), true).ok());
    REQUIRE(
        writer.commit(Txn().add(Type::UpsertSubscriber, site(2, "203.0.113.16/29", 7)), true).ok());
    REQUIRE(told.size() == 2);
    const auto choose = [&](const LiveSubscriber& s, bool moving) {
        ChoiceRequest request{};
        request.index = s.index;
        request.incarnation = s.incarnation;
        request.choice.eligible[0] = 3;
        request.choice.previous[0] = 1;
        request.choice.moving = moving;
        writer.serve({}, std::array{request});
    };
    choose(told[0], true);
    choose(told[1], false);
    const auto map_of = [&](std::uint32_t id) {
        const std::uint32_t index = writer.find_subscriber(id).value;
        return w.tables->subscribers[index].map.load() & SubscriberRow::kMapMask;
    };
    REQUIRE(map_of(1) != map_of(2));
    REQUIRE(writer.commit(Txn().put(policy(1, {{{"a", 3}, {"b", 1}}})), false).ok());
    REQUIRE(map_of(2) != 0);
    const BucketMap& map = w.tables->maps[map_of(2)];
    CHECK(std::count(map.line.begin(), map.line.end(), 0) == 192);
    CHECK(std::count(map.line.begin(), map.line.end(), 1) == 64);
}

}  // namespace dr::southbound::test
