// Automatic tunnels: native GRE while it passes (proto/TUNNEL.md §12).
#include <catch2/catch.hpp>

#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

namespace {

Setup automatic(ProfileId profile = ProfileId::Fixed) {
    Setup setup;
    setup.lines = 1;
    setup.profile = profile;
    setup.automatic = true;
    return setup;
}

bool is_native(const End& end) {
    return end.bound[end.tunnels[0].value].family != 0 && end.bound[end.tunnels[0].value].port == 0;
}

bool becomes_native(World& w, Time within = 30 * kSecond) {
    return w.run_until([&] { return is_native(w.ur) && is_native(w.dr); }, within);
}

// Counts messages by encapsulation.
struct Tally {
    explicit Tally(World& w) {
        w.tap = [this](const Packet& p) { ++(p.from.port == 0 ? native : udp); };
    }
    unsigned native = 0, udp = 0;
};

unsigned downs(const World& w) {
    return w.ur.count_to(State::Down) + w.dr.count_to(State::Down);
}

}  // namespace

TEST_CASE("an automatic tunnel becomes native GRE at both ends after three answered probes") {
    World w(automatic());
    Tally tally(w);
    w.run(5 * kSecond);
    CHECK_FALSE(is_native(w.ur));
    CHECK_FALSE(is_native(w.dr));
    CHECK(tally.native == 4);  // two probes, two answers
    REQUIRE(becomes_native(w, 5 * kSecond));
    CHECK(w.ur.count(EventKind::Encapsulation) == 1);
    CHECK(w.dr.count(EventKind::Encapsulation) == 1);
    CHECK(w.status(w.ur, 0).peer.port == 0);
    CHECK(w.status(w.dr, 0).peer.port == 0);
    w.run(kSecond);
    tally.native = tally.udp = 0;
    w.run(60 * kSecond);
    CHECK(tally.udp == 0);
    CHECK(tally.native > 1000);
    CHECK(downs(w) == 0);
    // Messages on trial are not missed by anybody.
    CHECK(w.status(w.dr, 0).minute.loss_rx_permille == 0);
    CHECK(w.status(w.ur, 0).minute.loss_tx_permille == 0);
    CHECK(w.status(w.ur, 0).nat_known);
    CHECK_FALSE(w.status(w.ur, 0).nat);
}

TEST_CASE("native GRE that stops passing is left before the tunnel is down, at both ends") {
    const auto profile =
        GENERATE(ProfileId::Fixed, ProfileId::Mobile, ProfileId::Satellite, ProfileId::Metered);
    const auto cut = GENERATE(0, 1, 2);  // down, up, both ways
    World w(automatic(profile));
    const Time delay = profile == ProfileId::Satellite ? 300 * kMillisecond : 20 * kMillisecond;
    w.up[0].delay = w.down[0].delay = delay;
    REQUIRE(becomes_native(w));
    w.run(10 * kSecond);
    w.down[0].cut_native = cut != 1;
    w.up[0].cut_native = cut != 0;
    const Time detection = Time{dr::liveness::profile(profile).detection_us} * kMicrosecond;
    CHECK(w.run_until([&] { return !is_native(w.ur) && !is_native(w.dr); }, detection));
    w.run(5 * kSecond);
    CHECK(downs(w) == 0);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.ur.eligible() == 1);
    CHECK_FALSE(w.status(w.ur, 0).suspect_rx);
}

TEST_CASE("native GRE that does not pass is tried ever more seldom") {
    World w(automatic());
    w.up[0].cut_native = w.down[0].cut_native = true;
    Tally tally(w);
    w.run(600 * kSecond);
    CHECK(tally.native >= 4);
    CHECK(tally.native <= 7);  // 0, 13, 36, 79, 162, 325 s
    CHECK(downs(w) == 0);
    CHECK(w.ur.count(EventKind::Encapsulation) == 0);
}

TEST_CASE("after native GRE failed it is not back for a while, the longer the oftener") {
    World w(automatic());
    Time before = 0;
    for (unsigned round = 0; round < 4; ++round) {
        REQUIRE(becomes_native(w, 600 * kSecond));
        w.up[0].cut_native = w.down[0].cut_native = true;
        REQUIRE(w.run_until([&] { return !is_native(w.ur); }, kSecond));
        w.up[0].cut_native = w.down[0].cut_native = false;
        const Time left = w.now;
        REQUIRE(becomes_native(w, 600 * kSecond));
        CHECK(w.now - left > before + 5 * kSecond);
        before = w.now - left;
    }
    CHECK(downs(w) == 0);
}

TEST_CASE("native GRE that loses data is left for an hour") {
    World w(automatic());
    w.set_traffic(0, 200);
    REQUIRE(becomes_native(w));
    w.run(2 * kSecond);
    w.up[0].cut_data = true;
    CHECK(w.run_until([&] { return !is_native(w.ur) && !is_native(w.dr); }, 3 * kSecond));
    w.up[0].cut_data = false;
    CHECK_FALSE(becomes_native(w, 3590 * kSecond));
    CHECK(becomes_native(w, 30 * kSecond));
}

TEST_CASE("behind a NAT, and on a tunnel that is not automatic, native GRE is not tried") {
    Setup setup = automatic();
    const bool nat = GENERATE(true, false);
    setup.automatic = nat;
    World w(setup);
    if (nat) w.ur_seen_as[0].port = 61000;
    Tally tally(w);
    w.run(60 * kSecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(tally.native == 0);
}

TEST_CASE("a DR whose tunnel is not automatic stays with UDP whatever the UR notes") {
    World w(automatic());
    TunnelConfig config = w.tunnel_config(w.dr, 0);
    config.automatic = false;
    REQUIRE(w.dr.engine->update_tunnel(w.now, w.dr.tunnels[0], config));
    w.down[0].cut_native = false;
    w.run(30 * kSecond);
    CHECK(w.dr.count(EventKind::Encapsulation) == 0);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(downs(w) == 0);
}

TEST_CASE("messages of the other encapsulation are believed of the peer's address alone") {
    World w(automatic());
    std::vector<std::uint8_t> last;
    w.tap = [&](const Packet& p) {
        if (p.to_dr) last = p.bytes;
    };
    w.run(2 * kSecond);
    w.up[0].cut = true;  // what is sent now has not been there
    w.run(150 * kMillisecond);
    Endpoint native = World::ur_endpoint(0);
    native.port = 0;
    Endpoint stranger = World::ur_endpoint(9);
    stranger.port = 0;
    const auto received = w.dr.engine->statistics().received;
    w.inject(w.dr, 0, last, stranger);
    CHECK(w.dr.engine->statistics().received == received);
    CHECK(w.dr.engine->statistics().other_source > 0);
    w.inject(w.dr, 0, last, native);
    CHECK(w.dr.engine->statistics().received == received + 1);
    CHECK_FALSE(is_native(w.dr));  // it did not say so
    CHECK(w.dr.engine->statistics().adopted_endpoints <= 1);
}

TEST_CASE("a probe that passes natively does not keep a tunnel up whose keepalives do not") {
    World w(automatic());
    w.run(2500 * kMillisecond);
    const auto udp_only = [](const Packet& p) { return p.from.port != 0; };
    w.up[0].drop = w.down[0].drop = udp_only;
    CHECK(w.run_until([&] { return w.state(w.dr, 0) == State::Down; }, 1200 * kMillisecond));
    CHECK(w.run_until([&] { return w.state(w.ur, 0) == State::Down; }, 100 * kMillisecond));
}

TEST_CASE("a DR that starts again finds a UR in native GRE, and both go on from UDP") {
    World w(automatic());
    REQUIRE(becomes_native(w));
    w.restart(true);
    w.dr.bound = {};
    REQUIRE(
        w.run_until([&] { return w.state(w.dr, 0) == State::Up && w.state(w.ur, 0) == State::Up; },
                    2 * kSecond));
    CHECK(becomes_native(w));
    w.restart(false);
    REQUIRE(
        w.run_until([&] { return w.state(w.dr, 0) == State::Up && w.state(w.ur, 0) == State::Up; },
                    2 * kSecond));
    CHECK_FALSE(is_native(w.dr));
    CHECK(becomes_native(w));
}

TEST_CASE("an address that changes takes native GRE back until it has passed there") {
    World w(automatic());
    REQUIRE(becomes_native(w));
    w.ur_seen_as[0] = World::ur_endpoint(5);
    w.ur.engine->set_local(w.now, w.ur.tunnels[0], World::ur_endpoint(5));
    CHECK_FALSE(is_native(w.ur));
    w.run(kSecond);
    CHECK(w.dr.bound[0] == World::ur_endpoint(5));
    CHECK(becomes_native(w));
    CHECK(downs(w) == 0);
}
