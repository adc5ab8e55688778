// A peer that ends and starts again: what is held against its lines.
#include <catch2/catch.hpp>

#include "dataplane/liveness/restore.h"
#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

namespace {

// All of the UR's tunnels, as urd says goodbye.
void say_goodbye(World& w) {
    for (const auto tunnel : w.ur.tunnels) w.ur.engine->set_admin(w.now, tunnel, Admin::Down);
}

// The UR is away for so long, and starts again.
void away(World& w, Time time) {
    w.cut(0);
    w.cut(1);
    w.run(time);
    w.restart(false);
    w.cut(0, false);
    w.cut(1, false);
}

bool up(const World& w, unsigned line) {
    return w.state(w.dr, line) == State::Up && w.state(w.ur, line) == State::Up;
}

}  // namespace

TEST_CASE("a peer that says goodbye and starts again is used at once, and no flap is counted") {
    World w;
    w.run(20 * kSecond);
    say_goodbye(w);
    w.run(15 * kMillisecond);
    CHECK(w.status(w.dr, 0).cause == Cause::PeerAdminDown);
    CHECK(w.status(w.dr, 1).cause == Cause::PeerAdminDown);
    CHECK(w.dr.eligible() == 0);
    w.run(5 * kSecond);
    w.restart(false);
    const Time back = w.now;
    REQUIRE(w.run_until([&] { return up(w, 0) && up(w, 1) && w.dr.eligible() == 3; }, kSecond));
    for (unsigned line : {0U, 1U}) {
        CHECK(w.status(w.dr, line).flaps == 0);
        CHECK(w.status(w.dr, line).penalty == 0);
    }
    const Event* last = nullptr;
    for (const Event& event : w.dr.events)
        if (event.kind == EventKind::StateChanged && event.to == State::Up) last = &event;
    REQUIRE(last != nullptr);
    CHECK(last->outage >= 5 * kSecond);
    CHECK(last->outage <= 5 * kSecond + 100 * kMillisecond + (w.now - back));
}

TEST_CASE("silence of a peer that has started again is no flap of its lines") {
    World w;
    w.run(20 * kSecond);
    for (unsigned n = 0; n < 5; ++n) {
        away(w, 4 * kSecond);
        REQUIRE(w.run_until([&] { return up(w, 0) && up(w, 1); }, 2 * kSecond));
        CHECK(w.dr.eligible() == 3);
        for (unsigned line : {0U, 1U}) {
            CHECK(w.status(w.dr, line).flaps == 0);
            CHECK(w.status(w.dr, line).restore_ms_left == 0);
        }
        w.run(5 * kSecond);
    }
    CHECK(w.dr.count_to(State::Down) == 10);
}

TEST_CASE(
    "a line that failed before its peer started again, or a peer that was away for minutes, "
    "waits") {
    World w;
    w.run(20 * kSecond);
    w.cut(0);
    w.run(5 * kSecond);
    w.restart(false);  // the first remedy that people try
    w.run(kSecond);
    w.cut(0, false);
    REQUIRE(w.run_until([&] { return up(w, 0) && up(w, 1); }, 5 * kSecond));
    CHECK(w.status(w.dr, 0).flaps == 1);
    CHECK(w.status(w.dr, 0).restore_ms_left > 0);
    CHECK(w.dr.eligible() == 2);
    w.run(90 * kSecond);
    REQUIRE(w.dr.eligible() == 3);
    away(w, 130 * kSecond);
    REQUIRE(w.run_until([&] { return up(w, 0) && up(w, 1); }, 15 * kSecond));
    CHECK(w.status(w.dr, 0).flaps == 2);
    CHECK(w.status(w.dr, 1).flaps == 1);
}

TEST_CASE("what a peer sent before it ended may arrive late") {
    World w;
    w.up[1].delay = 1900 * kMillisecond;
    w.run(40 * kSecond);
    w.cut(0);
    w.run(20 * kMillisecond);
    w.cut(1);
    REQUIRE(w.run_until([&] { return w.state(w.dr, 0) == State::Down; }, 2 * kSecond));
    w.run(5 * kSecond);
    w.restart(false);
    w.cut(0, false);
    w.cut(1, false);
    REQUIRE(w.run_until([&] { return up(w, 0) && up(w, 1); }, 20 * kSecond));
    CHECK(w.status(w.dr, 0).flaps == 0);
}

TEST_CASE("a flap that is taken back leaves the wait of the one before") {
    constexpr std::uint32_t kBase = 60'000'000;
    const Tuning tuning;
    Restore r;
    r.flap(tuning, kBase, 100 * kSecond);
    r.flap(tuning, kBase, 110 * kSecond);
    r.forgive(tuning, 120 * kSecond);
    CHECK(r.flaps == 1);
    CHECK(r.pending);
    Restore alone;
    alone.flap(tuning, kBase, 100 * kSecond);
    alone.forgive(tuning, 120 * kSecond);
    CHECK(alone.flaps == 0);
    CHECK_FALSE(alone.pending);
}

TEST_CASE("the outage of a peer that started again within the detection time is told in full") {
    World w;
    w.run(20 * kSecond);
    away(w, 700 * kMillisecond);
    REQUIRE(w.run_until([&] { return up(w, 0) && up(w, 1); }, kSecond));
    const Event* last = nullptr;
    for (const Event& event : w.dr.events)
        if (event.kind == EventKind::StateChanged && event.to == State::Up &&
            event.tunnel.value == w.dr.tunnels[0].value)
            last = &event;
    REQUIRE(last != nullptr);
    CHECK(last->outage >= 700 * kMillisecond);
    CHECK(w.status(w.dr, 0).flaps == 0);
}
