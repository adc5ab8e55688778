// Path MTU discovery (proto/TUNNEL.md §15), two engines with a path between them.
#include <catch2/catch.hpp>

#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

namespace {

constexpr std::uint16_t kLimit = 1464;  // 1500 less IPv4, UDP and GRE

Setup one_line() {
    Setup setup;
    setup.lines = 1;
    setup.mtu = kLimit;
    return setup;
}

// Messages of more bytes than `size` are lost in this direction.
void narrow(Path& path, std::size_t size) {
    path.drop = [size](const Packet& p) { return p.bytes.size() > size; };
}
void narrow(World& w, std::size_t size, unsigned line = 0) {
    narrow(w.down[line], size);
    narrow(w.up[line], size);
}

bool both_use(const World& w, std::uint16_t size, unsigned line = 0) {
    return w.dr.mtu[line] == size && w.ur.mtu[line] == size;
}

double until_both_use(World& w, std::uint16_t size, Time most, unsigned line = 0) {
    const Time start = w.now;
    if (!w.run_until([&] { return both_use(w, size, line); }, most)) return -1;
    return static_cast<double>(w.now - start) / static_cast<double>(kSecond);
}

unsigned probes(World& w, Time during) {
    unsigned count = 0;
    w.tap = [&](const Packet& p) {
        if ((p.bytes[0] & 15U) == static_cast<unsigned>(dr::wire::MessageType::Probe)) ++count;
    };
    w.run(during);
    w.tap = nullptr;
    return count;
}

std::uint16_t least_told(const End& end, std::size_t from) {
    std::uint32_t least = 0xffff;
    for (std::size_t i = from; i < end.events.size(); ++i) {
        if (end.events[i].kind == EventKind::PathMtu) least = std::min(least, end.events[i].value);
    }
    return static_cast<std::uint16_t>(least);
}

}  // namespace

TEST_CASE("a tunnel finds exactly what its path carries within two seconds of coming up") {
    // Lines of 1500, 1492, 1480, 1454, 1400, one of no usual size, and 1280.
    constexpr std::array<std::uint16_t, 7> kSizes{1464, 1456, 1444, 1418, 1364, 1301, 1244};
    for (const std::uint16_t size : kSizes) {
        CAPTURE(size);
        World w(one_line());
        narrow(w, size);
        REQUIRE(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, kSecond));
        CHECK(until_both_use(w, size, 2 * kSecond) >= 0);
        w.run(60 * kSecond);
        CHECK(both_use(w, size));
        CHECK(w.status(w.dr, 0).own_path_mtu == size);
        CHECK(w.status(w.ur, 0).own_path_mtu == size);
    }
}

TEST_CASE("both ends use what the narrower direction carries") {
    for (const bool down : {true, false}) {
        World w(one_line());
        narrow(down ? w.down[0] : w.up[0], 1418);
        CHECK(until_both_use(w, 1418, 4 * kSecond) >= 0);
        CHECK(w.status(down ? w.ur : w.dr, 0).own_path_mtu == kLimit);
    }
}

TEST_CASE("a path that has the full size costs one probe in each direction") {
    World w(one_line());
    CHECK(probes(w, 30 * kSecond) == 2);
    CHECK(both_use(w, kLimit));
}

TEST_CASE("a path that shrinks under data is found within three seconds, and data is not blamed") {
    for (const bool to_dr : {true, false}) {
        World w(one_line());
        REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
        w.set_traffic(0, 50);
        w.run(5 * kSecond);
        const std::size_t before = w.dr.events.size();
        narrow(to_dr ? w.up[0] : w.down[0], 1364);
        // Half of the packets are too large, until the ends use the smaller size.
        unsigned turn = 0;
        w.lose_data = [&](unsigned, bool way) {
            return way == to_dr && ++turn % 2 == 0 && !both_use(w, 1364);
        };
        const double took = until_both_use(w, 1364, 10 * kSecond);
        CHECK(took >= 0);
        CHECK(took < 3);
        CHECK(least_told(w.dr, before) == 1364);
        w.run(10 * kSecond);
        CHECK_FALSE(w.status(w.dr, 0).degraded);
        CHECK_FALSE(w.status(w.ur, 0).degraded);
        CHECK(w.dr.count_to(State::Down) == 0);
    }
}

TEST_CASE("a line that was degraded by packets too large is in use again once the size is known") {
    Setup setup = one_line();
    setup.lines = 2;
    World w(setup);
    w.run(15 * kSecond);
    REQUIRE(w.dr.eligible() == 3);
    w.set_traffic(0, 200);
    w.run(2 * kSecond);
    narrow(w, 1244);
    w.lose_data = [&](unsigned line, bool) { return line == 0 && w.dr.mtu[0] != 1244; };
    CHECK(until_both_use(w, 1244, 5 * kSecond) >= 0);
    w.run(2 * kSecond);
    CHECK_FALSE(w.status(w.dr, 0).degraded);
    CHECK_FALSE(w.status(w.ur, 0).degraded);
    CHECK(w.dr.eligible() == 3);
}

TEST_CASE("both ends say since when they know the tunnel's size, whichever of them found it") {
    World w(one_line());
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    w.set_traffic(0, 50);
    w.run(60 * kSecond);
    CHECK(w.status(w.dr, 0).path_mtu_since < w.now - 50 * kSecond);
    CHECK(w.status(w.ur, 0).path_mtu_since < w.now - 50 * kSecond);
    narrow(w.up[0], 1364);
    w.lose_data = [&, turn = 0U](unsigned, bool to_dr) mutable {
        return to_dr && ++turn % 2 == 0 && !both_use(w, 1364);
    };
    REQUIRE(until_both_use(w, 1364, 5 * kSecond) >= 0);
    CHECK(w.status(w.dr, 0).path_mtu_since > w.now - 2 * kSecond);
    CHECK(w.status(w.ur, 0).path_mtu_since > w.now - 2 * kSecond);
}

// Half of the packets are too large while the ends do not both use `size`.
void lose_large(World& w, std::uint16_t size) {
    w.lose_data = [&w, size, turn = 0U](unsigned, bool) mutable {
        return ++turn % 2 == 0 && !both_use(w, size);
    };
}

void add_delay(World& w, Time delay) {
    w.down[0].delay += delay;
    w.up[0].delay += delay;
}

TEST_CASE("a path that shrinks soon after its round trip has grown is found within five seconds") {
    const Time step = GENERATE(40, 60, 100) * kMillisecond;
    const Time since = GENERATE(2, 20) * kSecond;
    const bool hinted = GENERATE(true, false);
    CAPTURE(step, since, hinted);
    World w(one_line());
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    w.set_traffic(0, 50);
    w.run(10 * kSecond);
    add_delay(w, step);
    w.run(since);
    narrow(w, 1364);
    lose_large(w, 1364);
    w.run(50 * kMillisecond);
    if (hinted)
        for (End* end : {&w.dr, &w.ur}) end->engine->mtu_hint(w.now, end->tunnels[0], 1364);
    CHECK(until_both_use(w, 1364, 5 * kSecond) >= 0);
    w.run(10 * kSecond);
    CHECK_FALSE(w.status(w.dr, 0).degraded);
    CHECK_FALSE(w.status(w.ur, 0).degraded);
}

TEST_CASE("a long path that shrinks is found within five seconds, and data is not blamed") {
    const Time way = GENERATE(100, 200, 300) * kMillisecond;
    const bool both = GENERATE(true, false);
    CAPTURE(way, both);
    World w(one_line());
    add_delay(w, way);
    w.set_traffic(0, 50);
    REQUIRE(until_both_use(w, kLimit, 20 * kSecond) >= 0);
    w.run(30 * kSecond);
    narrow(w.down[0], 1364);
    if (both) narrow(w.up[0], 1364);
    w.lose_data = [&, turn = 0U](unsigned, bool to_dr) mutable {
        return (both || !to_dr) && ++turn % 2 == 0 && !both_use(w, 1364);
    };
    CHECK(until_both_use(w, 1364, 5 * kSecond) >= 0);
    w.run(20 * kSecond);
    CHECK_FALSE(w.status(w.dr, 0).degraded);
    CHECK_FALSE(w.status(w.ur, 0).degraded);
}

TEST_CASE("loss that does not depend on size shrinks nothing in an hour") {
    World w(one_line());
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    std::uint64_t random = 1;
    const auto lost = [&random](const Packet&) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        return (random >> 33) % 100 < 5;
    };
    w.down[0].drop = w.up[0].drop = lost;
    w.set_traffic(0, 20);
    w.lose_data = [&](unsigned, bool) { return lost({}); };
    w.run(3'600 * kSecond);
    CHECK(w.dr.count(EventKind::PathMtu) <= 2);
    CHECK(w.ur.count(EventKind::PathMtu) <= 2);
    CHECK(both_use(w, kLimit));
}

TEST_CASE("overload that loses two packets of three shrinks nothing") {
    World w(one_line());
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    std::uint64_t random = 7;
    const auto lost = [&random](const Packet&) {
        random = random * 6364136223846793005ULL + 1442695040888963407ULL;
        return (random >> 33) % 3 != 0;
    };
    w.down[0].drop = w.up[0].drop = lost;
    w.set_traffic(0, 100);
    w.lose_data = [&](unsigned, bool) { return lost({}); };
    w.run(90 * kSecond);
    w.down[0].drop = w.up[0].drop = nullptr;
    w.lose_data = nullptr;
    w.run(15 * kSecond);
    CHECK(both_use(w, kLimit));
}

TEST_CASE("a queue in which a small packet finds room and a large one none shrinks nothing") {
    World w(one_line());
    for (Path* path : {&w.down[0], &w.up[0]}) {
        path->bit_s = 2'000'000;
        path->queue_bytes = 40'000;
    }
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    w.run(10 * kSecond);
    const bool down = GENERATE(true, false);
    w.set_load(down ? 600 : 0, down ? 0 : 600, 1250);
    unsigned probes_sent = 0;
    w.tap = [&](const Packet& p) {
        if ((p.bytes[0] & 15U) == static_cast<unsigned>(dr::wire::MessageType::Probe))
            ++probes_sent;
    };
    for (int n = 0; n < 120; ++n) {
        w.run(kSecond);
        REQUIRE(w.status(w.dr, 0).path_mtu == kLimit);
        REQUIRE(w.status(w.ur, 0).path_mtu == kLimit);
    }
    CHECK(probes_sent < 120 * 10);
}

TEST_CASE("a path that carries nothing is not too narrow, and a larger size is taken up again") {
    World w(one_line());
    narrow(w, 1364);
    REQUIRE(until_both_use(w, 1364, 2 * kSecond) >= 0);
    w.cut(0);
    w.run(30 * kSecond);
    CHECK(w.dr.mtu[0] == 1364);
    w.cut(0, false);
    narrow(w, kLimit);
    // Coming up looks for the full size.
    CHECK(until_both_use(w, kLimit, 20 * kSecond) >= 0);
    narrow(w, 1364);
    w.run(kSecond);
    w.set_traffic(0, 50);
    w.lose_data = [&](unsigned, bool) { return !both_use(w, 1364); };
    REQUIRE(until_both_use(w, 1364, 5 * kSecond) >= 0);
    narrow(w, kLimit);
    w.lose_data = nullptr;
    CHECK(until_both_use(w, kLimit, 700 * kSecond) >= 0);
}

TEST_CASE("a hint starts a probe at once and is not believed") {
    World w(one_line());
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    w.run(5 * kSecond);
    w.dr.engine->mtu_hint(w.now, w.dr.tunnels[0], 1300);
    CHECK(probes(w, 5 * kSecond) >= 1);
    CHECK(both_use(w, kLimit));
    narrow(w.down[0], 1301);
    w.dr.engine->mtu_hint(w.now, w.dr.tunnels[0], 1301);
    const double took = until_both_use(w, 1301, 5 * kSecond);
    CHECK(took >= 0);
    CHECK(took < 1);
}

TEST_CASE("hints and loss cause at most one look a second") {
    World w(one_line());
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    w.run(5 * kSecond);
    unsigned count = 0;
    w.tap = [&](const Packet& p) {
        if ((p.bytes[0] & 15U) == static_cast<unsigned>(dr::wire::MessageType::Probe)) ++count;
    };
    for (unsigned n = 0; n < 1'000; ++n) {
        w.dr.engine->mtu_hint(w.now, w.dr.tunnels[0], 1280);
        w.run(10 * kMillisecond);
    }
    CHECK(count <= 11);
    CHECK(count >= 9);
    CHECK(both_use(w, kLimit));
}

TEST_CASE("a smaller limit of configuration or device holds at once, a larger one after probes") {
    World w(one_line());
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    TunnelConfig config = w.tunnel_config(w.dr, 0);
    config.mtu = 1400;
    REQUIRE(w.dr.engine->update_tunnel(w.now, w.dr.tunnels[0], config));
    CHECK(w.dr.mtu[0] == 1400);
    CHECK(until_both_use(w, 1400, kSecond) >= 0);
    config.mtu = kLimit;
    REQUIRE(w.dr.engine->update_tunnel(w.now, w.dr.tunnels[0], config));
    CHECK(w.dr.mtu[0] == 1400);
    CHECK(until_both_use(w, kLimit, kSecond) >= 0);
}

TEST_CASE("a limit under 1024 counts as 1024") {
    World w(one_line());
    REQUIRE(until_both_use(w, kLimit, 2 * kSecond) >= 0);
    TunnelConfig config = w.tunnel_config(w.dr, 0);
    config.mtu = 40;
    REQUIRE(w.dr.engine->update_tunnel(w.now, w.dr.tunnels[0], config));
    CHECK(w.dr.mtu[0] == 1024);
}

TEST_CASE("without a limit there is no discovery, and nothing is said of a size") {
    Setup setup = one_line();
    setup.mtu = 0;
    World w(setup);
    CHECK(probes(w, 10 * kSecond) == 0);
    CHECK(w.status(w.dr, 0).path_mtu == 0);
    CHECK(w.dr.count(EventKind::PathMtu) == 0);
}
