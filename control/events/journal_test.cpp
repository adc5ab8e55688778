#include "control/events/journal.h"

#include <catch2/catch.hpp>

using namespace dr::control;
using namespace std::chrono_literals;

TEST_CASE("a subject brings 30 events at once and then 6 a minute, whatever others bring") {
    Journal journal;
    Journal::Clock::time_point now{};
    const auto tell = [&](const char* subscriber) {
        journal.tell(Journal::Level::Info, {kAttached, subscriber, {}, {}, 0, {}}, now);
    };
    for (int i = 0; i < 1000; ++i) tell("noisy");
    tell("quiet");
    const auto first = journal.take();
    REQUIRE(first.size() == 31);
    CHECK(first.back().subscriber == "quiet");
    CHECK(first.back().kind == "attach");
    CHECK(journal.take().empty());
    now += 1min;
    for (int i = 0; i < 1000; ++i) tell("noisy");
    CHECK(journal.take().size() == 6);
}

TEST_CASE("what waits for a log that cannot be written is bounded") {
    Journal journal;
    for (int i = 0; i < 12'000; ++i)
        journal.tell(Journal::Level::Info, {kAttached, std::to_string(i), {}, {}, 0, {}});
    CHECK(journal.take().size() == Journal::kMostWaiting);
}

TEST_CASE("a peer is shown as an address and a port") {
    CHECK(peer_text("ipv4:198.51.100.7:39222") == "198.51.100.7:39222");
    CHECK(peer_text("ipv6:%5B2001:db8::7%5D:39222") == "[2001:db8::7]:39222");
    CHECK(peer_text("ipv6:[2001:db8::7]:39222") == "[2001:db8::7]:39222");
    CHECK(peer_text("unix:") == "unix:");
}
