// Keepalives through the real worker, liveness shard and table writer, to a UR's engine and back.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/unit/keepalive/keepalive_world.h"

namespace dr::keepalive::test {

using liveness::kMillisecond;
using liveness::kSecond;
using liveness::State;

namespace {

constexpr std::uint32_t kA = 0x01000008;
constexpr std::uint32_t kB = 0x01000009;
const std::vector<southbound::test::TierSpec> kFirstAThenB{{{"a", 1}}, {{"b", 1}}};

Site one_line(const std::string& remote) {
    Site site;
    site.lines = {{.name = "a", .id = kA, .remote = remote}};
    return site;
}
Site two_lines(const std::string& remote_a, const std::string& remote_b) {
    Site site = one_line(remote_a);
    site.lines.push_back({.name = "b", .id = kB, .remote = remote_b});
    return site;
}

// Where a packet to the site goes: the outer destination; not known(): nowhere.
Endpoint way_down(World& w) {
    const std::vector<Bytes> out = w.exchange(World::downlink());
    if (out.size() != 1) return {};
    Endpoint to{4, 0, {}};
    std::memcpy(to.address.data(), out[0].data() + 16, 4);
    if (out[0][9] == wire::kProtoUdp)
        to.port = static_cast<std::uint16_t>(out[0][22] << 8 | out[0][23]);
    return to;
}

// The site's line that a flow to it takes; 99: none.
unsigned way_of(World& w, const Ur& ur, unsigned flow) {
    const std::vector<Bytes> out = w.exchange(World::downlink(flow));
    Endpoint to{4, wire::kGreUdpPort, {}};
    if (out.size() == 1) std::memcpy(to.address.data(), out[0].data() + 16, 4);
    const auto at = std::find(ur.from.begin(), ur.from.end(), to);
    return at == ur.from.end() ? 99 : static_cast<unsigned>(at - ur.from.begin());
}

bool moving(const World& w) {
    const std::uint32_t index = w.writer->find_subscriber(1).value;
    return (w.tables->subscribers[index].map.load() & SubscriberRow::kMoving) != 0;
}

bool up(World& w, const Ur& ur, unsigned line) {
    return w.live(ur.ids[line]).state == static_cast<std::uint8_t>(State::Up) &&
           ur.state(line) == State::Up;
}

}  // namespace

TEST_CASE("a tunnel with a key carries nothing until keepalives have passed, and then it does") {
    World w;
    const Site site = one_line("198.51.100.2");
    w.provision(site, {{{"a", 1}}});
    w.run(10 * kMillisecond);
    CHECK_FALSE(way_down(w).known());
    CHECK(w.exit(Exit::DropNoTunnel) == 1);
    const Ur& ur = w.add_ur(site);
    REQUIRE(w.run_until([&] { return up(w, ur, 0); }, kSecond));
    w.run(5 * kMillisecond);
    CHECK(way_down(w) == endpoint("198.51.100.2", 4754));
    CHECK(w.exit(Exit::Keepalive) > 2);
    CHECK(w.exit(Exit::DropKeepalive) == 0);
}

TEST_CASE("an endpoint that is learned from keepalives takes data, and data is taken from it") {
    World w;
    const Site site = one_line("0.0.0.0");
    w.provision(site, {{{"a", 1}}});
    Ur& ur = w.add_ur(site);
    ur.from[0] = endpoint("198.51.100.77", 31007);  // behind a NAT
    REQUIRE(w.run_until([&] { return up(w, ur, 0); }, kSecond));
    w.run(5 * kMillisecond);
    CHECK(way_down(w) == endpoint("198.51.100.77", 31007));
    const Endpoint dr = endpoint("192.0.2.1", 4754);
    CHECK(w.exchange(World::outer(ur.from[0], dr, kA, wire::kEtherIpv4, World::uplink())).size() ==
          1);
    const Endpoint elsewhere = endpoint("198.51.100.77", 31008);
    CHECK(w.exchange(World::outer(elsewhere, dr, kA, wire::kEtherIpv4, World::uplink())).empty());
    CHECK(w.exit(Exit::DropOuterSource) == 1);
}

TEST_CASE("an endpoint inside a site's prefix is not learned, and one outside is again") {
    World w;
    const Site site = one_line("0.0.0.0");
    w.provision(site, {{{"a", 1}}});
    Ur& ur = w.add_ur(site);
    ur.from[0] = endpoint("203.0.113.12", 31007);
    w.run(3 * kSecond);
    CHECK_FALSE(up(w, ur, 0));
    CHECK(w.service->shard(0).statistics().answers_refused > 0);
    CHECK(w.service->shard(0).statistics().adopted_endpoints == 0);
    ur.from[0] = endpoint("198.51.100.77", 31007);
    CHECK(w.run_until([&] { return up(w, ur, 0); }, 20 * kSecond));
}

TEST_CASE("source ports carry entropy once the UR has found no NAT, and not behind one") {
    World w;
    const Site site = two_lines("0.0.0.0", "0.0.0.0");
    w.provision(site, {{{"a", 1}, {"b", 1}}});
    Ur& ur = w.add_ur(site);
    ur.from[1].port = 31007;
    REQUIRE(w.run_until([&] { return up(w, ur, 0) && up(w, ur, 1); }, kSecond));
    const auto entropy = [&](std::uint32_t id) {
        return (w.row(id)->flags & TunnelRow::kEntropy) != 0;
    };
    REQUIRE(w.run_until([&] { return entropy(kA); }, kSecond));
    w.run(2 * kSecond);
    CHECK_FALSE(entropy(kB));
    std::array<bool, 2> fixed{};
    for (unsigned flow = 0; flow < 64; ++flow) {
        for (const Bytes& packet : w.exchange(World::downlink(flow))) {
            const auto source = static_cast<std::uint16_t>(packet[20] << 8 | packet[21]);
            const auto to = static_cast<std::uint16_t>(packet[22] << 8 | packet[23]);
            CHECK((to == 4754 ? source >= 49152 : source == 4754));
            fixed[to == 4754 ? 0 : 1] = true;
        }
    }
    CHECK((fixed[0] && fixed[1]));
    const Endpoint dr = endpoint("192.0.2.1", 4754);
    Endpoint any = ur.from[0];
    any.port = 50'505;
    CHECK(w.exchange(World::outer(any, dr, kA, wire::kEtherIpv4, World::uplink())).size() == 1);
}

TEST_CASE("an endpoint is learned with a port that stays fixed: no flow has a port of its own") {
    World w;
    Site site = two_lines("0.0.0.0", "0.0.0.0");
    site.lines[0].fixed_port = 4754;
    w.provision(site, {{{"a", 1}, {"b", 1}}});
    Ur& ur = w.add_ur(site);
    REQUIRE(w.run_until([&] { return up(w, ur, 0) && up(w, ur, 1); }, kSecond));
    const auto has = [&](std::uint32_t id, std::uint8_t flag) {
        return (w.row(id)->flags & flag) != 0;
    };
    REQUIRE(w.run_until([&] { return has(kB, TunnelRow::kEntropy); }, 2 * kSecond));
    w.run(2 * kSecond);
    CHECK_FALSE(has(kA, TunnelRow::kEntropy));
    const Endpoint dr = endpoint("192.0.2.1", 4754);
    Endpoint any = ur.from[0];
    any.port = 50'505;
    CHECK(w.exchange(World::outer(any, dr, kA, wire::kEtherIpv4, World::uplink())).empty());
    CHECK(w.exit(Exit::DropOuterSource) == 1);
    // Without the fixed port, and with it again, the endpoint holds all the time.
    for (const std::uint16_t port : {std::uint16_t{0}, std::uint16_t{4754}}) {
        site.lines[0].fixed_port = port;
        w.provision(site, {{{"a", 1}, {"b", 1}}});
        w.run(5 * kMillisecond);
        CHECK_FALSE(has(kA, TunnelRow::kDisabled));
        CHECK(up(w, ur, 0));
        if (port == 0)
            CHECK(w.run_until([&] { return has(kA, TunnelRow::kEntropy); }, 30 * kSecond));
    }
    CHECK_FALSE(has(kA, TunnelRow::kEntropy));
    CHECK(w.live(kA).flaps == 0);
}

TEST_CASE(
    "an automatic tunnel's data goes over to native GRE and back, and none of it is refused") {
    World w;
    Site site = one_line(GENERATE("0.0.0.0", "198.51.100.2"));
    site.lines[0].encapsulation = southbound::Encapsulation::Automatic;
    site.lines[0].remote_port = site.lines[0].remote == "0.0.0.0" ? 4754 : 0;
    w.provision(site, {{{"a", 1}}});
    Ur& ur = w.add_ur(site);
    const Endpoint dr = endpoint("192.0.2.1", 4754);
    const Endpoint udp = ur.from[0];
    Endpoint native = udp;
    native.port = 0;
    const auto taken = [&](const Endpoint& from) {
        return w.exchange(World::outer(from, dr, kA, wire::kEtherIpv4, World::uplink())).size() ==
               1;
    };
    REQUIRE(w.run_until([&] { return up(w, ur, 0); }, kSecond));
    w.run(kSecond);
    CHECK(way_down(w) == udp);
    CHECK(taken(native));
    CHECK(taken(udp));
    REQUIRE(w.run_until([&] { return w.live(kA).port == 0; }, 20 * kSecond));
    w.run(5 * kMillisecond);
    CHECK(way_down(w) == native);
    CHECK(taken(native));
    CHECK(taken(udp));
    Endpoint stranger = native;
    stranger.address[3] = 99;
    CHECK_FALSE(taken(stranger));
    CHECK(w.exit(Exit::DropOuterSource) == 1);
    CHECK(w.exit(Exit::DropEncapMismatch) == 0);
    ur.cut_native = true;
    CHECK(w.run_until([&] { return way_down(w) == udp; }, kSecond));
    CHECK(taken(udp));
    CHECK(up(w, ur, 0));
    CHECK(w.live(kA).flaps == 0);
}

TEST_CASE(
    "behind a NAT an automatic tunnel's data is taken from the UR's port, not from its address") {
    World w;
    Site site = one_line("0.0.0.0");
    site.lines[0].encapsulation = southbound::Encapsulation::Automatic;
    site.lines[0].remote_port = 4754;
    w.provision(site, {{{"a", 1}}});
    Ur& ur = w.add_ur(site);
    ur.from[0] = endpoint("198.51.100.77", 31007);
    REQUIRE(w.run_until([&] { return up(w, ur, 0); }, kSecond));
    w.run(kSecond);
    const auto taken = [&](std::uint16_t port) {
        const Endpoint from = endpoint("198.51.100.77", port);
        const Endpoint dr = endpoint("192.0.2.1", 4754);
        return w.exchange(World::outer(from, dr, kA, wire::kEtherIpv4, World::uplink())).size() ==
               1;
    };
    CHECK(taken(31007));
    CHECK_FALSE(taken(31008));
    CHECK_FALSE(taken(0));
    CHECK(w.exit(Exit::DropOuterSource) == 1);
    CHECK(w.exit(Exit::DropEncapMismatch) == 1);
}

TEST_CASE("packets that are refused for what is in them do not count as lost on the path") {
    World w;
    const Site site = one_line("198.51.100.2");
    w.provision(site, {{{"a", 1}}});
    Ur& ur = w.add_ur(site);
    REQUIRE(w.run_until([&] { return up(w, ur, 0); }, kSecond));
    const Endpoint dr = endpoint("192.0.2.1", 4754);
    const Bytes wrong = dr::test::udp_packet(Bytes{10, 0, 0, 1}, Bytes{8, 8, 8, 8}, 50);
    for (unsigned i = 0; i < 400; ++i) {
        w.put(World::outer(ur.from[0], dr, kA, wire::kEtherIpv4, wrong));
        ++ur.data[0].sent;
        w.run(10 * kMillisecond);
    }
    CHECK(w.exit(Exit::DropInnerSource) == 400);
    CHECK((w.live(kA).flags & southbound::LivenessState::kDegraded) == 0);
    // The same count of packets that never come, on the other hand, is a loss.
    for (unsigned i = 0; i < 400; ++i) {
        ++ur.data[0].sent;
        w.run(10 * kMillisecond);
    }
    CHECK((w.live(kA).flags & southbound::LivenessState::kDegraded) != 0);
}

TEST_CASE("traffic leaves a line whose keepalives stop, and a change of the site keeps it so") {
    World w;
    Site site = two_lines("0.0.0.0", "0.0.0.0");
    w.provision(site, kFirstAThenB);
    Ur& ur = w.add_ur(site);
    REQUIRE(w.run_until([&] { return up(w, ur, 0) && up(w, ur, 1); }, kSecond));
    w.run(5 * kMillisecond);
    CHECK(way_down(w) == ur.from[0]);
    ur.cut[0] = true;
    REQUIRE(w.run_until([&] { return way_down(w) == ur.from[1]; }, 2 * kSecond));
    site.prefix = "203.0.113.8/30";
    w.provision(site, kFirstAThenB);
    CHECK(way_down(w) == ur.from[1]);
    w.run(kSecond);
    CHECK(way_down(w) == ur.from[1]);
}

TEST_CASE(
    "keepalives that anybody could have sent end on the worker, and cost a live tunnel nothing") {
    World w;
    const Site site = one_line("198.51.100.2");
    w.provision(site, {{{"a", 1}}});
    const Ur& ur = w.add_ur(site);
    REQUIRE(w.run_until([&] { return up(w, ur, 0); }, kSecond));
    const Endpoint dr = endpoint("192.0.2.1", 4754);
    const Bytes forged(88, 0x11);
    for (const Endpoint& from : {ur.from[0], endpoint("203.0.114.1", 4754)}) {
        for (unsigned i = 0; i < 500; ++i)
            w.put(World::outer(from, dr, kA, wire::kEtherKeepalive, forged));
        w.step();
    }
    CHECK(w.exit(Exit::DropKeepaliveTag) == 1000);
    w.run(5 * kSecond);
    CHECK(up(w, ur, 0));
    CHECK(w.service->shard(0).statistics().downs == 0);
    CHECK(way_down(w) == ur.from[0]);
    // A tunnel without keys has no use for any.
    const std::uint64_t before = w.exit(Exit::DropKeepalive);
    Site plain = one_line("198.51.100.2");
    plain.lines[0].keyed = false;
    w.provision(plain, {{{"a", 1}}});
    w.run(10 * kMillisecond);
    w.put(World::outer(ur.from[0], dr, kA, wire::kEtherKeepalive, forged));
    w.step();
    CHECK(w.exit(Exit::DropKeepalive) > before);
    CHECK(way_down(w) == ur.from[0]);
}

TEST_CASE(
    "traffic returns to a line bucket by bucket, idle ones first, busy ones not before they must") {
    World w;
    const Site site = two_lines("0.0.0.0", "0.0.0.0");
    w.provision(site, kFirstAThenB);
    Ur& ur = w.add_ur(site);
    REQUIRE(w.run_until([&] { return up(w, ur, 0) && up(w, ur, 1); }, kSecond));
    w.run(11 * kSecond);
    ur.cut[0] = true;
    REQUIRE(w.run_until([&] { return way_down(w) == ur.from[1]; }, 2 * kSecond));
    ur.cut[0] = false;
    const auto moving = [&] {
        const std::uint32_t index = w.writer->find_subscriber(1).value;
        return (w.tables->subscribers[index].map.load() & SubscriberRow::kMoving) != 0;
    };
    REQUIRE(w.run_until(moving, 180 * kSecond));
    // Flow 1 has a packet every 10 ms, and flow 2, in another bucket, is silent.
    const auto way = [&](unsigned flow) {
        const std::vector<Bytes> out = w.exchange(World::downlink(flow));
        Endpoint to{4, 4754, {}};
        if (out.size() == 1) std::memcpy(to.address.data(), out[0].data() + 16, 4);
        return to;
    };
    for (unsigned i = 0; i < 100; ++i) {
        CHECK(way(1) == ur.from[1]);
        w.run(10 * kMillisecond);
    }
    CHECK(moving());
    CHECK(way(2) == ur.from[0]);
    // Once it rests, it moves too.
    REQUIRE(w.run_until([&] { return !moving(); }, kSecond));
    CHECK(way(1) == ur.from[0]);
    CHECK(w.exit(Exit::DropNoTunnel) == 0);
}

TEST_CASE("a move that follows another at once waits for its own buckets to rest") {
    World w;
    Site site = two_lines("0.0.0.0", "0.0.0.0");
    site.lines.push_back({.name = "c", .id = kB + 1});
    w.provision(site, {{{"a", 1}, {"b", 1}, {"c", 1}}});
    Ur& ur = w.add_ur(site);
    REQUIRE(w.run_until([&] { return up(w, ur, 0) && up(w, ur, 1) && up(w, ur, 2); }, kSecond));
    w.run(11 * kSecond);
    std::map<unsigned, unsigned> all;
    for (unsigned flow = 1; flow < 40; ++flow) all[flow] = way_of(w, ur, flow);
    // b and, a little later, c are away for a while; a carries all.
    ur.cut[1] = true;
    w.run(4 * kSecond);
    ur.cut[1] = false;
    ur.cut[2] = true;
    w.run(4 * kSecond);
    ur.cut[2] = false;
    REQUIRE(w.run_until([&] { return moving(w); }, 180 * kSecond));
    // b returns first. One flow that is to move to it keeps the move going while c's wait ends.
    const auto is_on = [&](unsigned line) {
        return [&, line](const auto& flow) { return flow.second == line; };
    };
    const unsigned to_b = std::find_if(all.begin(), all.end(), is_on(1))->first;
    const auto keep_busy = [&](unsigned flow, unsigned line, Time duration) {
        for (const Time end = w.now + duration; w.now < end; w.run(10 * kMillisecond))
            CHECK(way_of(w, ur, flow) == line);
    };
    keep_busy(to_b, 0, 10 * kSecond);
    REQUIRE(moving(w));
    // A flow that this move leaves on a, and that goes to c in the next.
    unsigned to_c = 0;
    for (const auto& [flow, line] : all) {
        if (line == 2 && way_of(w, ur, flow) == 0) to_c = flow;
    }
    REQUIRE(to_c != 0);
    keep_busy(to_c, 0, 2 * kSecond);
    CHECK(moving(w));
    CHECK(way_of(w, ur, to_b) == 1);
    // Once it rests, it moves too.
    REQUIRE(w.run_until([&] { return !moving(w); }, kSecond));
    CHECK(way_of(w, ur, to_c) == 2);
}

TEST_CASE("the clock of moves goes forwards only, and a stamp from ahead of it is a fresh one") {
    MoveBoard board;
    for (const std::uint32_t start : {5U, 0x7ffffff0U, 0xfffffff0U}) {
        board.clock.store(0);
        board.turn(start);
        CHECK(board.clock.load() == start);
        board.turn(start + 30);
        board.turn(start + 29);  // another thread, a little late
        CHECK(board.clock.load() == start + 30);
        CHECK(MoveBoard::age(start + 30, start) == 30);
        CHECK(MoveBoard::age(start, start + 1) == 0);
    }
}

TEST_CASE("several shards share the subscribers, and each keeps its own") {
    World w(2);
    std::vector<Site> sites;
    for (std::uint32_t n = 1; n <= 4; ++n) {
        Site site;
        site.id = n;
        site.prefix = "203.0.113." + std::to_string(8 * n) + "/29";
        site.lines = {
            {.name = "a", .id = kA + 16 * n, .remote = "198.51.100." + std::to_string(n)}};
        sites.push_back(site);
        w.provision(site, {{{"a", 1}}});
        w.add_ur(site);
    }
    const auto all_up = [&] {
        return std::all_of(w.urs.begin(), w.urs.end(),
                           [&](const auto& ur) { return up(w, *ur, 0); });
    };
    REQUIRE(w.run_until(all_up, kSecond));
    CHECK(w.service->shard(0).sessions() == 2);
    CHECK(w.service->shard(1).sessions() == 2);
    // One goes, and a tunnel of the same slot comes.
    southbound::test::Txn txn;
    txn.drop_subscriber(2);
    REQUIRE(w.commit(txn).ok());
    w.run(5 * kMillisecond);
    CHECK(w.live(kA + 32).tunnel == 0);
    CHECK(w.service->shard(0).sessions() + w.service->shard(1).sessions() == 3);
    w.urs.erase(w.urs.begin() + 1);
    sites[1].id = 9;
    w.provision(sites[1], {{{"a", 1}}});
    w.add_ur(sites[1]);
    REQUIRE(w.run_until(all_up, kSecond));
    CHECK(w.live(kA + 32).subscriber == 9);
}

TEST_CASE("a tunnel that goes to another subscriber at once comes up, whichever shard is first") {
    World w(2);
    // Subscribers are dealt out by their index: the new one's shard is the first here, then the
    // last.
    for (const std::uint32_t leaves : {1U, 2U}) {
        Site before;
        before.id = 10 + leaves;
        before.lines = {{.name = "a", .id = kA, .remote = "198.51.100.2"}};
        w.provision(before, {{{"a", 1}}});
        Site filler;
        filler.id = 20 + leaves;
        filler.prefix = "203.0.113." + std::to_string(64 + 8 * leaves) + "/29";
        filler.lines = {{.name = "a", .id = kB + leaves, .keyed = false, .remote = "198.51.100.3"}};
        if (leaves == 2) w.provision(filler, {{{"a", 1}}});
        w.run(100 * kMillisecond);
        // The operator renames the site, its tunnel's id included in what he says.
        Site after = before;
        after.id = 30 + leaves;
        southbound::test::Txn txn;
        txn.drop_subscriber(before.id);
        txn.add(southbound::Type::UpsertSubscriber, encode(after));
        REQUIRE(w.commit(txn).ok());
        const std::uint32_t index = w.writer->find_subscriber(after.id).value;
        INFO("index " << index);
        w.run(5 * kMillisecond);
        CHECK(w.live(kA).subscriber == after.id);
        Ur& ur = w.add_ur(after);
        CHECK(w.run_until([&] { return up(w, ur, 0); }, kSecond));
        w.urs.clear();
        southbound::test::Txn gone;
        gone.drop_subscriber(after.id);
        REQUIRE(w.commit(gone).ok());
        w.run(5 * kMillisecond);
        CHECK(w.live(kA).tunnel == 0);
    }
}

TEST_CASE("another key, profile or policy reaches a session without its going down") {
    World w;
    Site site = one_line("198.51.100.2");
    w.provision(site, {{{"a", 1}}});
    const Ur& ur = w.add_ur(site);
    REQUIRE(w.run_until([&] { return up(w, ur, 0); }, kSecond));
    site.prefix = "203.0.113.8/30";
    w.provision(site, {{{"a", 2}}});
    w.run(2 * kSecond);
    CHECK(up(w, ur, 0));
    CHECK(w.service->shard(0).statistics().downs == 0);
    // Lines that come, go and change places leave the others' numbers alone.
    southbound::Transaction changed;
    southbound::test::PolicySpec policy{1, {{{{"c", 1}}, {{"a", 3}, {"b", 1}}}}, {{"a", 0}}, {}};
    policy.limits[0] = {0, 500, 0, 1, 0};
    changed.add(southbound::Type::UpsertPolicy, encode(policy));
    REQUIRE(w.commit(changed).ok());
    w.run(2 * kSecond);
    CHECK(up(w, ur, 0));
    CHECK(way_down(w) == ur.from[0]);
    CHECK(w.service->shard(0).statistics().downs == 0);
    // Without its key it carries traffic as configured, and has no session.
    site.lines[0].keyed = false;
    w.provision(site, {{{"a", 2}}});
    w.run(5 * kMillisecond);
    CHECK(w.service->shard(0).sessions() == 0);
    CHECK(way_down(w) == ur.from[0]);
}

}  // namespace dr::keepalive::test
