#include <catch2/catch.hpp>
#include <utility>

#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

TEST_CASE("two ends that know only their key come up in a few round trips") {
    World w;
    CHECK(
        w.run_until([&] { return w.state(w.dr, 0) == State::Up && w.state(w.ur, 0) == State::Up; },
                    150 * kMillisecond));
    w.run(kSecond);
    CHECK(w.dr.eligible() == 3);
    CHECK(w.ur.eligible() == 3);
    CHECK(w.dr.bound[0] == World::ur_endpoint(0));
}

TEST_CASE("a tunnel whose keepalives stop for the detection time goes down at both ends") {
    World w;
    w.run(20 * kSecond);
    w.cut(0);
    w.run(900 * kMillisecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.status(w.dr, 0).suspect_rx);
    w.run(210 * kMillisecond);
    CHECK(w.state(w.dr, 0) == State::Down);
    CHECK(w.state(w.ur, 0) == State::Down);
    CHECK(w.dr.eligible() == 2);
    CHECK(w.ur.eligible() == 2);
}

TEST_CASE("nobody goes down while 5 % of the messages are lost, for an hour") {
    World w;
    std::uint64_t x = 99;
    const auto lossy = [&x](const Packet&) {
        x = x * 6364136223846793005ULL + 1442695040888963407ULL;
        return (x >> 33) % 100 < 5;
    };
    w.down[0].drop = w.up[0].drop = lossy;
    w.run(3600 * kSecond);
    CHECK(w.dr.count_to(State::Down) == 0);
    CHECK(w.ur.count_to(State::Down) == 0);
    CHECK(w.status(w.dr, 0).minute.loss_rx_permille > 10);
    CHECK(w.status(w.dr, 0).minute.loss_tx_permille > 10);
    CHECK(w.status(w.dr, 1).minute.loss_rx_permille == 0);
    CHECK(w.status(w.dr, 1).minute.loss_tx_permille == 0);
}

TEST_CASE("a line cut in one direction is down at both ends within the detection time") {
    const bool downlink = GENERATE(true, false);
    World w;
    w.run(20 * kSecond);
    (downlink ? w.down[0] : w.up[0]).cut = true;
    w.run(600 * kMillisecond);
    End& deaf = downlink ? w.ur : w.dr;
    End& unheard = downlink ? w.dr : w.ur;
    CHECK(w.status(deaf, 0).suspect_rx);
    CHECK(w.status(unheard, 0).suspect_tx);
    CHECK(w.run_until([&] { return w.dr.eligible() == 2 && w.ur.eligible() == 2; },
                      500 * kMillisecond));
    CHECK(w.status(deaf, 0).cause == Cause::DetectionExpired);
    w.run(60 * kSecond);
    CHECK(w.state(w.dr, 0) != State::Up);
    CHECK(w.state(w.ur, 0) != State::Up);
    CHECK(deaf.count_to(State::Down) == 1);
}

TEST_CASE(
    "a link that goes down takes the tunnel down at once here, and there over the other line") {
    World w;
    w.run(20 * kSecond);
    w.cut(0);
    w.ur.engine->line_state(w.now, w.ur.tunnels[0], false);
    CHECK(w.state(w.ur, 0) == State::Down);
    CHECK(w.status(w.ur, 0).cause == Cause::LineDown);
    w.run(15 * kMillisecond);
    CHECK(w.status(w.dr, 0).cause == Cause::ReportedElsewhere);
    CHECK(w.dr.eligible() == 2);
    w.cut(0, false);
    w.ur.engine->line_state(w.now, w.ur.tunnels[0], true);
    CHECK(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, 100 * kMillisecond));
}

TEST_CASE("an old view of the lines that arrives late takes nothing down again") {
    World w;
    w.down[1].delay = w.up[1].delay = 700 * kMillisecond;
    w.run(20 * kSecond);
    w.cut(0);
    REQUIRE(w.run_until([&] { return w.state(w.dr, 0) == State::Down; }, 2 * kSecond));
    w.cut(0, false);
    w.run(5 * kSecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.dr.count_to(State::Down) == 1);
    CHECK(w.ur.count_to(State::Down) == 1);
}

TEST_CASE("a tunnel that its administrator takes down is down at the other end within a message") {
    World w;
    w.run(20 * kSecond);
    w.dr.engine->set_admin(w.now, w.dr.tunnels[0], Admin::Down);
    w.run(15 * kMillisecond);
    CHECK(w.status(w.ur, 0).cause == Cause::PeerAdminDown);
    CHECK(w.ur.eligible() == 2);
    w.run(30 * kSecond);
    CHECK(w.state(w.dr, 0) == State::AdminDown);
    CHECK(w.status(w.dr, 0).flaps == 0);
    w.dr.engine->line_state(w.now, w.dr.tunnels[0], false);
    w.dr.engine->line_state(w.now, w.dr.tunnels[0], true);
    CHECK(w.status(w.dr, 0).cause == Cause::AdminDown);
    w.dr.engine->set_admin(w.now, w.dr.tunnels[0], Admin::Up);
    CHECK(w.run_until([&] { return w.state(w.ur, 0) == State::Up; }, 2 * kSecond));
    CHECK(w.run_until([&] { return w.dr.eligible() == 3; }, kSecond));
}

TEST_CASE("a line that stands by has the standby interval, and the active one when it is needed") {
    World w;
    w.run(20 * kSecond);
    CHECK(w.status(w.dr, 0).tx_interval_us == 100'000);
    CHECK(w.status(w.dr, 1).tx_interval_us == 500'000);
    CHECK(w.status(w.ur, 1).tx_interval_us == 500'000);
    w.cut(0);
    REQUIRE(w.run_until([&] { return w.status(w.dr, 0).suspect_rx; }, kSecond));
    w.run(50 * kMillisecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.status(w.dr, 1).tx_interval_us == 100'000);
    CHECK(w.status(w.ur, 1).tx_interval_us == 100'000);
}

TEST_CASE("an end that nobody answers starts fast, slows down, and says so to its host") {
    Setup s;
    s.lines = 1;
    World w(s);
    w.cut(0);
    w.run(kSecond);
    CHECK(w.ur.sent >= 10);
    CHECK(w.ur.sent <= 14);
    const auto sent = w.ur.sent;
    w.run(60 * kSecond);
    CHECK(w.ur.sent - sent >= 60);
    CHECK(w.ur.sent - sent <= 82);
    CHECK(w.ur.count(EventKind::Unanswered) == 3);  // 3, 10, 30 s
    CHECK(w.dr.sent == 0);                          // it knows no address
    w.cut(0, false);
    CHECK(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, 1200 * kMillisecond));
}

TEST_CASE("a DR whose UR is gone for a minute asks for it each ten seconds only") {
    Setup s;
    s.lines = 1;
    World w(s);
    w.run(5 * kSecond);
    w.cut(0);
    w.run(80 * kSecond);
    const auto sent = w.dr.sent;
    w.run(60 * kSecond);
    CHECK(w.dr.sent - sent >= 6);
    CHECK(w.dr.sent - sent <= 9);
}

TEST_CASE(
    "the metered profile stands by with one message in 20 s, and asks again before it gives up") {
    Setup s;
    s.profile = ProfileId::Metered;
    World w(s);
    w.run(60 * kSecond);
    unsigned messages = 0;
    w.tap = [&](const Packet& p) { messages += p.line == 1 ? 1 : 0; };
    w.run(600 * kSecond);
    CHECK(messages >= 60);
    CHECK(messages <= 90);
    CHECK(w.dr.count_to(State::Down) == 0);
    // The end that has been waiting for longer tells the other.
    const Time last = std::min(w.status(w.dr, 1).last_received, w.status(w.ur, 1).last_received);
    w.cut(1);
    messages = 0;
    REQUIRE(w.run_until([&] { return w.state(w.dr, 1) == State::Down; }, 60 * kSecond));
    CHECK(w.now - last >= 22 * kSecond);
    CHECK(w.now - last <= 44 * kSecond);
    CHECK(messages >= 5);
}

TEST_CASE("one lost message of a metered line that stands by is asked for and does no harm") {
    Setup s;
    s.profile = ProfileId::Metered;
    World w(s);
    w.run(60 * kSecond);
    unsigned lose = 2;
    w.up[1].drop = [&](const Packet&) { return lose != 0 && lose-- != 0; };
    w.run(120 * kSecond);
    CHECK(lose == 0);
    CHECK(w.dr.count(EventKind::Suspect) >= 1);
    CHECK(w.dr.count_to(State::Down) == 0);
    CHECK(w.ur.count_to(State::Down) == 0);
}

TEST_CASE("a standby line that loses four messages in a row is asked and does not go down") {
    World w;
    w.run(60 * kSecond);
    REQUIRE(w.status(w.ur, 1).tx_interval_us == 500'000);
    unsigned lose = 4;
    w.up[1].drop = [&](const Packet&) { return lose != 0 && lose-- != 0; };
    w.run(10 * kSecond);
    CHECK(lose == 0);
    CHECK(w.dr.count(EventKind::Suspect) >= 1);
    CHECK(w.dr.count_to(State::Down) == 0);
    CHECK(w.ur.count_to(State::Down) == 0);
    CHECK(w.status(w.dr, 1).detection_us == w.status(w.dr, 0).detection_us + 1'500'000);

    w.cut(1);
    CHECK(w.run_until([&] { return w.state(w.dr, 1) == State::Down; }, 3 * kSecond));
    CHECK(w.run_until([&] { return w.state(w.ur, 1) == State::Down; }, kSecond));
}

TEST_CASE("after a false down the detection time is longer") {
    World w;
    w.run(20 * kSecond);
    w.cut(0);
    w.run(1300 * kMillisecond);
    REQUIRE(w.state(w.dr, 0) == State::Down);
    w.cut(0, false);
    w.run(kSecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.dr.engine->statistics().false_downs == 1);
    CHECK(w.status(w.dr, 0).detection_us >= 1'500'000);
}

TEST_CASE("an end that was not run for long does not blame its peer") {
    World w;
    w.run(20 * kSecond);
    w.now += 3 * kSecond;  // nobody ran
    w.run(kSecond);
    CHECK(w.dr.count_to(State::Down) == 0);
    CHECK(w.ur.count_to(State::Down) == 0);
}

TEST_CASE("messages that were overtaken do not count as jitter of those that were not") {
    World w;
    w.run(kSecond);
    std::vector<Packet> held;
    std::vector<Packet> overtaken;
    constexpr std::size_t kCounterEnds = 23;
    w.up[0].drop = [&](const Packet& p) {
        if (p.bytes[kCounterEnds] % 2 != 0) return false;
        held.push_back(p);
        return true;
    };
    for (unsigned i = 0; i < 300; ++i) {
        w.run(150 * kMillisecond);
        for (const Packet& p : overtaken) w.inject(w.dr, 0, p.bytes, p.from);
        overtaken = std::exchange(held, {});
    }
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.dr.engine->statistics().replayed == 0);
    CHECK(w.status(w.dr, 0).jitter_us < 2'000);
}

TEST_CASE("round trip, jitter and the outage are measured") {
    World w;
    w.down[0].delay = 30 * kMillisecond;
    w.run(30 * kSecond);
    CHECK(w.status(w.dr, 0).srtt_us == Approx(41'000).margin(2'000));
    CHECK(w.status(w.ur, 0).srtt_us == Approx(41'000).margin(2'000));
    CHECK(w.status(w.dr, 0).jitter_us < 2'000);
    CHECK(w.status(w.dr, 0).minute.rtt_avg_us == Approx(41'000).margin(2'000));
    CHECK(w.status(w.dr, 0).second.messages >= 8);
    w.cut(0);
    w.run(10 * kSecond);
    w.cut(0, false);
    REQUIRE(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, 3 * kSecond));
    Time outage = 0;
    for (const Event& e : w.dr.events) {
        if (e.kind == EventKind::StateChanged && e.to == State::Up) outage = e.outage;
    }
    CHECK(outage >= 10 * kSecond);
    CHECK(outage <= 11500 * kMillisecond);
}

TEST_CASE("rows are taken and given back, and limits hold") {
    World w;
    Engine& e = *w.dr.engine;
    CHECK_FALSE(e.add_tunnel(w.now, w.tunnel_config(w.dr, 0)).valid());  // the line is taken
    CHECK_FALSE(e.add_group(w.now, {}).valid());
    CHECK_FALSE(e.set_policy(w.now, 1, {}));
    w.run(2 * kSecond);
    e.remove_tunnel(w.now, w.dr.tunnels[0]);
    CHECK(w.dr.eligible() == 2);
    w.dr.tunnels[0] = e.add_tunnel(w.now, w.tunnel_config(w.dr, 0));
    CHECK(w.dr.tunnels[0].valid());
    CHECK(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, 2 * kSecond));
    for (const std::uint32_t any : {0U, 5U, 0xffffffffU}) e.prefetch({any});
    e.remove_group(w.now, w.dr.group);
    const auto sent = w.dr.sent;
    e.run(w.now + 100 * kSecond);
    CHECK(w.dr.sent == sent);
    CHECK(e.next_deadline() == kNever);
    CHECK(e.add_group(w.now, {}).valid());
    std::string error;
    CHECK(Engine::create({}, {0, 1, 1, 1}, w.dr, &error) == nullptr);
    CHECK(error.find("limits.tunnels") != std::string::npos);
}

TEST_CASE("a tunnel that is not up shows no round trip, and why it is half up") {
    World w;
    w.run(20 * kSecond);
    CHECK(w.status(w.dr, 0).srtt_us != 0);
    CHECK(w.status(w.dr, 0).cause == Cause::HandshakeComplete);
    // What the DR sends is lost: the router goes down, and is heard.
    w.down[0].cut = true;
    w.run(20 * kSecond);
    CHECK(w.state(w.dr, 0) != State::Up);
    CHECK(w.status(w.dr, 0).srtt_us == 0);
    CHECK(w.status(w.dr, 0).rtt_p95_us == 0);
    CHECK(w.status(w.dr, 0).jitter_us == 0);
    CHECK(w.state(w.dr, 0) == State::Init);
    CHECK(w.status(w.dr, 0).cause == Cause::PeerNotUpYet);
    w.down[0].cut = false;
    CHECK(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, 10 * kSecond));
    CHECK(w.status(w.dr, 0).cause == Cause::HandshakeComplete);
}

TEST_CASE("a peer that never answers is told of four times, however long it is silent") {
    World w;
    w.run(20 * kSecond);
    w.cut(0);
    w.run(3600 * kSecond);
    CHECK(w.ur.count(EventKind::Unanswered) == 4);
    CHECK(w.dr.count(EventKind::Unanswered) == 4);
    // After it has been up again it counts from the beginning.
    w.cut(0, false);
    CHECK(w.run_until([&] { return w.state(w.dr, 0) == State::Up; }, 60 * kSecond));
    w.cut(0);
    w.run(20 * kSecond);
    CHECK(w.ur.count(EventKind::Unanswered) == 6);
}

TEST_CASE("messages that were held up and then come in order make the detection time longer") {
    World w;
    w.run(20 * kSecond);
    for (int n = 0; n < 6; ++n) {
        const Time until = w.now + 1200 * kMillisecond;
        for (; w.now < until; w.run(kMillisecond)) {
            w.down[0].delay = w.up[0].delay = until - w.now + 10 * kMillisecond;
        }
        w.down[0].delay = w.up[0].delay = 10 * kMillisecond;
        w.run(20 * kSecond);
        REQUIRE(w.state(w.dr, 0) == State::Up);
    }
    for (const End* end : {&w.dr, &w.ur}) {
        CHECK(end->engine->statistics().false_downs == 1);
        CHECK(end->count_to(State::Down) <= 2);
        CHECK(w.status(*end, 0).detection_us >= 1'400'000);
    }
}

TEST_CASE("a peer that was away for longer than the detection time beyond it was down indeed") {
    World w;
    w.run(20 * kSecond);
    w.cut(0);
    w.run(2200 * kMillisecond);
    w.cut(0, false);
    w.run(10 * kSecond);
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.dr.engine->statistics().false_downs == 0);
    CHECK(w.status(w.dr, 0).detection_us == 1'000'000);
}
