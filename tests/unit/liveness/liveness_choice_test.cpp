// Who carries the traffic, and when a line comes back.
#include <bit>
#include <catch2/catch.hpp>

#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

TEST_CASE("a line that went down comes back after five clean seconds and its wait-to-restore") {
    World w;
    w.run(20 * kSecond);
    fail(w, 0);
    CHECK(w.dr.eligible() == 2);
    CHECK(w.status(w.dr, 0).ineligible == Cause::WaitToRestore);
    CHECK(w.status(w.dr, 0).restore_ms_left > 60'000);
    CHECK(until_eligible(w, 3, 100 * kSecond) == Approx(65).margin(1));
    CHECK(w.dr.choices.back().moving);  // bucket by bucket
    w.run(kSecond);
    CHECK(w.ur.eligible() == 3);
}

TEST_CASE("wait-to-restore 0 means never by itself, until nothing else is left") {
    Setup s = quick();
    s.restore_ms = 0;
    World w(s);
    w.run(5 * kSecond);
    fail(w, 0);
    w.run(600 * kSecond);
    CHECK(w.dr.eligible() == 2);
    w.cut(1);
    w.run(1500 * kMillisecond);
    CHECK(w.dr.eligible() == 1);
    CHECK(w.ur.eligible() == 1);
}

TEST_CASE("suspicion during the wait starts it again") {
    Setup s = quick();
    s.restore_ms = 10'000;
    World w(s);
    w.run(5 * kSecond);
    fail(w, 0);
    w.run(8 * kSecond);
    const Time gone = w.now;
    w.cut(0);
    REQUIRE(w.run_until([&] { return w.status(w.dr, 0).suspect_rx; }, 2 * kSecond));
    w.cut(0, false);
    REQUIRE(w.run_until([&] { return !w.status(w.dr, 0).suspect_rx; }, kSecond));
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(until_eligible(w, 3, 60 * kSecond) == Approx(11).margin(0.5));
    CHECK(w.now - gone > 11 * kSecond);
}

TEST_CASE("a dying active line overrides the wait of the one that could replace it") {
    World w;
    w.run(20 * kSecond);
    fail(w, 0);
    REQUIRE(w.dr.eligible() == 2);
    w.cut(1);
    w.run(1100 * kMillisecond);
    CHECK(w.dr.eligible() == 1);
    CHECK(w.ur.eligible() == 1);
    w.run(100 * kMillisecond);
    CHECK(w.status(w.dr, 0).ineligible == Cause::None);
}

TEST_CASE("with a better line waiting, the death of the active one takes it before a lower tier") {
    Setup s;
    s.lines = 3;
    World w(s);
    w.run(20 * kSecond);
    fail(w, 0);
    REQUIRE(w.dr.eligible() == 6);
    w.cut(1);
    w.run(1100 * kMillisecond);
    CHECK(w.dr.eligible() == 5);
}

TEST_CASE("a line that flaps each 30 s changes the active path at most three times in an hour") {
    World w;
    w.run(20 * kSecond);
    unsigned changes = 0;
    std::uint16_t active = w.dr.eligible() & 1;
    for (int i = 0; i < 120; ++i) {
        w.cut(0, i % 2 == 0);
        for (int s = 0; s < 30; ++s) {
            w.run(kSecond);
            const std::uint16_t now_active = w.dr.eligible() & 1;
            changes += now_active != active ? 1 : 0;
            active = now_active;
        }
    }
    CHECK(changes >= 1);
    CHECK(changes <= 3);
    CHECK(w.dr.eligible() != 0);
}

TEST_CASE("a line that went down four times is damped even when its wait is over") {
    Setup s = quick();
    s.tuning.restore_max_us = 1;
    World w(s);
    w.run(5 * kSecond);
    for (int i = 0; i < 4; ++i) fail(w, 0);
    w.run(5 * kSecond);
    CHECK(w.dr.eligible() == 2);
    CHECK(w.status(w.dr, 0).ineligible == Cause::Damped);
    w.cut(1);
    w.run(1500 * kMillisecond);
    CHECK(w.dr.eligible() == 1);  // never the last usable one
    w.cut(1, false);
    CHECK(w.run_until([&] { return w.dr.eligible() == 3; }, 600 * kSecond));
}

TEST_CASE("the last usable line stays in use whatever happens to it") {
    Setup s = quick();
    s.lines = 1;
    World w(s);
    w.run(5 * kSecond);
    for (int i = 0; i < 6; ++i) {
        fail(w, 0);
        w.run(200 * kMillisecond);
        CHECK(w.dr.eligible() == 1);
        CHECK(w.ur.eligible() == 1);
    }
}

TEST_CASE("a class whose lines all fall silent keeps its last line, and a strict one has none") {
    Setup s = quick();
    s.strict = GENERATE(false, true);
    CAPTURE(s.strict);
    World w(s);
    w.run(5 * kSecond);
    w.cut(0);
    REQUIRE(w.run_until([&] { return w.dr.eligible() == 2; }, 2 * kSecond));
    w.cut(1);
    w.run(30 * kSecond);
    CHECK(w.state(w.dr, 1) == State::Down);
    CHECK(w.dr.eligible() == (s.strict ? 0 : 2));
    CHECK(w.ur.eligible() == (s.strict ? 0 : 2));
    // The other one comes back first.
    w.cut(0, false);
    CHECK(w.run_until([&] { return w.dr.eligible() == 1 && w.ur.eligible() == 1; }, 5 * kSecond));
}

TEST_CASE("a class keeps its last line while that comes up again, message by message") {
    Setup setup;
    setup.lines = 1;
    World w(setup);
    w.run(15 * kSecond);
    REQUIRE(w.dr.eligible() == 1);
    for (Path* path : {&w.down[0], &w.up[0]}) path->delay = 200 * kMillisecond;
    w.run(5 * kSecond);
    w.cut(0);
    w.run(10 * kSecond);
    REQUIRE(w.state(w.dr, 0) == State::Down);
    w.cut(0, false);
    bool init = false;
    for (int n = 0; n < 3'000 && w.state(w.dr, 0) != State::Up; ++n) {
        w.run(kMillisecond);
        init = init || w.state(w.dr, 0) == State::Init || w.state(w.ur, 0) == State::Init;
        REQUIRE(w.dr.eligible() == 1);
        REQUIRE(w.ur.eligible() == 1);
    }
    CHECK(init);
    CHECK(w.state(w.dr, 0) == State::Up);
}

TEST_CASE("data of a UR that stops only its keepalives goes on, in both directions") {
    World w(quick());
    w.run(5 * kSecond);
    // Its program has stopped: it neither sends nor takes messages, and data passes.
    w.up[0].drop = w.up[1].drop = w.down[0].drop =
        w.down[1].drop = [](const Packet&) { return true; };
    for (int i = 0; i < 30; ++i) {
        w.run(kSecond);
        CHECK(w.dr.eligible() != 0);
    }
    w.up[0].drop = w.up[1].drop = w.down[0].drop = w.down[1].drop = nullptr;
    CHECK(w.run_until([&] { return w.dr.eligible() == 3; }, 60 * kSecond));
}

TEST_CASE("a peer that says goodbye, and a link that is down, are no last resort") {
    World w(quick());
    w.run(5 * kSecond);
    SECTION("goodbye") {
        for (unsigned line = 0; line < 2; ++line)
            w.ur.engine->set_admin(w.now, w.ur.tunnels[line], Admin::Down);
        w.run(kSecond);
        CHECK(w.dr.eligible() == 0);
        CHECK(w.ur.eligible() == 0);
    }
    SECTION("links") {
        for (unsigned line = 0; line < 2; ++line)
            w.ur.engine->line_state(w.now, w.ur.tunnels[line], false);
        w.run(kSecond);
        CHECK(w.ur.eligible() == 0);
    }
}

TEST_CASE("a strict class rather has no line than one that is not eligible") {
    Setup s = quick();
    s.strict = true;
    World w(s);
    w.run(5 * kSecond);
    fail(w, 0);
    CHECK(w.dr.eligible() == 2);
    w.cut(1);
    w.run(1100 * kMillisecond);
    w.engine_drain(w.dr, 0);
    w.run(200 * kMillisecond);
    CHECK(w.dr.eligible() == 0);
    CHECK(w.ur.eligible() == 0);
}

TEST_CASE(
    "a path that answers keepalives and loses data is left within 1.5 s, in either direction") {
    const bool downlink = GENERATE(true, false);
    Setup s = quick();
    s.restore_ms = 20'000;
    World w(s);
    w.set_traffic(0, 200);
    w.run(10 * kSecond + 137 * kMillisecond);
    REQUIRE(w.dr.eligible() == 3);
    (downlink ? w.down[0] : w.up[0]).cut_data = true;
    CHECK(w.run_until([&] { return w.dr.eligible() == 2 && w.ur.eligible() == 2; },
                      1500 * kMillisecond));
    CHECK(w.state(w.dr, 0) == State::Up);
    CHECK(w.status(w.dr, 0).ineligible == Cause::DataLost);
    w.set_traffic(0, 0);
    // With no data there is nothing to judge by: another try when the wait is over.
    CHECK(until_eligible(w, 3, 60 * kSecond) > 20);
    w.set_traffic(0, 200);
    CHECK(w.run_until([&] { return w.dr.eligible() == 2; }, 2 * kSecond));
    w.set_traffic(0, 0);
    CHECK(until_eligible(w, 3, 100 * kSecond) > 35);
}

TEST_CASE("when all lines have lost data, the one that was found out longer ago is tried again") {
    const bool downlink = GENERATE(true, false);
    Setup s = quick();
    s.tier = {0, 1, 2, 3};
    s.restore_ms = 600'000;
    World w(s);
    unsigned lossy = 9;
    w.lose_data = [&](unsigned line, bool to_dr) { return line == lossy && to_dr != downlink; };
    const auto carry = [&](unsigned line) {
        w.set_traffic(line, 200);
        w.set_traffic(1 - line, 0);
        w.run(8 * kSecond);
    };
    const auto leaves = [&](unsigned line) {
        lossy = line;
        return w.run_until(
            [&] { return w.status(w.dr, 1 - line).active && !w.status(w.dr, line).active; },
            2 * kSecond);
    };
    carry(0);
    REQUIRE(w.status(w.dr, 0).active);
    CHECK(leaves(0));
    carry(1);
    CHECK(leaves(1));
    carry(0);
    CHECK(leaves(0));
    carry(1);
    CHECK(leaves(1));
    CHECK(w.status(w.dr, 0).degraded);
    CHECK(w.status(w.dr, 1).degraded);
}

TEST_CASE("half of the data lost for two seconds is enough to leave, a tenth is not") {
    Setup s = quick();
    World w(s);
    w.set_traffic(0, 100);
    w.run(5 * kSecond);
    unsigned n = 0;
    unsigned lose = 1;
    w.lose_data = [&](unsigned line, bool to_dr) { return line == 0 && !to_dr && ++n % 10 < lose; };
    w.run(20 * kSecond);
    CHECK(w.dr.eligible() == 3);
    lose = 7;
    CHECK(w.run_until([&] { return w.dr.eligible() == 2; }, 4 * kSecond));
}

TEST_CASE("a burst in which everything is lost is not taken for lost data") {
    Setup s = quick();
    World w(s);
    w.set_traffic(0, 1000);
    w.run(10 * kSecond);
    for (int i = 0; i < 20; ++i) {
        w.cut(0);
        w.run(850 * kMillisecond);
        w.cut(0, false);
        w.run(3 * kSecond);
    }
    CHECK(w.dr.count(EventKind::Degraded) == 0);
    CHECK(w.ur.count(EventKind::Degraded) == 0);
    CHECK(w.dr.count_to(State::Down) == 0);
}

TEST_CASE("a drained line is left bucket by bucket, idle buckets first, the rest after 30 s") {
    Setup s = quick();
    World w(s);
    w.run(5 * kSecond);
    w.dr.ages.fill(10'000);
    for (unsigned b = 0; b < 100; ++b) w.dr.ages[b] = 0;
    w.engine_drain(w.dr, 0);
    w.run(150 * kMillisecond);
    const auto& c = w.dr.choices.back();
    CHECK(c.moving);
    CHECK(c.eligible[0] == 2);
    CHECK(c.previous[0] == 3);
    CHECK((c.moved[0] & 1) == 0);
    CHECK((c.moved[1] >> 63) == 1);
    w.run(29 * kSecond);
    CHECK(w.dr.choices.back().moving);
    CHECK(w.run_until([&] { return !w.dr.choices.back().moving; }, 2 * kSecond));
    CHECK(w.dr.events.back().kind == EventKind::MoveFinished);
    CHECK(w.dr.events.back().value == 100);
    CHECK(w.ur.eligible() == 2);
    CHECK(w.state(w.ur, 0) == State::Up);
    for (std::size_t i = 1; i < w.dr.choices.size(); ++i) {
        unsigned before = 0;
        unsigned after = 0;
        if (!w.dr.choices[i].moving || !w.dr.choices[i - 1].moving) continue;
        for (unsigned word = 0; word < 4; ++word) {
            before += static_cast<unsigned>(std::popcount(w.dr.choices[i - 1].moved[word]));
            after += static_cast<unsigned>(std::popcount(w.dr.choices[i].moved[word]));
        }
        if (before != 0) CHECK(after - before <= 25);
    }
}

TEST_CASE(
    "a line that a planned move has left stands by: nothing on it, keepalives at its interval") {
    World w(quick());
    w.run(5 * kSecond);
    w.dr.ages.fill(10'000);
    w.ur.ages.fill(10'000);
    CHECK(w.status(w.dr, 0).active);
    w.engine_drain(w.dr, 0);
    w.run(3 * kSecond);
    REQUIRE(w.dr.count(EventKind::MoveFinished) == 1);
    for (const End* end : {&w.dr, &w.ur}) {
        CHECK_FALSE(w.status(*end, 0).active);
        CHECK(w.status(*end, 1).active);
        CHECK(w.status(*end, 0).tx_interval_us == 500'000);
    }
}

TEST_CASE("a line that dies during a planned move ends it at once") {
    Setup s = quick();
    World w(s);
    w.run(5 * kSecond);
    w.engine_drain(w.dr, 0);
    w.run(500 * kMillisecond);
    REQUIRE(w.dr.choices.back().moving);
    REQUIRE(w.ur.choices.back().moving);
    SECTION("the one that is moved to") {
        w.cut(1);
        w.run(1200 * kMillisecond);
        CHECK(w.dr.eligible() == 1);
    }
    SECTION("the one that is left, with buckets still on it") {
        w.cut(0);
        w.run(1200 * kMillisecond);
        CHECK(w.dr.eligible() == 2);
        CHECK(w.ur.eligible() == 2);
    }
    SECTION("the one that is left loses data") {
        w.set_traffic(0, 100);
        w.down[0].cut_data = true;
        w.run(1500 * kMillisecond);
        CHECK(w.dr.eligible() == 2);
    }
    CHECK_FALSE(w.dr.choices.back().moving);
    CHECK_FALSE(w.ur.choices.back().moving);
    CHECK(w.dr.count(EventKind::MoveFinished) == 1);
}

TEST_CASE("a UR follows the set of its DR, and leaves at once a line that it knows to be down") {
    World w;
    w.run(20 * kSecond);
    w.engine_drain(w.dr, 0);
    w.run(200 * kMillisecond);
    CHECK(w.ur.eligible() == 2);
    const Time start = w.now;
    w.ur.engine->line_state(w.now, w.ur.tunnels[1], false);
    CHECK(w.ur.eligible() == 1);  // in the same call
    CHECK(w.run_until([&] { return w.dr.eligible() == 1; }, 150 * kMillisecond));
    CHECK(w.now - start <= 15 * kMillisecond);  // one keepalive over the other line
    CHECK(w.status(w.dr, 1).cause == Cause::ReportedElsewhere);
}
