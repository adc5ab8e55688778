// Reads the data plane's events as they come and writes them to the event log, with names for
// numbers and the wall clock's time for the steady clock's. It has a thread of its own: nothing
// waits for it, and it waits only for the log's file.
//
// The events of one tunnel are limited. One event of kind "suppressed", a minute later, counts
// those beyond the limit.
//
// The log itself holds the position, so each event is written once. When drd is back, events from
// its absence follow, as far as the data plane still has them. An event of kind "missed" counts
// events that were overwritten unread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "control/events/event_limiter.h"
#include "control/events/event_log.h"
#include "control/events/journal.h"
#include "control/model/catalog.h"
#include "control/telemetry/live_map.h"

namespace dr::control {

class EventTail {
  public:
    // Where the present table is; null: the data plane is away.
    using Source = std::function<std::shared_ptr<const LiveMap>()>;
    // What is wrong with what is installed, in words; empty: nothing.
    struct Troubles {
        std::string left_out;    // objects that the data plane did not take
        std::string around_own;  // a prefix around something of the DR's own
    };
    // Nothing: the troubles are not known now.
    using TroublesSource = std::function<std::optional<Troubles>()>;
    // All outlive the tail.
    EventTail(Source source, Catalog& catalog, EventLog& log, Journal& journal,
              TroublesSource troubles = {});
    EventTail(const EventTail&) = delete;
    EventTail& operator=(const EventTail&) = delete;
    ~EventTail();

    void start();
    void stop();  // idempotent

    // Reads everything that is there now. Called by the thread, or by a test without one.
    void poll();

    struct Status {
        std::uint64_t missed = 0;
        std::string detail;  // why the log cannot be written
    };
    [[nodiscard]] Status status() const;

  private:
    struct Batch;
    void run();
    void adopt(std::shared_ptr<const LiveMap> map);
    bool drain(bool final);
    Batch collect(std::uint64_t next, bool final) const;
    std::vector<LoggedEvent> name(const Batch& batch);
    void tell_suppressed();
    void tell_troubles();
    void tell_journal();
    void watch_data_plane(bool there);

    Source source_;
    TroublesSource troubles_;
    Troubles told_;  // by the thread
    Catalog& catalog_;
    EventLog& log_;
    Journal& journal_;
    std::shared_ptr<const LiveMap> map_;  // by the thread
    EventLimiter limiter_;                // likewise
    bool lost_ = false;                   // likewise: it was there and is away
    std::vector<LoggedEvent> unlogged_;   // likewise: taken from the journal
    std::thread thread_;
    mutable std::mutex mutex_;  // below
    std::condition_variable stopping_;
    bool stop_ = false;
    Status status_;
};

}  // namespace dr::control
