// The persistent event log: one SQLite file, bounded by count and by age.
//
// Events are committed together with the position up to which the data plane's events have been
// read, so each is written exactly once, however drd ends. A commit does not wait for the disk:
// after a crash of the machine the last moments may be missing.
//
// Names of kinds and causes are stored as words, each once, so that a log outlives renumbering.
//
// Threads: append() and position() by one thread, all others by any. Throws StoreError.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace dr::control {

struct LoggedEvent {
    std::int64_t id = 0;     // given by append()
    std::int64_t at_us = 0;  // since 1970
    std::string subscriber;
    std::string line;
    std::uint32_t tunnel = 0;
    std::string kind;
    std::uint8_t from = 0, to = 0;  // v1::TunnelStatus::State; 0: no change of state
    std::string cause;
    std::uint64_t outage_ns = 0;
    std::string endpoint;
    std::uint64_t value = 0;
};

struct EventQuery {
    std::string subscriber;
    std::string line;
    std::uint32_t tunnel = 0;
    std::vector<std::string> kinds;  // any of them; empty: all

    [[nodiscard]] bool matches(const LoggedEvent& event) const;
};

class EventLog {
  public:
    struct Bounds {
        std::uint64_t events = 1'000'000;
        std::int64_t age_s = 90 * 86'400;  // 0: any
        // How much faster than the steady clock the wall clock may make events older: a clock that
        // jumps ahead, and is put right an hour later, costs a day of history and not all of it.
        double pace = 24;
    };
    // Makes the file, or goes on with it.
    EventLog(const std::string& path, Bounds bounds);
    EventLog(const EventLog&) = delete;
    EventLog& operator=(const EventLog&) = delete;
    ~EventLog();

    // The last event that was read, and its incarnation; number 0: none.
    struct Position {
        std::string incarnation;
        std::uint64_t number = 0;
    };
    [[nodiscard]] Position position() const;
    // One commit. Then a part of the events beyond the bounds is removed: those that are too old,
    // and, if there are too many, the oldest of the subscribers with the most. So a subscriber with
    // endless events deletes no other history.
    void append(std::vector<LoggedEvent> events, const Position& position, std::int64_t now_us);

    // Newest first: of time in [since_us, until_us), below `token`, an earlier page's next.
    struct Page {
        std::vector<LoggedEvent> events;
        std::string next;  // empty: there are no more
    };
    static constexpr std::uint32_t kMaxVisited = 20'000;  // events looked at for one page
    // Throws std::invalid_argument if the token is malformed.
    Page list(const EventQuery& query, std::int64_t since_us, std::int64_t until_us,
              const std::string& token, std::uint32_t limit);
    // Oldest first: after `id`, at most `limit` looked at; `id` becomes that of the last of these.
    std::vector<LoggedEvent> after(const EventQuery& query, std::int64_t& id, std::uint32_t limit);
    // Waits until there is an event with a higher id, or for `time`. False: there is none.
    bool wait_for(std::int64_t id, std::chrono::milliseconds time);
    [[nodiscard]] std::int64_t last_id() const;
    [[nodiscard]] std::uint64_t count() const;

  private:
    class Writer;
    class Reader;
    std::int64_t age_clock(std::int64_t now_us);

    const Bounds bounds_;
    // The clock by which append() judges age. It follows the wall clock at the bounds' pace.
    std::optional<std::int64_t> age_us_;
    std::chrono::steady_clock::time_point aged_at_;
    std::unique_ptr<Writer> writer_;
    std::mutex reader_mutex_;
    std::unique_ptr<Reader> reader_;
    mutable std::mutex mutex_;  // below
    std::condition_variable grown_;
    std::int64_t last_id_ = 0;
    std::uint64_t count_ = 0;
};

}  // namespace dr::control
