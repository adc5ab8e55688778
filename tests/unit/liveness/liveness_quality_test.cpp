// What a class may ask of its lines.
#include <catch2/catch.hpp>

#include "tests/unit/liveness/liveness_world.h"

using namespace dr::liveness;
using namespace dr::liveness::test;

TEST_CASE("a class's limit of loss is judged over a minute, and by lost messages alone") {
    World w(quick());
    Policy policy;
    policy.klass[0].tier[0] = 0;
    policy.klass[0].tier[1] = 1;
    policy.klass[0].max_loss_permille = 50;
    REQUIRE(w.dr.engine->set_policy(w.now, 0, policy));
    std::uint64_t seed = 7;
    unsigned permille = 10;
    w.up[0].drop = [&](const Packet&) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        return (seed >> 33) % 1000 < permille;
    };
    w.run(20 * kSecond);
    // A line that loses less than the limit stays, and one burst is no quality.
    const auto left = [&](Time most) { return until_eligible(w, 2, most); };
    CHECK(left(1200 * kSecond) == -1);
    permille = 1000;
    w.run(400 * kMillisecond);
    permille = 0;
    CHECK(left(30 * kSecond) == -1);
    permille = 200;
    const double time = left(100 * kSecond);
    CHECK(time > 2);
    CHECK(time < 40);
    CHECK(w.status(w.dr, 0).ineligible == Cause::QualityViolated);
    CHECK(w.status(w.dr, 0).violating == 1);
    permille = 0;
    CHECK(until_eligible(w, 3, 300 * kSecond) > 29);
}

TEST_CASE("an outage is not held against a line's quality") {
    World w(quick());
    Policy policy;
    policy.klass[0].tier[0] = policy.klass[0].tier[1] = 0;
    policy.klass[0].max_loss_permille = 20;
    REQUIRE(w.dr.engine->set_policy(w.now, 0, policy));
    w.run(10 * kSecond);
    fail(w, 0);
    w.run(kSecond);
    for (int n = 0; n < 20; ++n) {
        w.run(kSecond);
        CHECK(w.status(w.dr, 0).violating == 0);
    }
}

TEST_CASE("without a line that keeps the limits a strict class has none, another the least bad") {
    World w(quick());
    Policy policy;
    policy.classes = 2;
    for (unsigned c = 0; c < 2; ++c) {
        policy.klass[c].tier[0] = policy.klass[c].tier[1] = 0;
        policy.klass[c].max_rtt_ms = 100;
    }
    policy.klass[1].strict = true;
    for (End* end : {&w.dr, &w.ur}) REQUIRE(end->engine->set_policy(w.now, 0, policy));
    w.run(10 * kSecond);
    REQUIRE(w.dr.eligible(1) == 3);
    w.down[0].delay = w.down[1].delay = 120 * kMillisecond;
    REQUIRE(w.run_until([&] { return w.dr.eligible(1) == 0; }, 20 * kSecond));
    CHECK(w.dr.eligible(0) == 3);
    w.run(kSecond);
    CHECK(w.ur.eligible(0) == 3);
    CHECK(w.ur.eligible(1) == 0);
    // Both ends judge, and alike.
    for (const End* end : {&w.dr, &w.ur})
        for (unsigned line = 0; line < 2; ++line) CHECK(w.status(*end, line).violating == 3);
}

TEST_CASE("other limits are judged by what comes after them") {
    World w(quick());
    Policy policy;
    policy.klass[0].tier[0] = policy.klass[0].tier[1] = 0;
    policy.klass[0].max_rtt_ms = 100;
    REQUIRE(w.dr.engine->set_policy(w.now, 0, policy));
    w.dr.ages.fill(1000);  // idle: planned moves end at once
    w.run(10 * kSecond);
    w.down[0].delay = 120 * kMillisecond;
    REQUIRE(until_eligible(w, 2, 20 * kSecond) > 0);
    policy.klass[0].strict = true;  // no limit of its own: what was found stands
    REQUIRE(w.dr.engine->set_policy(w.now, 0, policy));
    CHECK(w.dr.eligible() == 2);
    policy.klass[0].max_rtt_ms = 200;
    REQUIRE(w.dr.engine->set_policy(w.now, 0, policy));
    CHECK(w.status(w.dr, 0).violating == 0);
    CHECK(until_eligible(w, 3, kSecond) >= 0);
    policy.klass[0].max_rtt_ms = 0;
    REQUIRE(w.dr.engine->set_policy(w.now, 0, policy));
    w.run(10 * kSecond);
    CHECK(w.dr.eligible() == 3);
}

TEST_CASE(
    "a class's quality limits move it after three bad seconds, and back after thirty good ones") {
    Setup s = quick();
    World w(s);
    Policy policy;
    policy.klass[0].tier[0] = 0;
    policy.klass[0].tier[1] = 1;
    policy.klass[0].max_rtt_ms = 100;
    REQUIRE(w.dr.engine->set_policy(w.now, 0, policy));
    w.run(10 * kSecond);
    REQUIRE(w.dr.eligible() == 3);
    w.down[0].delay = 120 * kMillisecond;
    const double left = until_eligible(w, 2, 10 * kSecond);
    CHECK(left > 2);
    CHECK(left < 6);
    CHECK(w.status(w.dr, 0).ineligible == Cause::QualityViolated);
    w.down[0].delay = 10 * kMillisecond;
    const double back = until_eligible(w, 3, 100 * kSecond);
    CHECK(back >= 29);
    CHECK(back < 40);
}

TEST_CASE("a line that breaks a limit whenever it carries is returned to ever more seldom") {
    World w(quick());
    Policy policy;
    policy.klass[0].tier[0] = 0;
    policy.klass[0].tier[1] = 1;
    policy.klass[0].max_rtt_ms = 100;
    for (End* end : {&w.dr, &w.ur}) REQUIRE(end->engine->set_policy(w.now, 0, policy));
    w.dr.ages.fill(1000);  // idle: planned moves end at once
    w.run(10 * kSecond);
    REQUIRE(w.in_use(w.dr) == 0);
    std::array<unsigned, 2> changes{};
    for (const unsigned hour : {0U, 1U}) {
        unsigned line = w.in_use(w.dr);
        for (const Time end = w.now + 3600 * kSecond; w.now < end;) {
            // Somebody's upload fills the queue of the first line as long as it uses it.
            w.up[0].delay = w.in_use(w.dr) == 0 ? 300 * kMillisecond : 10 * kMillisecond;
            w.run(100 * kMillisecond);
            changes[hour] += w.in_use(w.dr) != line ? 1 : 0;
            line = w.in_use(w.dr);
        }
    }
    CHECK(changes[0] >= 9);
    CHECK(changes[0] <= 15);
    CHECK(changes[1] <= 5);
    // An hour without: as if for the first time.
    w.up[0].delay = 10 * kMillisecond;
    w.run(3 * 3600 * kSecond);
    REQUIRE(w.in_use(w.dr) == 0);
    w.up[0].delay = 300 * kMillisecond;
    REQUIRE(w.run_until([&] { return w.in_use(w.dr) == 1; }, 20 * kSecond));
    w.up[0].delay = 10 * kMillisecond;
    CHECK(w.run_until([&] { return w.in_use(w.dr) == 0; }, 40 * kSecond));
}
