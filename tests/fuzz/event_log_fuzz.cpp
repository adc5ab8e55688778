// The event log's file, as a disk or another program has left it.
//
// Input: a byte, then, when it is even, the file itself; else rows of a sound schema, each with a
// byte that says what kind of value each column gets. A log that opens lists each event once,
// newest first, page by page to an end; follows the same events oldest first; and either takes a
// new event, which is then the latest, or says why it cannot.
#include <sqlite3.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "control/events/event_log.h"
#include "control/store/store.h"
#include "tests/fuzz/fuzz.h"

using namespace dr;
using namespace dr::control;
using fuzz::require;

namespace {

constexpr std::size_t kMostEvents = 64;

// In $TMPDIR, best in memory: the log waits for its disk. Gone with the input, but for a crash.
struct Folder {
    Folder() {
        std::string name = std::filesystem::temp_directory_path() / "dr-fuzz-XXXXXX";
        require(::mkdtemp(name.data()) != nullptr, "mkdtemp");
        path = name;
    }
    ~Folder() { std::filesystem::remove_all(path); }
    Folder(const Folder&) = delete;
    Folder& operator=(const Folder&) = delete;
    std::filesystem::path path;
};

LoggedEvent event(std::int64_t at_us) {
    LoggedEvent e;
    e.at_us = at_us;
    e.subscriber = "site";
    e.kind = "state";
    return e;
}

// A value of any kind that SQLite stores, whatever the column was declared as.
void bind(sqlite3_stmt* row, int column, fuzz::Input& input) {
    const unsigned kind = input.take<std::uint8_t>() % 5;
    if (kind == 0) sqlite3_bind_int64(row, column, input.take<std::int8_t>());
    if (kind == 1) sqlite3_bind_int64(row, column, input.take<std::int64_t>());
    if (kind == 2) sqlite3_bind_double(row, column, input.take<std::int16_t>() / 4.0);
    if (kind > 2) {
        const auto bytes = input.bytes(kind);
        sqlite3_bind_text(row, column, reinterpret_cast<const char*>(bytes.data()),
                          static_cast<int>(bytes.size()), SQLITE_TRANSIENT);
    }
}

void insert_rows(const std::string& path, fuzz::Input& input) {
    sqlite3* db = nullptr;
    require(sqlite3_open(path.c_str(), &db) == SQLITE_OK, "open");
    sqlite3_exec(db, "PRAGMA synchronous = OFF; BEGIN", nullptr, nullptr, nullptr);
    for (std::size_t n = 0; n < kMostEvents && !input.empty(); ++n) {
        const bool word = n % 8 == 7;
        sqlite3_stmt* row = nullptr;
        const char* sql = word ? "INSERT OR IGNORE INTO words VALUES(?1, ?2)"
                               : "INSERT OR IGNORE INTO events VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, "
                                 "?8, ?9, ?10, ?11, ?12)";
        require(sqlite3_prepare_v2(db, sql, -1, &row, nullptr) == SQLITE_OK, sqlite3_errmsg(db));
        for (int column = 1; column <= (word ? 2 : 12); ++column) bind(row, column, input);
        (void)sqlite3_step(row);
        sqlite3_finalize(row);
    }
    sqlite3_exec(db, "COMMIT", nullptr, nullptr, nullptr);
    sqlite3_close(db);
}

void read(EventLog& log) {
    std::set<std::int64_t> listed;
    std::string token;
    std::size_t pages = 0;
    do {
        const auto page = log.list({}, INT64_MIN, INT64_MAX, token, 3);
        require(page.events.size() <= 3, "a page too long");
        for (const auto& e : page.events) require(listed.insert(e.id).second, "an event twice");
        token = page.next;
        require(++pages <= kMostEvents * 20, "pages without end");
    } while (!token.empty());
    std::int64_t id = INT64_MIN;
    for (std::int64_t before = id;; before = id) {
        for (const auto& e : log.after({}, id, 5)) require(e.id > before, "events out of order");
        if (id == before) break;
    }
}

void check(EventLog& log) {
    read(log);
    log.append({event(1'000'000)}, {"incarnation", 7}, 1'000'000);
    require(log.position().number == 7, "the place is not kept");
    std::int64_t id = log.last_id() - 1;
    const auto latest = log.after({}, id, 1);
    require(latest.size() == 1 && latest[0].subscriber == "site" && latest[0].kind == "state",
            "the latest event is not what was appended");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    fuzz::Input input(data, size);
    const Folder folder;
    const std::string path = folder.path / "log";
    const EventLog::Bounds bounds{kMostEvents, 0};
    try {
        if (input.take<std::uint8_t>() % 2 == 0) {
            std::ofstream(path, std::ios::binary) << input.text();
        } else {
            EventLog(path, bounds).append({event(1), event(2)}, {"incarnation", 1}, 2);
            insert_rows(path, input);
        }
        EventLog log(path, bounds);
        check(log);
    } catch (const StoreError& e) {
        require(std::string_view(e.what()).starts_with("event log "), e.what());
    }
    return 0;
}
