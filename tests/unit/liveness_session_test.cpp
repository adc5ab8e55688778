#include <catch2/catch.hpp>

#include "tests/unit/liveness_world.h"

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
