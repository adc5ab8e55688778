#include "control/events/event_log.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "control/events/open_log.h"
#include "control/store/sqlite_handle.h"
#include "control/test_support.h"

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
    EventLog log(folder.file("log"), {3, 60});
    CHECK(log.count() == 3);
    log.append({event(60'000'004, "x", "state")}, {"one", 1}, 60'000'004 + 1);
    CHECK(times(log.list({}, 0, kEver, "", 10).events) == Times{60'000'004, 5});
    CHECK(log.count() == 2);
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
