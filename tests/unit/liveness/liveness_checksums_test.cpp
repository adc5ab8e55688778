// UDP checksums of data: 0 where packets with 0 pass, right ones elsewhere (proto/TUNNEL.md §12).
#include <catch2/catch.hpp>

#include "tests/unit/liveness/liveness_world.h"

namespace dr::liveness::test {
namespace {

Setup checksums() {
    Setup s;
    s.lines = 1;
    s.checksums = true;
    return s;
}

bool both(const World& w, bool zero) {
    return w.dr.zero[0] == zero && w.ur.zero[0] == zero;
}

TEST_CASE(
    "data has right checksums until probes with checksum 0 were answered, and 0 from then on") {
    World w(checksums());
    w.set_traffic(0, 100);
    REQUIRE(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, kSecond));
    CHECK(both(w, false));
    CHECK(w.run_until([&] { return both(w, true); }, kSecond));
    w.run(10 * kSecond);
    CHECK(both(w, true));
    CHECK(w.dr.count(EventKind::Checksums) + w.ur.count(EventKind::Checksums) == 0);
}

TEST_CASE("a path that drops checksum 0 carries data all the time, and one event says why") {
    World w(checksums());
    w.down[0].no_zero = true;
    w.set_traffic(0, 100);
    w.run(120 * kSecond);
    CHECK_FALSE(w.dr.zero[0]);
    CHECK(w.ur.zero[0]);
    CHECK(w.status(w.dr, 0).checksums);
    CHECK_FALSE(w.status(w.ur, 0).checksums);
    CHECK(w.dr.count(EventKind::Checksums) == 1);
    CHECK(w.dr.count(EventKind::Degraded) + w.ur.count(EventKind::Degraded) == 0);
    CHECK(w.dr.count_to(State::Down) == 0);
    // All but what is on its way now, and what was sent before the tunnel was up.
    CHECK(w.ur.data[0].received > 11'900);
}

TEST_CASE("a path that begins to drop checksum 0 loses data for less than a second") {
    World w(checksums());
    w.set_traffic(0, 200);
    REQUIRE(w.run_until([&] { return both(w, true); }, 3 * kSecond));
    w.run(5 * kSecond);
    w.down[0].no_zero = w.up[0].no_zero = true;
    CHECK(w.run_until([&] { return both(w, false); }, 600 * kMillisecond));
    w.run(60 * kSecond);
    CHECK(both(w, false));
    CHECK(w.dr.count(EventKind::Degraded) + w.ur.count(EventKind::Degraded) == 0);
    CHECK(w.status(w.dr, 0).checksums);
    w.down[0].no_zero = w.up[0].no_zero = false;
    CHECK(w.run_until([&] { return both(w, true); }, 200 * kSecond));
    CHECK_FALSE(w.status(w.dr, 0).checksums);
    CHECK(w.dr.events.back().kind == EventKind::Checksums);
    CHECK(w.dr.events.back().value == 0);
}

TEST_CASE("trials of checksum 0 that fail become rare") {
    World w(checksums());
    w.down[0].no_zero = true;
    unsigned probes = 0;
    w.tap = [&](const Packet& p) { probes += !p.to_dr && (p.bytes[0] & 15U) == 4 ? 1 : 0; };
    w.run(600 * kSecond);
    CHECK(probes >= 15);
    CHECK(probes <= 30);
}

TEST_CASE("both guises are lost at one doubt, and come back each in its own time") {
    Setup setup = checksums();
    setup.flow_ports = true;
    World w(setup);
    w.set_traffic(0, 200);
    REQUIRE(
        w.run_until([&] { return both(w, true) && w.status(w.dr, 0).flow_ports; }, 3 * kSecond));
    w.run(5 * kSecond);
    w.down[0].one_port = w.up[0].one_port = true;
    CHECK(w.run_until([&] { return both(w, false) && !w.status(w.dr, 0).flow_ports; },
                      600 * kMillisecond));
    CHECK(w.run_until([&] { return both(w, true); }, 15 * kSecond));
    CHECK_FALSE(w.status(w.dr, 0).flow_ports);
}

}  // namespace
}  // namespace dr::liveness::test
