// What drd itself has to tell of: who attaches and leaves, who is refused and why, credentials,
// provisioning that moves traffic, the data plane. Each goes to standard error at once, with a
// level, and to the event log with the tail's next look (event_tail.h).
//
// An operator's acts are always told: credentials, provisioning, the drain. Of what others cause, a
// subject (a subscriber; all strangers together; the data plane) brings 30 at once and then 6 a
// minute; the next one that is told says how many were not. Any thread.
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
    // Events of a kind that wait for the log at most; more are on standard error alone.
    static constexpr std::size_t kMostWaiting = 10'000;

    // `cause` is one of a bounded number of texts, since the log keeps each for good; what varies
    // is `endpoint` and `value`, of which `said` has the words for standard error.
    struct Entry {
        const char* kind;
        std::string subscriber;
        std::string cause;
        std::string endpoint;
        std::uint64_t value = 0;
        std::string said;
    };
    void tell(Level level, const Entry& entry, Clock::time_point now = Clock::now());
    // What is to be logged; it is forgotten here.
    std::vector<LoggedEvent> take();

  private:
    struct Subject {
        double used = 0;
        Clock::time_point at;
        std::uint64_t untold = 0;
    };
    // Whether this one is told; `untold`: how many were not before it.
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
