// Lines that stand by and are seldom heard: asked when they may be needed.
#include <catch2/catch.hpp>

#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

namespace {

// The second line is metered and the third is not.
Setup metered_second() {
    Setup s;
    s.lines = 3;
    s.metered = 2;
    return s;
}

}  // namespace

TEST_CASE("a metered line that died standing by is not chosen when the line in use falls silent") {
    World w(metered_second());
    w.run(60 * kSecond);
    const bool data_alone = GENERATE(false, true);
    CAPTURE(data_alone);
    w.set_traffic(0, 200);
    w.run(2 * kSecond);
    REQUIRE(w.in_use(w.dr) == 0);
    w.cut(1);
    w.run(500 * kMillisecond);
    REQUIRE(w.state(w.dr, 1) == State::Up);
    if (data_alone) {
        w.down[0].cut_data = true;
    } else {
        w.cut(0);
    }
    REQUIRE(w.run_until([&] { return w.in_use(w.dr) != 0; }, 3 * kSecond));
    CHECK(w.in_use(w.dr) == 2);
    CHECK(w.run_until([&] { return w.in_use(w.ur) == 2; }, 100 * kMillisecond));
    w.run(5 * kSecond);
    CHECK(w.in_use(w.dr) == 2);
}

TEST_CASE("a metered line that died standing by is down two seconds after it is needed") {
    Setup s;
    s.metered = 2;
    World w(s);
    w.run(60 * kSecond);
    w.cut(1);
    w.run(500 * kMillisecond);
    w.cut(0);
    CHECK(w.run_until([&] { return w.state(w.dr, 1) == State::Down; }, 3500 * kMillisecond));
    CHECK(w.run_until([&] { return w.state(w.ur, 1) == State::Down; }, kSecond));
}

TEST_CASE("a metered line that stands by is asked and found well, however its answers are lost") {
    World w(metered_second());
    w.run(60 * kSecond);
    w.down[1].delay = w.up[1].delay = 150 * kMillisecond;
    for (unsigned line = 0; line < 3; ++line) {
        w.down[line].drop =
            w.up[line].drop = [&](const Packet&) { return w.dr.random() % 20 == 0; };
    }
    for (int n = 0; n < 60; ++n) {
        w.cut(0);
        w.run((400 + 20 * static_cast<unsigned>(n % 20)) * kMillisecond);
        w.cut(0, false);
        w.run(20 * kSecond);
    }
    CHECK(w.dr.count_to(State::Down) + w.ur.count_to(State::Down) == 0);
    CHECK(w.status(w.dr, 1).tx_interval_us == 20'000'000);
    w.cut(0);
    REQUIRE(w.run_until([&] { return w.in_use(w.dr) != 0; }, 4 * kSecond));
    CHECK(w.in_use(w.dr) == 1);
}

TEST_CASE("a few lost packets and then none wake a metered line for two seconds only") {
    World w(metered_second());
    w.run(60 * kSecond);
    for (Path* path : {&w.down[0], &w.up[0]}) {
        path->cut_data = true;
        w.set_traffic(0, 100);
        w.run(100 * kMillisecond);
        w.set_traffic(0, 0);
        path->cut_data = false;
        w.run(10 * kSecond);
        for (const End* end : {&w.dr, &w.ur}) {
            CHECK(w.status(*end, 1).tx_interval_us == 20'000'000);
            CHECK(end->count(EventKind::Degraded) == 0);
        }
    }
}
