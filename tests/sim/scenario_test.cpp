#include <catch2/catch.hpp>

#include "tests/sim/detector.h"
#include "tests/sim/path.h"

using namespace dr::sim;

namespace {

std::string error_of(const std::string& scenario) {
    try {
        parse_scenario(scenario, "s.json");
    } catch (const ScenarioError& error) {
        return error.what();
    }
    return "";
}

std::string trace_error(const std::string& text) {
    try {
        parse_trace(text, "t");
    } catch (const ScenarioError& error) {
        return error.what();
    }
    return "";
}

Line line_with(Trace trace) {
    Line line;
    line.delay.trace = std::make_shared<Trace>(std::move(trace));
    return line;
}

}  // namespace

TEST_CASE("a scenario reads as it is written") {
    const Scenario s = parse_scenario(R"({
        "about": "x", "profile": "mobile", "tunnels": 7, "hours": 2.5, "seed": 9,
        "restore_s": 30, "warmup_minutes": 10, "detectors": ["ours", "x-50x4"],
        "lines": [
            {"loss": {"good": 0.01, "bad": 0.9, "mean_good_s": 59.6, "mean_bad_s": 0.4},
             "delay": {"quantiles": [[0, 10], [0.5, 43], [1, 2333]], "hold_ms": 500},
             "reorders": true},
            {"loss": {"independent": 0.05}, "delay": {"fixed_ms": 20},
             "cuts": [{"from_s": 60, "every_s": 30, "for_s": 15, "spread_s": 2, "direction": "to-dr"}]}
        ]})",
                                      "dir/name.json");
    CHECK(s.name == "name");
    CHECK(s.profile == ProfileId::Mobile);
    CHECK(s.subscribers() == 4);
    CHECK(s.hours == 2.5);
    CHECK(s.restore_s == 30);
    CHECK(s.warmup == 600 * kSecond);
    CHECK(s.detectors == std::vector<std::string>{"ours", "x-50x4"});
    REQUIRE(s.lines.size() == 2);
    CHECK(s.lines[0].loss.mean_bad == 400 * kMillisecond);
    CHECK(s.lines[0].delay.quantiles.size() == 3);
    CHECK(s.lines[0].delay.hold == 500 * kMillisecond);
    CHECK(s.lines[0].reorders);
    CHECK(s.lines[1].loss.good == 0.05);
    CHECK(s.lines[1].delay.fixed == 20 * kMillisecond);
    REQUIRE(s.lines[1].cuts.size() == 1);
    CHECK(s.lines[1].cuts[0].every == 30 * kSecond);
    CHECK(s.lines[1].cuts[0].direction == Direction::ToDr);
}

TEST_CASE(
    "a scenario that cannot be is refused, and the error says where and what would be right") {
    CHECK(error_of("{") == "s.json: is not JSON");
    CHECK(error_of(R"({"profile": "fixed"})").find("lines: expected a list") != std::string::npos);
    CHECK(error_of(R"({"profile": "fixd", "lines": [{}]})").find("fixed, mobile") !=
          std::string::npos);
    CHECK(error_of(R"({"profile": "fixed", "line": [{}]})").find("no member 'line'") !=
          std::string::npos);
    CHECK(error_of(R"({"profile": "fixed", "lines": [{"loss": {"independent": 1.5}}]})") ==
          "s.json: lines[0].loss: independent: expected a number from 0 to 1");
    CHECK(
        error_of(R"({"profile": "fixed", "lines": [{"loss": {"mean_bad_s": 1}}]})").find("'bad'") !=
        std::string::npos);
    CHECK(error_of(R"({"profile": "fixed", "lines": [{"delay": {"quantiles": [[0, 5], [1, 4]]}}]})")
              .find("both rising") != std::string::npos);
    CHECK(error_of(R"({"profile": "fixed", "lines": [{"cuts": [{"every_s": 5, "for_s": 6}]}]})")
              .find("every_s") != std::string::npos);
    CHECK(error_of(R"({"profile": "fixed", "lines": [{"delay": {"trace": "none"}}]})")
              .find("cannot be read") != std::string::npos);
}

TEST_CASE("a trace has times and delays, losses and comments") {
    const Trace t = parse_trace("# s ms\n5.0 40\n5.2, 60.5\n\n5.4 lost\n5.6 - # gone\n", "t");
    REQUIRE(t.size() == 4);
    CHECK(t[0].at == 0);
    CHECK(t[1].at == Approx(200 * kMillisecond).margin(1000));
    CHECK(t[1].delay == 60'500'000);
    CHECK_FALSE(t[1].lost);
    CHECK(t[2].lost);
    CHECK(t[3].lost);
    CHECK(trace_error("1 5\n2 x\n").find("t:2: expected") == 0);
    CHECK(trace_error("1 5\n2\n").find("t:2: expected") == 0);
    CHECK(trace_error("1 5 6\n").find("t:1: expected") == 0);
    CHECK(trace_error("2 5\n1 5\n").find("later time") != std::string::npos);
    CHECK(trace_error("1 5\n").find("two samples") != std::string::npos);
}

TEST_CASE("what ping -D prints is a trace: half of the round trip, and missing numbers are lost") {
    const Trace t = parse_trace(
        "PING 192.0.2.1 (192.0.2.1) 56(84) bytes of data.\n"
        "[1700000000.100000] 64 bytes from 192.0.2.1: icmp_seq=65534 ttl=57 time=100 ms\n"
        "[1700000000.840000] 64 bytes from 192.0.2.1: icmp_seq=1 ttl=57 time=240 ms\n"
        "[1700000001.000000] 64 bytes from 192.0.2.1: icmp_seq=2 ttl=57 time=200 ms\n"
        "\n--- 192.0.2.1 ping statistics ---\n",
        "t");
    REQUIRE(t.size() == 5);
    CHECK(t[0].delay == 50 * kMillisecond);
    CHECK(t[1].lost);
    CHECK(t[2].lost);
    CHECK(t[3].delay == 120 * kMillisecond);
    CHECK(t[3].at == Approx(600 * kMillisecond).margin(1000));
    CHECK(t[4].at == Approx(800 * kMillisecond).margin(1000));
}

TEST_CASE("a replayed trace delays and loses what is sent as it did when it was recorded") {
    const Line line = line_with({{0, 10 * kMillisecond, false},
                                 {kSecond, 900 * kMillisecond, false},
                                 {2 * kSecond, 0, true},
                                 {2 * kSecond + 200 * kMillisecond, 30 * kMillisecond, false},
                                 {3 * kSecond, 10 * kMillisecond, false}});
    Path path(line, 3);
    unsigned lost = 0, slow = 0, all = 0;
    Time last = 0;
    for (Time now = 0; now < 400 * kSecond; now += 20 * kMillisecond, ++all) {
        const Time at = path.arrival(now);
        if (at == kNever) {
            ++lost;
            continue;
        }
        CHECK(at >= last);
        last = at;
        slow += at - now > 500 * kMillisecond;
    }
    // 200 ms of the 3.75 s that a round takes; the slow second, and what queues behind it.
    CHECK(lost / double(all) == Approx(0.2 / 3.75).epsilon(0.05));
    CHECK(slow / double(all) > 0.2);
}

TEST_CASE("drawn delays have the distribution's quantiles, and bursts their mean length and loss") {
    Line line;
    line.delay.quantiles = {
        {0, 14'000'000}, {0.5, 43'000'000}, {0.9, 836'000'000}, {1, 2'333'000'000}};
    line.reorders = true;
    Path delays(line, 1);
    unsigned below_43 = 0, below_836 = 0;
    for (unsigned i = 0; i < 20'000; ++i) {
        const Time now = i * 10 * kSecond;
        const Time delay = delays.arrival(now) - now;
        CHECK(delay <= 2'333'000'000);
        below_43 += delay < 43'000'000;
        below_836 += delay < 836'000'000;
    }
    CHECK(below_43 / 20'000.0 == Approx(0.5).margin(0.02));
    CHECK(below_836 / 20'000.0 == Approx(0.9).margin(0.02));

    Line bursts;
    bursts.loss = {0, 1, 59'600 * kMillisecond, 400 * kMillisecond, false};
    Path path(bursts, 2);
    unsigned lost = 0, starts = 0;
    bool before = false;
    constexpr unsigned kSteps = 10'000'000;
    for (unsigned i = 0; i < kSteps; ++i) {
        const bool gone = path.arrival(i * 10 * kMillisecond) == kNever;
        lost += gone;
        starts += gone && !before;
        before = gone;
    }
    CHECK(lost / double(kSteps) == Approx(0.4 / 60).epsilon(0.1));
    CHECK(lost * 10.0 / starts == Approx(400).epsilon(0.1));  // ms
}

TEST_CASE("detectors are named by interval and multiplier") {
    struct : Observer {
        void send(Side, unsigned, std::span<const std::uint8_t>) override {}
        void state(Side, unsigned, bool) override {}
        void path(unsigned) override {}
    } observer;
    Scenario s;
    s.lines.resize(2);
    for (const std::string& name : all_detectors()) {
        CHECK(make_detector(name, s, 1, kSecond, observer) != nullptr);
    }
    CHECK(make_detector("mine-50x4", s, 1, kSecond, observer) != nullptr);
    for (const char* name : {"our", "x-0x3", "x-100", "x-100x", "x-100x3y", "x-100x0", ""}) {
        CHECK_THROWS_AS(make_detector(name, s, 1, kSecond, observer), ScenarioError);
    }
}
