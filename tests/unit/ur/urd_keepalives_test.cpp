// The UR's glue around the engine, against an engine in the role of a DR, on one virtual clock.
#include <catch2/catch.hpp>
#include <deque>
#include <set>

#include "ur/keepalives.h"
#include "ur/outer.h"

using namespace dr::liveness;
using dr::ur::Keepalives;
using dr::ur::KeepaliveSink;
using dr::ur::TunnelEnds;

namespace {

dr::IpAddress address(const char* text) {
    return dr::parse_address(text).value();
}

dr::ur::Tunnel make_tunnel(unsigned number, unsigned slot) {
    dr::ur::Tunnel t;
    t.line = number == 0 ? "a" : "b";
    t.number = number;
    t.slot = slot;
    t.udp = true;
    t.remote = address("198.51.100.1");
    t.id = 100 + slot;
    t.mtu = 1464;
    t.keys.resize(1);
    t.keys[0].number = 1;
    t.keys[0].bytes.fill(static_cast<std::uint8_t>(slot + 1));
    return t;
}

// Line a (number 0, slot 3) first, then b (number 1, slot 0).
dr::ur::Config make_config() {
    dr::ur::Config config;
    config.lines = {"a", "b"};
    config.classes.resize(1);
    config.classes[0].tiers = {{{0, 1}}, {{1, 1}}};
    config.tunnels = {make_tunnel(0, 3), make_tunnel(1, 0)};
    return config;
}

struct Message {
    unsigned slot;
    Endpoint from, to;
    std::vector<std::uint8_t> bytes;
};

struct Dr final : Host {
    void send(TunnelRef tunnel, const Endpoint& to, std::span<const std::uint8_t> m) override {
        out.push_back({static_cast<unsigned>(engine->user(tunnel)), {}, to, {m.begin(), m.end()}});
    }
    void bind(TunnelRef, const Endpoint&) override {}
    void choice(GroupRef, const Choice&) override {}
    void event(const Event&) override {}
    DataCounters data_counters(TunnelRef) override { return {}; }
    void bucket_ages(GroupRef, std::span<std::uint32_t, kBuckets> ages) override {
        std::fill(ages.begin(), ages.end(), kAgeSettled);
    }
    std::uint64_t random() override { return state = state * 6364136223846793005U + 1; }

    std::unique_ptr<Engine> engine;
    std::map<unsigned, TunnelRef> tunnels;
    std::deque<Message> out;
    std::uint64_t state = 7;
};

struct Sink final : KeepaliveSink {
    std::map<unsigned, std::uint16_t> mtu_of;
    void send(unsigned slot, const Endpoint& from, const Endpoint& to, std::uint32_t key,
              std::span<const std::uint8_t> m, bool) override {
        keys[slot] = key;
        out.push_back({slot, from, to, {m.begin(), m.end()}});
    }
    void ends(unsigned slot, const TunnelEnds& now) override { ends_of[slot] = now; }
    void choice(const Choice& c) override { eligible = c.eligible[0]; }
    void path_mtu(unsigned slot, std::uint16_t size) override { mtu_of[slot] = size; }
    DataCounters data_counters(unsigned) override { return {}; }
    void bucket_ages(std::span<std::uint32_t, kBuckets> ages) override {
        std::fill(ages.begin(), ages.end(), kAgeSettled);
    }
    void event(const Event& e, const std::string& line) override {
        if (e.kind == EventKind::StateChanged) changes.push_back(line);
    }
    std::uint64_t random() override { return state = state * 6364136223846793005U + 1; }

    std::map<unsigned, std::uint32_t> keys;
    std::map<unsigned, TunnelEnds> ends_of;
    std::deque<Message> out;
    std::vector<std::string> changes;
    std::uint16_t eligible = 0;
    std::uint64_t state = 11;
};

struct World {
    World() {
        dr::liveness::Config c;
        std::string error;
        dr.engine = Engine::create(c, {4, 1, 1, 1}, dr, &error);
        REQUIRE(dr.engine);
        Policy policy;
        policy.klass[0].tier[0] = 0;
        policy.klass[0].tier[1] = 1;
        dr.engine->set_policy(now, 0, policy);
        group = dr.engine->add_group(now, {});
        for (const auto& t : make_config().tunnels) set_dr(t);
        keepalives = std::make_unique<Keepalives>(sink);
    }
    void set_dr(const dr::ur::Tunnel& t) {
        TunnelConfig config;
        config.group = group;
        config.line = static_cast<std::uint8_t>(t.number);
        config.id = t.id;
        config.local = dr::ur::to_endpoint(t.remote, 4754);
        config.key_count = static_cast<std::uint8_t>(t.keys.size());
        std::copy(t.keys.begin(), t.keys.end(), config.keys.begin());
        config.automatic = t.automatic;
        config.user = t.slot;
        const auto at = dr.tunnels.find(t.slot);
        if (at == dr.tunnels.end())
            dr.tunnels[t.slot] = dr.engine->add_tunnel(now, config);
        else
            dr.engine->update_tunnel(now, at->second, config);
    }
    void up(unsigned slot, const char* text = "192.0.2.1") {
        keepalives->line(now, slot, true, address(text), 1500);
    }
    // Each message takes a millisecond.
    void run(Time duration) {
        for (const Time end = now + duration; now < end; now += kMillisecond) {
            for (; !sink.out.empty(); sink.out.pop_front()) carry_up(sink.out.front());
            for (; !dr.out.empty(); dr.out.pop_front()) carry_down(dr.out.front());
            dr.engine->run(now);
            keepalives->run(now);
        }
    }
    void carry_up(const Message& m) {
        if (cut.contains(m.slot) || lost_ports.contains(m.from.port)) return;
        Endpoint seen = m.from;
        if (nat_port != 0) seen.port = nat_port;
        if (m.to.port == 0) {
            if (native_lost) return;
            seen.port = 0;
        }
        real[m.slot] = m.from;
        dr.engine->receive(now, dr.tunnels.at(m.slot), m.bytes, seen);
    }
    void carry_down(const Message& m) {
        const std::uint16_t port = m.to.port == 0 ? std::uint16_t{0} : std::uint16_t{4754};
        if (cut.contains(m.slot) || (port == 0 && native_lost)) return;
        keepalives->receive(now, m.slot, m.bytes,
                            dr::ur::to_endpoint(address("198.51.100.1"), port));
    }
    [[nodiscard]] State state(unsigned slot) const { return keepalives->status(now, slot).state; }

    Time now = 1'000 * kSecond;
    Dr dr;
    GroupRef group;
    Sink sink;
    std::unique_ptr<Keepalives> keepalives;
    std::set<unsigned> cut;
    std::set<std::uint16_t> lost_ports;
    std::uint16_t nat_port = 0;
    bool native_lost = false;
    std::map<unsigned, Endpoint> real;
};

void start(World& w) {
    w.keepalives->apply(w.now, make_config());
    w.up(3);
    w.up(0, "192.0.2.2");
    w.run(kSecond);
    REQUIRE(w.state(3) == State::Up);
    REQUIRE(w.state(0) == State::Up);
}

}  // namespace

TEST_CASE("nothing is sent over a line that has not been looked at, or has no address") {
    World w;
    w.keepalives->apply(w.now, make_config());
    w.run(kSecond);
    CHECK(w.sink.keys.empty());
    w.keepalives->line(w.now, 3, false, {}, 0);
    w.run(kSecond);
    CHECK(w.sink.keys.empty());
    w.up(3);
    w.run(100 * kMillisecond);
    CHECK(w.sink.keys.at(3) == 103);
    CHECK_FALSE(w.sink.keys.contains(0));
    CHECK(w.state(3) == State::Up);
}

TEST_CASE("keepalives go from the port that data goes from, and no NAT frees the source ports") {
    World w;
    start(w);
    CHECK(w.real.at(3).port == 4754);
    CHECK(w.sink.ends_of.at(3).local_port == 4754);
    CHECK(w.sink.ends_of.at(3).entropy);
}

TEST_CASE("an automatic tunnel's ends become native GRE, and its port is there when it is back") {
    World w;
    auto config = make_config();
    config.tunnels[0].automatic = true;
    w.set_dr(config.tunnels[0]);
    w.keepalives->apply(w.now, config);
    w.up(3);
    w.up(0, "192.0.2.2");
    w.run(kSecond);
    CHECK(w.sink.ends_of.at(3).peer.port == 4754);
    w.run(8 * kSecond);
    CHECK(w.sink.ends_of.at(3).peer.port == 0);
    CHECK(w.sink.ends_of.at(3).local_port == 4754);
    CHECK(w.sink.ends_of.at(0).peer.port == 4754);
    CHECK_FALSE(w.keepalives->status(w.now, 3).nat);
    w.native_lost = true;
    w.sink.changes.clear();
    w.run(kSecond);
    CHECK(w.sink.ends_of.at(3).peer.port == 4754);
    CHECK(w.sink.ends_of.at(3).local_port == 4754);
    CHECK(w.sink.ends_of.at(3).entropy);
    CHECK(w.sink.changes.empty());
}

TEST_CASE("behind a NAT the ports stay fixed") {
    World w;
    w.nat_port = 20'000;
    start(w);
    CHECK_FALSE(w.sink.ends_of.at(3).entropy);
}

TEST_CASE("a port that the operator has fixed is never left, nor varied") {
    World w;
    auto config = make_config();
    config.tunnels[0].local_port = 5000;
    w.keepalives->apply(w.now, config);
    w.up(3);
    w.run(kSecond);
    CHECK(w.state(3) == State::Up);
    CHECK_FALSE(w.sink.ends_of.at(3).entropy);
    w.lost_ports = {5000};
    w.run(20 * kSecond);
    CHECK(w.sink.ends_of.at(3).local_port == 5000);
}

TEST_CASE("a port that carries nothing is given up for another, and the tunnel comes up there") {
    World w;
    start(w);
    w.lost_ports = {4754};
    w.run(8 * kSecond);
    CHECK(w.sink.ends_of.at(3).local_port >= 49'152);
    CHECK(w.real.at(3).port == w.sink.ends_of.at(3).local_port);
    CHECK(w.state(3) == State::Up);
    CHECK(w.sink.ends_of.at(3).entropy);
}

TEST_CASE("a port of which only one direction is lost is given up too") {
    World w;
    w.keepalives->apply(w.now, make_config());
    w.lost_ports = {4754};
    w.up(3);
    w.dr.engine->set_peer(w.now, w.dr.tunnels.at(3),
                          dr::ur::to_endpoint(address("192.0.2.1"), 4754));
    w.run(5 * kSecond);
    CHECK(w.state(3) == State::Up);
    CHECK(w.sink.ends_of.at(3).local_port != 4754);
}

TEST_CASE("while a line is dead the port is changed ever more seldom") {
    World w;
    start(w);
    w.cut = {3};
    std::set<std::uint16_t> ports;
    for (int second = 0; second < 300; ++second) {
        w.run(kSecond);
        ports.insert(w.sink.ends_of.at(3).local_port);
    }
    CHECK(ports.size() >= 4);
    CHECK(ports.size() <= 8);
}

TEST_CASE("a line that goes down takes its tunnel down at once, and traffic goes to the other") {
    World w;
    start(w);
    CHECK(w.sink.eligible == 0b11);
    w.keepalives->line(w.now, 3, false, {}, 0);
    CHECK(w.state(3) == State::Down);
    CHECK(w.sink.eligible == 0b10);
}

TEST_CASE("new keys change no state, and are what is sent with") {
    World w;
    start(w);
    w.sink.changes.clear();
    auto config = make_config();
    for (auto& t : config.tunnels) {
        TunnelKey fresh;
        fresh.number = 2;
        fresh.bytes.fill(0x77);
        t.keys.insert(t.keys.begin(), fresh);
        w.set_dr(t);
    }
    w.keepalives->apply(w.now, config);
    w.run(2 * kSecond);
    CHECK(w.sink.changes.empty());
    CHECK(w.keepalives->status(w.now, 3).key_number == 2);
    CHECK(w.dr.engine->status(w.now, w.dr.tunnels.at(3)).key_number == 2);
}

TEST_CASE("a configuration without a tunnel ends its session and leaves the other's alone") {
    World w;
    start(w);
    w.sink.changes.clear();
    auto config = make_config();
    config.tunnels.erase(config.tunnels.begin());
    w.keepalives->apply(w.now, config);
    w.run(kSecond);
    CHECK_FALSE(w.keepalives->has(3));
    CHECK(w.state(0) == State::Up);
    CHECK(w.sink.changes.empty());
    CHECK(w.sink.eligible == 0b10);
}

TEST_CASE("a tunnel with another id is another session") {
    World w;
    start(w);
    auto config = make_config();
    config.tunnels[0].id = 999;
    w.keepalives->apply(w.now, config);
    CHECK(w.keepalives->has(3));
    CHECK(w.state(3) != State::Up);
    CHECK(w.state(0) == State::Up);
}
