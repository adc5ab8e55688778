// Tests of the event log: exactly once, bounds, pages, damage.
#include "control/events/event_log.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "control/events/event_limiter.h"
#include "control/events/open_log.h"
#include "control/sqlite/sqlite_handle.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

constexpr std::int64_t kEver = INT64_MAX;

LoggedEvent event(std::int64_t at_us, const std::string& subscriber, const std::string& kind) {
    LoggedEvent e;
    e.at_us = at_us;
    e.subscriber = subscriber;
    e.line = "a";
    e.tunnel = 0x01000005;
    e.kind = kind;
    e.from = 6;
    e.to = 4;
    e.cause = "because";
    e.outage_ns = 812'000'000;
    e.endpoint = "198.51.100.7:4754";
    e.value = 0xffffffff;
    return e;
}

std::vector<std::int64_t> times(const std::vector<LoggedEvent>& events) {
    std::vector<std::int64_t> out;
    out.reserve(events.size());
    for (const auto& e : events) out.push_back(e.at_us);
    return out;
}

using Times = std::vector<std::int64_t>;

}  // namespace

TEST_CASE("an event log gives back what was written, after it was closed too") {
    const TemporaryFolder folder;
    {
        EventLog log(folder.file("log"), {});
        log.append({event(10, "site-1", "state")}, {"one", 7}, 10);
        CHECK(log.position().number == 7);
    }
    EventLog log(folder.file("log"), {});
    CHECK(log.position().incarnation == "one");
    CHECK(log.position().number == 7);
    CHECK(log.count() == 1);
    CHECK(log.last_id() == 1);
    const auto page = log.list({}, 0, kEver, "", 10);
    REQUIRE(page.events.size() == 1);
    const LoggedEvent& e = page.events[0];
    CHECK(e.id == 1);
    CHECK(e.subscriber == "site-1");
    CHECK(e.line == "a");
    CHECK(e.tunnel == 0x01000005);
    CHECK(e.kind == "state");
    CHECK(e.from == 6);
    CHECK(e.to == 4);
    CHECK(e.cause == "because");
    CHECK(e.outage_ns == 812'000'000);
    CHECK(e.endpoint == "198.51.100.7:4754");
    CHECK(e.value == 0xffffffff);
    log.append({event(11, "site-1", "state")}, {"one", 8}, 11);
    CHECK(log.list({}, 0, kEver, "", 10).events[0].id == 2);
}

TEST_CASE("an event log is listed newest first, by pages that neither repeat nor leave out") {
    const TemporaryFolder folder;
    EventLog log(folder.file("log"), {});
    // Two of one time; the clock was set back before the last.
    log.append({event(10, "x", "state"), event(20, "y", "nat"), event(20, "x", "key"),
                event(30, "x", "state"), event(5, "x", "state")},
               {"one", 5}, 30);
    Times all;
    std::string token;
    do {
        const auto page = log.list({}, INT64_MIN, kEver, token, 2);
        CHECK(page.events.size() <= 2);
        for (const auto& e : page.events) all.push_back(e.at_us);
        token = page.next;
    } while (!token.empty());
    CHECK(all == Times{30, 20, 20, 10, 5});
    CHECK(times(log.list({"x", "", 0, {}}, INT64_MIN, kEver, "", 10).events) ==
          Times{30, 20, 10, 5});
    CHECK(times(log.list({"x", "", 0, {"key", "nat"}}, INT64_MIN, kEver, "", 10).events) ==
          Times{20});
    CHECK(times(log.list({"", "a", 0x01000005, {"nat"}}, INT64_MIN, kEver, "", 10).events) ==
          Times{20});
    CHECK(log.list({"", "b", 0, {}}, INT64_MIN, kEver, "", 10).events.empty());
    CHECK(times(log.list({}, 10, 30, "", 10).events) == Times{20, 20, 10});
    CHECK_THROWS_AS(log.list({}, 0, kEver, "nonsense", 10), std::invalid_argument);
}

TEST_CASE("the work for a page of events is bounded where few match") {
    const TemporaryFolder folder;
    EventLog log(folder.file("log"), {});
    std::vector<LoggedEvent> many(EventLog::kMaxVisited + 1, event(2, "x", "state"));
    many.front() = event(1, "x", "nat");
    log.append(std::move(many), {"one", 1}, 2);
    const EventQuery query{"", "", 0, {"nat"}};
    const auto first = log.list(query, 0, kEver, "", 10);
    CHECK(first.events.empty());
    REQUIRE_FALSE(first.next.empty());
    CHECK(times(log.list(query, 0, kEver, first.next, 10).events) == Times{1});
}

TEST_CASE("an event log keeps within its bounds, the newest events") {
    const TemporaryFolder folder;
    {
        EventLog log(folder.file("log"), {3, 0});
        for (int i = 1; i <= 5; ++i) log.append({event(i, "x", "state")}, {"one", 1}, i);
        CHECK(log.count() == 3);
        CHECK(times(log.list({}, 0, kEver, "", 10).events) == Times{5, 4, 3});
    }
    EventLog log(folder.file("log"), {3, 60, 1e12});  // any pace
    CHECK(log.count() == 3);
    log.append({event(60'000'004, "x", "state")}, {"one", 1}, 60'000'004 + 1);
    CHECK(times(log.list({}, 0, kEver, "", 10).events) == Times{60'000'004, 5});
    CHECK(log.count() == 2);
}

TEST_CASE("a subscriber that brings events without end takes nobody else's history") {
    const TemporaryFolder folder;
    EventLog log(folder.file("log"), {1000, 0});
    std::int64_t at = 0;
    for (const char* quiet : {"quiet-1", "quiet-2"})
        for (int i = 0; i < 20; ++i) {
            ++at;
            log.append({event(at, quiet, "state")}, {"one", 1}, at);
        }
    for (int i = 0; i < 300; ++i) {
        ++at;
        log.append(std::vector<LoggedEvent>(20, event(at, "loud", "state")), {"one", 1}, at);
    }
    CHECK(log.count() == 1000);
    for (const char* quiet : {"quiet-1", "quiet-2"})
        CHECK(log.list({quiet, "", 0, {}}, 0, kEver, "", 100).events.size() == 20);
    const auto loud = log.list({"loud", "", 0, {}}, 0, kEver, "", 2000).events;
    CHECK(loud.size() == 960);
    CHECK(loud.front().at_us == at);
}

TEST_CASE("where nobody has more than others the oldest events go") {
    const TemporaryFolder folder;
    EventLog log(folder.file("log"), {100, 0});
    for (int i = 1; i <= 300; ++i)
        log.append({event(i, "site-" + std::to_string(i), "state")}, {"one", 1}, i);
    const auto all = times(log.list({}, 0, kEver, "", 1000).events);
    REQUIRE(all.size() == 100);
    CHECK(all.front() == 300);
    CHECK(all.back() == 201);
}

TEST_CASE("a wall clock that jumps ahead makes no history old, and one that is right does") {
    constexpr std::int64_t kDay = 86'400'000'000;
    const TemporaryFolder folder;
    EventLog log(folder.file("log"), {1000, 90 * 86'400});
    std::int64_t now = 1'800'000'000'000'000;
    for (int day = 0; day < 20; ++day)
        log.append({event(now - (20 - day) * kDay, "x", "state")}, {"one", 1}, now);
    log.append({event(now + 100 * kDay, "x", "state")}, {"one", 1}, now + 100 * kDay);
    CHECK(log.count() == 21);
    log.append({event(now + 1000, "x", "state")}, {"one", 1}, now + 1000);
    CHECK(log.count() == 22);
    {
        // Another start with the clock wrong: the log remembers what time it was.
        EventLog again(folder.file("log"), {1000, 90 * 86'400});
        again.append({event(now + 100 * kDay, "x", "state")}, {"one", 1}, now + 100 * kDay);
        CHECK(again.count() == 23);
    }
    EventLog fast(folder.file("log"), {1000, 90 * 86'400, 1e18});
    fast.append({event(now + 80 * kDay, "x", "state")}, {"one", 1}, now + 80 * kDay);
    CHECK(fast.count() == 14);
}

TEST_CASE("a tunnel brings its limit of events, and the count of those beyond it") {
    constexpr std::uint64_t kSecond = 1'000'000'000;
    EventLimiter limiter({10, 60, 60 * kSecond});
    int logged = 0;
    for (int i = 0; i < 3700; ++i)  // of one second
        logged += limiter.take(7, 0x01000005, 1000 * kSecond + i * 270'000ULL) ? 1 : 0;
    CHECK((logged == 10 || logged == 11));
    CHECK(limiter.take(7, 0x01000006, 1001 * kSecond));
    CHECK(limiter.take(8, 0x01000005, 1001 * kSecond));
    CHECK(limiter.due(1030 * kSecond).empty());
    const auto told = limiter.due(1061 * kSecond);
    REQUIRE(told.size() == 1);
    CHECK(told[0].subscriber == 7);
    CHECK(told[0].tunnel == 0x01000005);
    CHECK(told[0].count == static_cast<std::uint64_t>(3700 - logged));
    CHECK(limiter.due(1200 * kSecond).empty());
    // A second brings one.
    CHECK(limiter.take(7, 0x01000005, 1300 * kSecond));
}

TEST_CASE("tunnels without events cost the limiter no memory") {
    constexpr std::uint64_t kSecond = 1'000'000'000;
    EventLimiter limiter;
    for (std::uint32_t i = 1; i <= 100'000; ++i) limiter.take(i, i, kSecond);
    CHECK(limiter.size() == 100'000);
    CHECK(limiter.due(1000 * kSecond).empty());
    CHECK(limiter.size() == 0);
}

TEST_CASE("what follows an event is read in the order of writing, and waited for") {
    const TemporaryFolder folder;
    EventLog log(folder.file("log"), {});
    std::int64_t id = log.last_id();
    CHECK_FALSE(log.wait_for(id, std::chrono::milliseconds(0)));
    std::thread writer([&] {
        log.append({event(9, "x", "state"), event(3, "y", "state")}, {"one", 2}, 9);
    });
    CHECK(log.wait_for(id, std::chrono::seconds(10)));
    writer.join();
    CHECK(times(log.after({}, id, 1)) == Times{9});
    CHECK(times(log.after({"x", "", 0, {}}, id, 10)).empty());
    CHECK(id == log.last_id());
}

TEST_CASE("a log that is damaged is set aside, and a new one begins") {
    const TemporaryFolder folder;
    const std::string path = folder.file("log");
    const std::string no_database(8192, 'x');
    SECTION("it is no database") {
        std::ofstream(path) << no_database;
    }
    SECTION("its first pages are overwritten") {
        EventLog(path, {}).append({event(1, "x", "state")}, {"one", 1}, 1);
        std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
        file.seekp(100);
        file << no_database;
    }
    CHECK_THROWS_AS(EventLog(path, {}), sqlite::CorruptError);
    const auto log = open_event_log(path, {});
    CHECK(log->count() == 0);
    log->append({event(2, "x", "state")}, {"one", 2}, 2);
    CHECK(log->list({}, 0, kEver, "", 10).events.size() == 1);
    CHECK(std::filesystem::file_size(path + ".damaged") >= no_database.size());
}

TEST_CASE("an event whose time is damaged is on no page, and pages come to an end") {
    const TemporaryFolder folder;
    EventLog(folder.file("log"), {}).append({event(1, "x", "state")}, {"one", 1}, 1);
    {
        sqlite::Connection file("event log", folder.file("log"), SQLITE_OPEN_READWRITE);
        file.run(
            "INSERT INTO events SELECT 7, -1.5, subscriber, line, tunnel, kind, before, after, "
            "cause, outage, endpoint, value FROM events");
    }
    EventLog log(folder.file("log"), {});
    for (const char* subscriber : {"", "x"}) {
        const auto page = log.list({subscriber, "", 0, {}}, INT64_MIN, kEver, "", 1);
        CHECK(times(page.events) == Times{1});
        CHECK(page.next.empty());
    }
}

TEST_CASE("a log of a newer version is left alone") {
    const TemporaryFolder folder;
    { EventLog log(folder.file("log"), {}); }
    const std::string command = "/usr/bin/env python3 -c \"import sqlite3; sqlite3.connect('" +
                                folder.file("log") + "').execute('PRAGMA user_version = 99')\"";
    REQUIRE(std::system(command.c_str()) == 0);
    CHECK_THROWS_WITH(EventLog(folder.file("log"), {}), Catch::Contains("use a newer drd"));
}

}  // namespace dr::control::test
