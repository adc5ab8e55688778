// The buckets that the engine's choice makes, and how its events read.
#include <algorithm>
#include <catch2/catch.hpp>

#include "ur/event_log.h"
#include "ur/outer.h"
#include "ur/site.h"

namespace {

// One tier of each line: a (0) first, then b (1). b's tunnel has slot 0.
dr::ur::Config two_lines() {
    dr::ur::Config config;
    config.lines = {"a", "b"};
    config.classes.resize(1);
    config.classes[0].tiers = {{{0, 1}}, {{1, 1}}};
    config.tunnels.resize(2);
    config.tunnels[0].number = 0;
    config.tunnels[0].slot = 5;
    config.tunnels[1].number = 1;
    config.tunnels[1].slot = 0;
    return config;
}

}  // namespace

TEST_CASE("buckets follow the engine's sets by slot, not by line number") {
    dr::liveness::Choice choice{};
    choice.eligible[0] = 0b11;
    auto plan = dr::ur::plan_buckets(two_lines(), choice, 0);
    CHECK(plan[0][0] == 5);
    choice.eligible[0] = 0b10;
    plan = dr::ur::plan_buckets(two_lines(), choice, 0);
    CHECK(plan[0][0] == 0);
    choice.eligible[0] = 0;
    plan = dr::ur::plan_buckets(two_lines(), choice, 0);
    CHECK(plan[0][0] == UR_NO_SLOT);
    CHECK(plan[7][0] == UR_NO_SLOT);
}

TEST_CASE("while traffic moves only the buckets that have moved go where it moves to") {
    dr::liveness::Choice choice{};
    choice.moving = true;
    choice.previous[0] = 0b10;
    choice.eligible[0] = 0b11;
    choice.moved[1] = 0b1000;  // bucket 67
    const auto plan = dr::ur::plan_buckets(two_lines(), choice, 0);
    CHECK(plan[0][67] == 5);
    CHECK(plan[0][66] == 0);
    const auto moving = dr::ur::moving_buckets(two_lines(), choice);
    CHECK(std::count(moving.begin(), moving.end(), true) == 256);
}

TEST_CASE("a line without keepalives counts on while it is up") {
    const auto plan = dr::ur::plan_buckets(two_lines(), dr::liveness::Choice{}, 0b10);
    CHECK(plan[0][0] == 0);
}

TEST_CASE("an event is one line that names what it says and nothing else") {
    dr::liveness::Event event{};
    event.kind = dr::liveness::EventKind::StateChanged;
    event.from = dr::liveness::State::Up;
    event.cause = dr::liveness::Cause::LineDown;
    event.to = dr::liveness::State::Down;
    CHECK(dr::ur::event_line(event, "a") ==
          "event=state line=a from=up to=down cause=\"this end's link is down\"");
    event = {};
    event.kind = dr::liveness::EventKind::NatChanged;
    event.value = 1;
    event.endpoint = dr::ur::to_endpoint(dr::parse_address("2001:db8::1").value(), 4754);
    CHECK(dr::ur::event_line(event, "b") == "event=nat line=b nat=1 endpoint=[2001:db8::1]:4754");
}
