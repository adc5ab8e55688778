// drd's own events: attaching and detaching, refusals with their reason, credentials, provisioning
// that moves traffic, the data plane. Each is printed on standard error at once, with a level, and
// written to the event log when the tail next runs (event_tail.h).
//
// An operator's acts (credentials, provisioning, the drain) are always logged. Other events are
// limited for each subject (a subscriber; all strangers together; the data plane) to 30 at once and
// then 6 a minute; the next logged event says how many were left out. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/events/event_log.h"
#include "control/events/event_text.h"

namespace dr::control {

class Journal {
  public:
    enum class Level { Info, Warning };
    using Clock = std::chrono::steady_clock;
    // Events that may wait for the log; further ones are only on standard error.
    static constexpr std::size_t kMostWaiting = 10'000;

    // `cause` is one of a bounded set of texts, because the log keeps each for ever. Varying parts
    // are `endpoint` and `value`; `said` has the text for standard error.
    struct Entry {
        const char* kind;
        std::string subscriber;
        std::string cause;
        std::string endpoint;
        std::uint64_t value = 0;
        std::string said;
    };
    void tell(Level level, const Entry& entry, Clock::time_point now = Clock::now());
    // The events to be logged; the journal forgets them.
    std::vector<LoggedEvent> take();

  private:
    struct Subject {
        double used = 0;
        Clock::time_point at;
        std::uint64_t untold = 0;
    };
    // Whether this event is logged; `untold`: how many before it were left out.
    bool passes(const std::string& subject, Clock::time_point now, std::uint64_t& untold);
    [[nodiscard]] static double used_at(const Subject& subject, Clock::time_point now);

    std::mutex mutex_;  // all below
    std::vector<LoggedEvent> waiting_;
    std::unordered_map<std::string, std::size_t> waiting_of_;  // how many, by kind
    std::unordered_map<std::string, Subject> subjects_;
    std::size_t clean_at_ = 4096;
};

// "198.51.100.7:39222" of gRPC's "ipv4:198.51.100.7:39222", "[2001:db8::7]:39222" of
// "ipv6:%5B2001:db8::7%5D:39222".
[[nodiscard]] std::string peer_text(const std::string& peer);

}  // namespace dr::control
