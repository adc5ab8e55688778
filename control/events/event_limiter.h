// Limits the events of one tunnel in the log: a burst, and a number in each minute.
//
// A site with its key can make its tunnels go up and down thousands of times in a second. Events
// beyond the limit are counted, and the count is an event of the tunnel.
//
// Judges by the time of the events, so events that are read late are judged by when they happened.
// One thread.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

namespace dr::control {

class EventLimiter {
  public:
    struct Limits {
        double burst = 120;
        double per_minute = 12;
        std::uint64_t tell_after_ns = 60'000'000'000;  // between two counts of one tunnel
    };
    EventLimiter() : EventLimiter(Limits{}) {}
    explicit EventLimiter(Limits limits) : limits_(limits) {}

    // Whether an event of the tunnel (0: of the subscriber itself) at this time is logged. If not,
    // it is counted.
    bool take(std::uint32_t subscriber, std::uint32_t tunnel, std::uint64_t at_ns);

    struct Suppressed {
        std::uint32_t subscriber;
        std::uint32_t tunnel;
        std::uint64_t count;
    };
    // The counts to be logged now; they start at 0 again.
    std::vector<Suppressed> due(std::uint64_t now_ns);

    // Tunnels that are remembered: those with a recent event.
    [[nodiscard]] std::size_t size() const { return tunnels_.size(); }

  private:
    struct Tunnel {
        double used = 0;
        std::uint64_t at_ns = 0;
        std::uint64_t suppressed = 0;
        std::uint64_t since_ns = 0;  // the first of these
    };
    [[nodiscard]] double used_at(const Tunnel& tunnel, std::uint64_t at_ns) const;

    const Limits limits_;
    std::unordered_map<std::uint64_t, Tunnel> tunnels_;  // subscriber << 32 | tunnel
    std::size_t waiting_ = 0;                            // with something suppressed
    std::size_t clean_at_ = 4096;
};

}  // namespace dr::control
