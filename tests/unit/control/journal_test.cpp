// Tests of the journal: which events are logged, and which are counted.
#include "control/events/journal.h"

#include <algorithm>
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

TEST_CASE("an operator's acts on a site are told, however much the site, strangers and others do") {
    Journal journal;
    const auto tell = [&](const char* kind, const char* subscriber) {
        journal.tell(Journal::Level::Info, {kind, subscriber, {}, {}, 0, {}});
    };
    for (int i = 0; i < 12'000; ++i)
        for (const char* kind : {kAttached, kDetached, kRefusedCredentials})
            tell(kind, i < 100 ? "site" : std::to_string(i).c_str());
    for (int i = 0; i < 100; ++i) {
        tell(kRefusedCredentials, "");
        tell(kDataPlaneLost, "");
    }
    for (const char* kind : {kEnrolled, kRevoked, kProvisioned}) tell(kind, "site");
    tell(kDrain, "");
    const auto told = journal.take();
    REQUIRE(told.size() >= 4);
    const char* const last[] = {kEnrolled, kRevoked, kProvisioned, kDrain};
    for (std::size_t i = 0; i < 4; ++i) CHECK(told[told.size() - 4 + i].kind == last[i]);
    CHECK(std::count_if(told.begin(), told.end(),
                        [](const auto& e) { return e.subscriber == "site"; }) == 30 + 30 + 3);
    for (int i = 0; i < 100; ++i) tell(kRevoked, "site");
    CHECK(journal.take().size() == 100);
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
