// The engine's parts by themselves.
#include <catch2/catch.hpp>
#include <map>
#include <random>

#include "dataplane/liveness/choice.h"
#include "dataplane/liveness/detection.h"
#include "dataplane/liveness/quality.h"
#include "dataplane/liveness/restore.h"
#include "dataplane/liveness/session.h"
#include "dataplane/liveness/timer_wheel.h"

using namespace dr::liveness;

TEST_CASE("the timer wheel fires what a naive list fires, never early and at most a tick late") {
    constexpr std::uint32_t kEntries = 200;
    std::mt19937_64 random(GENERATE(1, 2, 3));
    TimerWheel wheel(kEntries);
    std::map<std::uint32_t, Time> model;
    Time now = 5'000'000 * kSecond + 123;
    wheel.skip_to(now);
    for (int step = 0; step < 20'000; ++step) {
        const auto entry = static_cast<std::uint32_t>(random() % kEntries);
        if (random() % 8 == 0) {
            wheel.cancel(entry);
            model.erase(entry);
        } else {
            const Time range = Time{1} << (random() % 46);  // up to 19 hours
            const Time at = now + random() % range;
            wheel.set(entry, at);
            model[entry] = at;
        }
        if (random() % 4 != 0) continue;
        const Time next = wheel.next();
        for (const auto& [e, at] : model) REQUIRE(next <= at + TimerWheel::kTick);
        now += random() % (Time{1} << (random() % 38));
        for (std::uint32_t e = wheel.expire(now); e != TimerWheel::kNone; e = wheel.expire(now)) {
            REQUIRE(model.count(e) == 1);
            REQUIRE(model[e] <= now);
            model.erase(e);
        }
        for (const auto& [e, at] : model) REQUIRE(at + TimerWheel::kTick > now);
    }
}

TEST_CASE("the state table is that of RFC 5880") {
    using enum State;
    const std::array<std::array<State, 4>, 4> table{{
        // received: AdminDown, Down, Init, Up
        {AdminDown, AdminDown, AdminDown, AdminDown},
        {Down, Init, Up, Down},
        {Down, Init, Up, Up},
        {Down, Down, Up, Up},
    }};
    for (unsigned own = 0; own < 4; ++own) {
        for (unsigned received = 0; received < 4; ++received) {
            CHECK(next_state(static_cast<State>(own), static_cast<State>(received)) ==
                  table[own][received]);
        }
    }
}

TEST_CASE("intervals are shortened by 0 to 25 %, and by 10 to 25 % where one loss is fatal") {
    CHECK(jittered(100'000, 3, 0) == 75 * kMillisecond);
    CHECK(jittered(100'000, 3, 0xffff) == 100 * kMillisecond);
    CHECK(jittered(100'000, 1, 0) == 75 * kMillisecond);
    CHECK(jittered(100'000, 1, 0xffff) == 90 * kMillisecond);
}

TEST_CASE("slower sending and stricter listening wait for the Final, the opposite does not") {
    Intervals n;
    n.want(100'000, true);
    n.final_received(1);
    n.want(500'000, true);
    CHECK(n.polling);
    CHECK(n.tx() == 100'000);
    CHECK(n.rx() == 500'000);
    n.final_received(1);
    CHECK(n.tx() == 500'000);
    n.want(100'000, true);
    CHECK(n.tx() == 100'000);
    CHECK(n.rx() == 500'000);
    n.final_received(1);
    CHECK(n.rx() == 100'000);
    n.peer_required = 300'000;
    n.peer_desired = 200'000;
    CHECK(n.tx() == 300'000);
    CHECK(n.rx() == 200'000);
}

TEST_CASE("a Final that answers an earlier wish does not confirm the present one") {
    Intervals n;
    n.want(100'000, false);
    n.sent_at = 0xffffff00;
    n.want(500'000, true);
    n.sent_at = 0xfffffff0;  // announces 500 ms
    n.want(100'000, true);
    n.final_received(0xfffffff0);
    CHECK(n.polling);
    CHECK(n.rx() == 500'000);
    n.sent_at = 16;  // announces 100 ms; the clock has gone round
    n.final_received(16);
    CHECK_FALSE(n.polling);
    CHECK(n.rx() == 100'000);
}

TEST_CASE(
    "wait-to-restore starts after a clean time, doubles with flaps up to a most, and shrinks") {
    Tuning k;
    Restore r;
    Time now = 1000 * kSecond;
    CHECK(r.due(k, 60'000'000, now) == 0);
    r.flap(k, 60'000'000, now);
    r.clean_since = now;
    CHECK(r.due(k, 60'000'000, now) == now + 65 * kSecond);
    r.flap(k, 60'000'000, now);
    CHECK(r.wait(k, 60'000'000, now) == 120'000'000);
    for (int i = 0; i < 10; ++i) r.flap(k, 60'000'000, now);
    CHECK(r.wait(k, 60'000'000, now) == 1'800'000'000);
    CHECK(r.wait(k, 60'000'000, now + 1800 * kSecond) == Approx(930'000'000).epsilon(0.001));
    CHECK(r.wait(k, 60'000'000, now + 3600 * kSecond) == 60'000'000);
    r.flap(k, 60'000'000, now + 3700 * kSecond);
    CHECK(r.wait(k, 60'000'000, now + 3700 * kSecond) == 60'000'000);
    CHECK(r.due(k, 0, now) == kNever);
    k.clean_us = 1'000'000;
    k.restore_max_us = 90'000'000;
    Restore other;
    other.flap(k, 60'000'000, now);
    other.flap(k, 60'000'000, now);
    other.clean_since = now;
    CHECK(other.due(k, 60'000'000, now) == now + 91 * kSecond);
}

TEST_CASE(
    "damping sets in at the third flap, halves in 120 s, and ends at reuse or after 10 minutes") {
    Tuning k;
    Restore r;
    const Time now = 1000 * kSecond;
    r.flap(k, 1, now);
    r.flap(k, 1, now);
    CHECK_FALSE(r.update_damping(k, now));
    r.flap(k, 1, now);
    CHECK(r.update_damping(k, now));
    CHECK(r.penalty_now(k, now + 120 * kSecond) == Approx(1500));
    CHECK(r.damping_ends(k, now) == Approx(static_cast<double>(now + 190 * kSecond)).epsilon(0.01));
    CHECK(r.update_damping(k, now + 189 * kSecond));
    CHECK_FALSE(r.update_damping(k, now + 191 * kSecond));
    Restore heavy;
    for (int i = 0; i < 100; ++i) heavy.flap(k, 1, now);
    CHECK(heavy.update_damping(k, now + 599 * kSecond));
    CHECK_FALSE(heavy.update_damping(k, now + 600 * kSecond));
    k.suppress = 2000;
    k.penalty = 500;
    Restore light;
    for (int i = 0; i < 3; ++i) light.flap(k, 1, now);
    CHECK_FALSE(light.update_damping(k, now));
    light.flap(k, 1, now);
    CHECK(light.update_damping(k, now));
}

TEST_CASE("detection: T of the profile, never below three intervals, suspicion before it") {
    const Tuning k;
    const Profile& p = profile(ProfileId::Fixed);
    Detection d;
    d.detection_us = p.detection_us;
    CHECK(d.limits(p, k, 100'000).suspect == 300 * kMillisecond);
    CHECK(d.limits(p, k, 100'000).down == kSecond);
    CHECK(d.limits(p, k, 50'000).suspect == 300 * kMillisecond);
    CHECK(d.limits(p, k, 400'000).suspect == 1200 * kMillisecond);
    CHECK(d.limits(p, k, 500'000).suspect == 1500 * kMillisecond);
    CHECK(d.limits(p, k, 500'000).down == 2500 * kMillisecond);
    const Profile& mobile = profile(ProfileId::Mobile);
    d.detection_us = mobile.detection_us;
    CHECK(d.limits(mobile, k, 1'000'000).suspect == 2 * kSecond);
    CHECK(d.limits(mobile, k, 1'000'000).down == 4600 * kMillisecond);
    const Profile& metered = profile(ProfileId::Metered);
    d.detection_us = metered.detection_us;
    CHECK(d.limits(metered, k, 20'000'000).suspect == 21 * kSecond);
    CHECK(d.limits(metered, k, 20'000'000).down == 23 * kSecond);
    CHECK(d.limits(metered, k, 500'000).down == 2 * kSecond);
}

TEST_CASE(
    "detection learns the path's silences: suspicion follows them, and so does T before it errs") {
    const Tuning k;
    const Profile& p = profile(ProfileId::Fixed);
    Detection d;
    d.detection_us = p.detection_us;
    for (int i = 0; i < 1000; ++i) {
        d.arrived(p, k, 100'000, (i % 100 == 0 ? 600 : 80) * kMillisecond);
    }
    CHECK(d.limits(p, k, 100'000).suspect > 500 * kMillisecond);
    CHECK(d.limits(p, k, 100'000).suspect <= 600 * kMillisecond);
    CHECK(d.detection_us == p.detection_us);
    d.arrived(p, k, 500'000, 1200 * kMillisecond);  // of a line that stands by
    CHECK(d.detection_us == p.detection_us);
    CHECK(d.limits(p, k, 100'000).suspect <= 600 * kMillisecond);
    d.arrived(p, k, 100'000, 900 * kMillisecond);
    CHECK(d.detection_us == 1'350'000);
    d.arrived(p, k, 100'000, 5 * kSecond);
    CHECK(d.detection_us == p.detection_max_us);
}

TEST_CASE("T grows by half after a false down, up to its most, and decays by 10 % an hour") {
    const Tuning k;
    const Profile& p = profile(ProfileId::Fixed);
    Detection d;
    d.detection_us = p.detection_us;
    CHECK(d.false_down(p, k));
    CHECK(d.detection_us == 1'500'000);
    CHECK(d.false_down(p, k));
    CHECK(d.false_down(p, k));
    CHECK_FALSE(d.false_down(p, k));
    CHECK(d.detection_us == 3'000'000);
    for (Time t = 0; t <= 3600; t += 60) d.decay(p, k, t * kSecond);
    CHECK(d.detection_us == Approx(2'700'000).epsilon(0.001));
    d.decay(p, k, 48 * 3600 * kSecond);
    CHECK(d.detection_us == p.detection_us);
}

TEST_CASE("loss is counted in each direction over 1, 10 and 60 s, and forgotten afterwards") {
    History h;
    Time now = 1000 * kSecond;
    h.advance(now);
    for (int s = 0; s < 60; ++s) {
        h.received(10, s < 55 ? 10 : 8);
        h.reported(10, s < 55 ? 5 : 10);
        h.rtt(s < 55 ? 10'000 : 30'000);
        now += kSecond;
        CHECK(h.advance(now));
    }
    CHECK_FALSE(h.advance(now));
    CHECK(h.second().loss_rx_permille == 200);
    CHECK(h.second().loss_tx_permille == 0);
    CHECK(h.ten_seconds().loss_rx_permille == 100);
    CHECK(h.ten_seconds().rtt_avg_us == 20'000);
    CHECK(h.minute().loss_tx_permille == 1000 * (55 * 5) / 600);
    CHECK(h.minute().rtt_min_us == 10'000);
    CHECK(h.minute().rtt_max_us == 30'000);
    h.advance(now + 200 * kSecond);
    CHECK(h.minute().loss_rx_permille == 0xffff);
    CHECK(h.minute().messages == 0);
}

TEST_CASE("jitter is RFC 3550's, and the 95th percentile lies between the mean and the largest") {
    Smoothed s;
    for (int i = 0; i < 1000; ++i) s.transit(100'000, i % 2 == 0 ? 100'000 : 116'000);
    CHECK(s.jitter == Approx(8'000).margin(600));
    Smoothed r;
    for (int i = 0; i < 10'000; ++i)
        r.rtt(static_cast<std::uint32_t>(10'000 + i * 7919 % 1000 * 10));
    CHECK(r.p95 > 18'500);
    CHECK(r.p95 < 20'000);
    CHECK(r.min_rtt < 11'500);
    Smoothed near;  // on a path so short that a part of the round trip is less than a microsecond
    near.rtt(500);
    for (int i = 0; i < 1000; ++i) near.rtt(900);
    CHECK(near.p95 > 850);
}

namespace {

ClassPolicy tiers(std::initializer_list<unsigned> list) {
    ClassPolicy p;
    unsigned line = 0;
    for (const unsigned tier : list) p.tier[line++] = static_cast<std::uint8_t>(tier);
    return p;
}

}  // namespace

TEST_CASE(
    "the eligible lines are those with nothing against them, else the least bad, if allowed") {
    ClassPolicy p = tiers({0, 0, 1, kNoTier});
    Lines lines;
    lines.up = 0xf;
    CHECK(eligible_lines(p, 0, lines) == 7);
    CHECK(in_use(p, 7) == 3);
    CHECK(in_use(p, 4) == 4);
    lines.waiting = 1;
    lines.suspect = 2;  // no reason to leave
    CHECK(eligible_lines(p, 0, lines) == 6);
    lines.waiting = 1;
    lines.violating[0] = 2;
    lines.degraded = 4;
    CHECK(eligible_lines(p, 0, lines) == 1);
    lines.damped = 1;
    CHECK(eligible_lines(p, 0, lines) == 2);
    lines.up = 5;
    CHECK(eligible_lines(p, 0, lines) == 1);
    lines.up = 4;
    CHECK(eligible_lines(p, 0, lines) == 4);  // the last one that is Up is never taken away
    p.strict = true;
    CHECK(eligible_lines(p, 0, lines) == 0);
    lines.up = 8;
    p.strict = false;
    CHECK(eligible_lines(p, 0, lines) == 0);
}

TEST_CASE("a planned move takes idle buckets at once and busy ones after 30 s, 25 in a step") {
    const Tuning k;
    Move move;
    move.started = 100 * kSecond;
    std::array<std::uint32_t, kBuckets> ages{};
    ages[3] = 51;
    ages[200] = kAgeSettled;
    ages[4] = 50;
    CHECK_FALSE(move.step(k, move.started + kSecond, 50, ages));
    CHECK(move.moved == BucketSet{1U << 3, 0, 0, std::uint64_t{1} << (200 - 192)});
    CHECK_FALSE(move.step(k, move.started + 29 * kSecond, 50, ages));
    CHECK(move.forced == 0);
    unsigned steps = 0;
    while (!move.step(k, move.started + 30 * kSecond, 50, ages)) {
        ++steps;
        REQUIRE(move.forced == 25 * steps);
    }
    CHECK(steps == 10);
    CHECK(move.forced == 254);
}
