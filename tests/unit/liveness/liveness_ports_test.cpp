// Source ports of data: the flows' own where those pass, the keepalives' where they do not
// (proto/TUNNEL.md §12).
#include <catch2/catch.hpp>

#include "tests/unit/liveness/liveness_world.h"

namespace dr::liveness::test {
namespace {

Setup free_ports() {
    Setup s;
    s.lines = 1;
    s.flow_ports = true;
    return s;
}

bool both(const World& w, bool free) {
    return w.status(w.dr, 0).flow_ports == free && w.status(w.ur, 0).flow_ports == free;
}

TEST_CASE("data goes out from the flows' ports once probes from such ports were answered") {
    World w(free_ports());
    w.set_traffic(0, 100);
    REQUIRE(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, kSecond));
    CHECK(both(w, false));
    CHECK(w.run_until([&] { return both(w, true); }, 2 * kSecond));
    w.run(10 * kSecond);
    CHECK(both(w, true));
    CHECK(w.dr.count(EventKind::FlowPorts) == 1);
    CHECK(w.dr.count(EventKind::Degraded) == 0);
    CHECK(w.ur.count(EventKind::EndpointAdopted) + w.ur.count(EventKind::Degraded) == 0);
    CHECK(w.dr.count(EventKind::EndpointAdopted) == 1);
}

TEST_CASE("a path that loses one packet in twenty passes the trial") {
    World w(free_ports());
    const auto one_in_twenty = [&](const Packet&) { return w.dr.random() % 20 == 0; };
    w.down[0].drop = w.up[0].drop = one_in_twenty;
    CHECK(w.run_until([&] { return both(w, true); }, 60 * kSecond));
}

TEST_CASE("behind a firewall without NAT the direction that it guards keeps the keepalives' port") {
    World w(free_ports());
    w.down[0].one_port = true;
    w.set_traffic(0, 100);
    w.run(60 * kSecond);
    CHECK_FALSE(w.status(w.dr, 0).flow_ports);
    CHECK(w.status(w.ur, 0).flow_ports);
    CHECK(w.dr.count(EventKind::Degraded) + w.ur.count(EventKind::Degraded) == 0);
    CHECK(w.ur.data[0].received > 5'900);
    CHECK(w.dr.data[0].received > 5'900);
}

TEST_CASE("trials that fail become rare") {
    World w(free_ports());
    w.down[0].one_port = w.up[0].one_port = true;
    unsigned probes = 0;
    w.tap = [&](const Packet& p) { probes += p.from.port >= 49152 ? 1 : 0; };
    w.run(600 * kSecond);
    CHECK(both(w, false));
    // Of each end: after 10, 20, 40, ... seconds, three each time.
    CHECK(probes >= 24);
    CHECK(probes <= 48);
}

TEST_CASE("where data from the flows' ports is lost it takes the keepalives' port at once") {
    World w(free_ports());
    w.set_traffic(0, 200);
    REQUIRE(w.run_until([&] { return both(w, true); }, 3 * kSecond));
    w.run(5 * kSecond);
    w.down[0].one_port = w.up[0].one_port = true;
    CHECK(w.run_until([&] { return both(w, false); }, 600 * kMillisecond));
    w.down[0].one_port = w.up[0].one_port = false;
    w.run(500 * kSecond);
    CHECK(both(w, false));
    CHECK(w.dr.count(EventKind::Degraded) + w.ur.count(EventKind::Degraded) == 0);
    CHECK(w.run_until([&] { return both(w, true); }, 200 * kSecond));
}

TEST_CASE("data is counted for keepalives that are sent, and else a few times a second only") {
    World w(free_ports());
    w.set_traffic(0, 100);
    REQUIRE(w.run_until([&] { return both(w, true); }, 3 * kSecond));
    w.run(5 * kSecond);
    for (End* end : {&w.dr, &w.ur}) end->sent = end->counted = 0;
    w.run(20 * kSecond);
    for (const End* end : {&w.dr, &w.ur}) {
        CHECK(end->sent > 200);
        CHECK(end->counted <= end->sent + 5 * 20);
    }
    CHECK(both(w, true));
}

TEST_CASE("a burst that is acknowledged at once is no reason to leave the flows' ports") {
    World w(free_ports());
    w.down[0].delay = w.up[0].delay = kMillisecond;
    REQUIRE(w.run_until([&] { return both(w, true); }, 3 * kSecond));
    for (int n = 0; n < 200; ++n) {
        w.set_traffic(0, 1000);
        w.run(20 * kMillisecond);
        w.set_traffic(0, 0);
        w.run((300 + static_cast<unsigned>(n)) * kMillisecond);
        REQUIRE(both(w, true));
    }
}

TEST_CASE("a line that loses all data is left as soon as without the flows' ports") {
    for (const bool free : {false, true}) {
        CAPTURE(free);
        Setup setup;
        setup.flow_ports = free;
        World w(setup);
        w.set_traffic(0, 200);
        w.run(15 * kSecond);
        REQUIRE(w.status(w.dr, 0).flow_ports == free);
        w.down[0].cut_data = true;
        CHECK(w.run_until([&] { return w.dr.eligible() == 2; }, kSecond));
    }
}

TEST_CASE("no probe leaves from another port behind a NAT, nor where ports are fixed") {
    Setup setup = free_ports();
    SECTION("behind a NAT") {}
    SECTION("fixed") {
        setup.flow_ports = false;
    }
    World w(setup);
    if (setup.flow_ports) w.ur_seen_as[0].port = 31'007;
    unsigned probes = 0;
    w.tap = [&](const Packet& p) { probes += p.from.port >= 49152 ? 1 : 0; };
    w.run(60 * kSecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(probes == 0);
    CHECK(both(w, false));
}

TEST_CASE("a probe from another address is answered to that address and nothing is adopted") {
    World w(free_ports());
    std::vector<std::uint8_t> probe;
    w.up[0].drop = [&](const Packet& p) {
        if ((p.bytes[0] & 15U) != 4 || !probe.empty()) return false;
        probe = p.bytes;
        return true;
    };
    REQUIRE(w.run_until([&] { return !probe.empty(); }, 3 * kSecond));
    const Endpoint before = w.status(w.dr, 0).peer;
    REQUIRE(before.known());
    Endpoint other = before;
    other.address[3] ^= 1;
    w.inject(w.dr, 0, probe, other);
    CHECK(w.status(w.dr, 0).peer == before);
    CHECK(w.dr.engine->statistics().other_source > 0);
}

}  // namespace
}  // namespace dr::liveness::test
