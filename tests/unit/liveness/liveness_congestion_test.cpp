// Lines that are asked to carry more than they can: congestion, as against lines that fail.
#include <catch2/catch.hpp>

#include "tests/unit/liveness/liveness_world.h"

namespace dr::liveness::test {
namespace {

constexpr std::uint64_t kMbit = 1'000'000;

struct Line {
    std::uint64_t bit_s;
    std::uint64_t queue_bytes;
};

void limit(World& w, unsigned line, const Line& is) {
    for (Path* path : {&w.down[line], &w.up[line]}) {
        path->bit_s = is.bit_s;
        path->queue_bytes = is.queue_bytes;
    }
}

// Packets of so many bytes a second that make a rate.
unsigned packets(double bit_s, unsigned bytes) {
    return static_cast<unsigned>(bit_s / 8 / bytes);
}

// Runs for so long; how often the line that carries the data changed at an end.
unsigned changes(World& w, const End& end, Time duration) {
    unsigned line = w.in_use(end);
    unsigned count = 0;
    for (const Time until = w.now + duration; w.now < until;) {
        w.run(10 * kMillisecond);
        const unsigned now = w.in_use(end);
        count += now != line ? 1 : 0;
        line = now;
    }
    return count;
}

double lost(const World& w, unsigned way) {
    return 1.0 - static_cast<double>(w.load_arrived[way]) / static_cast<double>(w.load_sent[way]);
}

}  // namespace

TEST_CASE("three times what both lines carry, either way, changes no line, and is told") {
    const bool down = GENERATE(true, false);
    const bool small = GENERATE(false, true);
    const std::uint64_t queue = GENERATE(30'000, 100'000, 600'000);
    CAPTURE(down, small, queue);
    World w(quick());
    for (const unsigned line : {0U, 1U}) limit(w, line, {10 * kMbit, queue});
    w.run(20 * kSecond);
    const unsigned bytes = small ? 110 : 1250;
    const unsigned rate = packets(30e6, bytes);
    w.set_load(down ? rate : 0, down ? 0 : rate, bytes);
    CHECK(changes(w, w.dr, 90 * kSecond) <= 2);
    for (const End* end : {&w.dr, &w.ur}) {
        CHECK(w.status(*end, w.in_use(*end)).congested);
        CHECK(end->count(EventKind::Congested) <= 4);
        CHECK(end->count(EventKind::Congested) >= 1);
    }
    CHECK(lost(w, down ? 0 : 1) < 0.72);
    w.set_load(0, 0, bytes);
    w.run(30 * kSecond);
    for (const End* end : {&w.dr, &w.ur}) {
        for (unsigned line = 0; line < 2; ++line) CHECK_FALSE(w.status(*end, line).congested);
    }
}

TEST_CASE("of a large and a small line that are both too small the large one is kept") {
    const bool down = GENERATE(true, false);
    const std::uint64_t queue = GENERATE(10'000, 100'000);
    CAPTURE(down, queue);
    World w;
    limit(w, 0, {20 * kMbit, queue});
    limit(w, 1, {1 * kMbit, queue});
    w.run(20 * kSecond);
    const unsigned rate = packets(45e6, 1250);
    w.set_load(down ? rate : 0, down ? 0 : rate, 1250);
    CHECK(changes(w, w.dr, 90 * kSecond) <= 4);
    CHECK(w.in_use(w.dr) == 0);
    CHECK(lost(w, down ? 0 : 1) < 0.62);
}

TEST_CASE("a queue of the other direction, or of TCP, is not taken for the line's usual delay") {
    World w;
    limit(w, 0, {2 * kMbit, 40'000});
    w.run(20 * kSecond);
    SECTION("the other direction") {
        w.set_load(packets(6e6, 110), 0, 110);
        w.run(50 * kSecond);
    }
    SECTION("without loss") {
        w.up[0].delay = 160 * kMillisecond;
        w.run(40 * kSecond);
        w.up[0].delay = 10 * kMillisecond;
        w.run(4 * kSecond);
    }
    limit(w, 0, {5 * kMbit, 40'000});
    limit(w, 1, {kMbit / 4, 40'000});
    w.set_load(0, packets(11e6, 1250), 1250);
    CHECK(changes(w, w.dr, 60 * kSecond) == 0);
    CHECK(w.status(w.dr, 0).congested);
}

TEST_CASE("a flood that begins with the tunnel moves no line either") {
    World w;
    for (const unsigned line : {0U, 1U}) limit(w, line, {2 * kMbit, 40'000});
    const unsigned start = GENERATE(100U, 400U, 700U, 1100U);
    CAPTURE(start);
    w.run(start * kMillisecond);
    w.set_load(0, packets(6e6, 1250), 1250);
    CHECK(changes(w, w.dr, 60 * kSecond) == 0);
    CHECK(w.status(w.dr, 0).congested);
}

TEST_CASE("a policer without a queue costs at most a few changes of line, ever more seldom") {
    World w;
    for (const unsigned line : {0U, 1U}) limit(w, line, {10 * kMbit, 4'000});
    w.run(20 * kSecond);
    w.set_load(0, packets(30e6, 1250), 1250);
    CHECK(changes(w, w.dr, 60 * kSecond) <= 8);
    // The one that carries for want of a better one; both ends know.
    for (const End* end : {&w.dr, &w.ur}) {
        CHECK(w.status(*end, w.in_use(*end)).degraded);
        CHECK(w.status(*end, w.in_use(*end)).congested);
    }
    CHECK(changes(w, w.dr, 600 * kSecond) <= 8);
}

TEST_CASE("a line that becomes slower than what it carried is left for one that is not") {
    World w(quick());
    limit(w, 0, {20 * kMbit, 100'000});
    limit(w, 1, {20 * kMbit, 100'000});
    w.run(10 * kSecond);
    w.set_load(packets(10e6, 1250), packets(10e6, 1250), 1250);
    w.run(20 * kSecond);
    REQUIRE(w.in_use(w.dr) == 0);
    limit(w, 0, {2 * kMbit, 100'000});
    CHECK(w.run_until([&] { return w.in_use(w.dr) == 1 && w.in_use(w.ur) == 1; }, 5 * kSecond));
}

TEST_CASE("a congested line that dies is left as soon as any other") {
    World w(quick());
    for (const unsigned line : {0U, 1U}) limit(w, line, {10 * kMbit, 100'000});
    w.run(20 * kSecond);
    w.set_load(packets(30e6, 1250), 0, 1250);
    w.run(20 * kSecond);
    REQUIRE(w.status(w.dr, 0).congested);
    SECTION("wholly") {
        w.cut(0);
    }
    SECTION("for data alone") {
        w.down[0].cut_data = true;
    }
    CHECK(w.run_until([&] { return w.in_use(w.dr) == 1; }, 3 * kSecond));
}

TEST_CASE(
    "a slow line with a deep buffer that is kept full by little more than it carries is well") {
    World w(quick());
    const Line slow = GENERATE(Line{5 * kMbit, 312'500}, Line{1 * kMbit, 100'000});
    limit(w, 0, slow);
    w.run(20 * kSecond);
    const auto told = [&] {
        unsigned count = 0;
        for (const End* end : {&w.dr, &w.ur}) {
            for (const EventKind kind : {EventKind::Congested, EventKind::Degraded,
                                         EventKind::StateChanged, EventKind::Eligible})
                count += end->count(kind);
        }
        return count;
    };
    const unsigned before = told();
    w.set_load(0, packets(1.05 * static_cast<double>(slow.bit_s), 1250), 1250);
    CHECK(changes(w, w.dr, 90 * kSecond) == 0);
    CHECK(told() == before);
}

TEST_CASE("lost keepalives take no line down that still delivers data, for a while") {
    World w(quick());
    w.set_traffic(0, 100);
    w.run(10 * kSecond);
    w.up[0].drop = [](const Packet&) { return true; };
    const Time start = w.now;
    REQUIRE(w.run_until([&] { return w.state(w.dr, 0) == State::Down; }, 60 * kSecond));
    CHECK(w.now - start > 29 * kSecond);
    CHECK(w.now - start < 32 * kSecond);
}

TEST_CASE("when all lines lose all data they are tried in turn, ever more seldom") {
    Setup s = quick();
    s.restore_ms = 600'000;
    World w(s);
    w.run(10 * kSecond);
    for (const unsigned line : {0U, 1U}) w.down[line].cut_data = true;
    w.set_load(100, 100, 100);
    CHECK(changes(w, w.dr, 20 * kSecond) >= 3);
    CHECK(changes(w, w.dr, 600 * kSecond) <= 10);
}

TEST_CASE("lines that lose all data in turn, each good again meanwhile, are each left at once") {
    Setup s = quick();
    s.restore_ms = 600'000;
    World w(s);
    w.run(10 * kSecond);
    w.set_load(1000, 1000, 100);
    for (unsigned trial = 0; trial < 20; ++trial) {
        CAPTURE(trial);
        const unsigned line = trial % 2;
        w.down[line].cut_data = w.up[line].cut_data = true;
        const auto other = static_cast<std::uint16_t>(line == 0 ? 2 : 1);
        CHECK(w.run_until([&] { return w.dr.eligible() == other && w.ur.eligible() == other; },
                          1'500 * kMillisecond));
        w.run(2'500 * kMillisecond);
        w.down[line].cut_data = w.up[line].cut_data = false;
        w.run(1'500 * kMillisecond);
    }
}

}  // namespace dr::liveness::test
