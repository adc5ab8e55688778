// State of each tunnel and latest events of the data plane's liveness threads, mapped read-only
// (dataplane/southbound/liveness_memfd.h).
//
// Reading disturbs nobody. Any thread. The map stays valid after the data plane has ended: its
// last events can still be read.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "dataplane/southbound/liveness_memfd.h"

namespace dr::control {

// Numbers of tunnels with keepalives, by state.
struct LiveCounts {
    std::array<std::uint64_t, 4> state{};  // by liveness::State
    std::uint64_t suspect = 0, degraded = 0, damped = 0, active = 0;
};

class LiveMap {
  public:
    // Throws MemfdError if it is not a liveness memfd of this version and of `uuid`.
    LiveMap(FileDescriptor fd, std::uint64_t bytes, const std::array<std::uint8_t, 16>& uuid);
    LiveMap(const LiveMap&) = delete;
    LiveMap& operator=(const LiveMap&) = delete;
    ~LiveMap();

    // Nothing when the data plane runs no keepalives for this id (the whole id counts, generation
    // included). Ask only for tunnels that should have keepalives: the first read of a page
    // allocates it.
    [[nodiscard]] std::optional<southbound::LivenessState> tunnel(std::uint32_t id) const;
    // Reads all rows in use.
    [[nodiscard]] LiveCounts count() const;
    void each(const std::function<void(const southbound::LivenessState&)>& visit) const;
    // By name: "sent", "bad_tag", …
    [[nodiscard]] std::vector<std::pair<std::string, std::uint64_t>> statistics() const;

    struct Event {
        std::uint64_t number;
        std::uint64_t at_ns;  // CLOCK_MONOTONIC
        std::uint64_t outage_ns;
        std::uint32_t tunnel;
        std::uint32_t subscriber;
        std::uint8_t kind, from, to, cause;
        std::uint32_t value;
        std::array<std::uint8_t, 16> endpoint;
        std::uint16_t port;
        std::uint8_t family, line;
        std::uint32_t suppressed;  // left out before it, see liveness_memfd.h
    };
    static_assert(sizeof(Event) == sizeof(southbound::LivenessEvent));
    // The number of the latest event; 0: there was none.
    [[nodiscard]] std::uint64_t latest() const;
    enum class Reading {
        Done,
        Pending,  // still being written
        Gone,     // overwritten by a later one
    };
    Reading read_event(std::uint64_t number, Event& event) const;
    // How many of the latest events are kept.
    [[nodiscard]] std::uint64_t event_slots() const { return event_slots_; }

    [[nodiscard]] const std::string& incarnation() const { return incarnation_; }

  private:
    void check(const std::array<std::uint8_t, 16>& uuid);
    [[nodiscard]] const southbound::LivenessHeader& header() const;
    [[nodiscard]] bool read_row(std::uint32_t slot, southbound::LivenessState& state) const;

    FileDescriptor fd_;
    const std::uint8_t* base_ = nullptr;
    std::uint64_t size_ = 0;
    std::string incarnation_;
    // Checked copies: the data plane may write the header at any time.
    std::uint64_t rows_ = 0, events_ = 0;
    std::uint32_t tunnel_slots_ = 0, event_slots_ = 0;
};

// Converts times of the steady clock to the wall clock, by both clocks at one moment.
class WallClock {
  public:
    WallClock();
    // Nanoseconds of CLOCK_MONOTONIC -> microseconds since 1970.
    [[nodiscard]] std::int64_t at_us(std::uint64_t monotonic_ns) const;
    [[nodiscard]] std::uint64_t monotonic_ns() const { return monotonic_ns_; }
    [[nodiscard]] std::int64_t now_us() const { return wall_us_; }

  private:
    std::uint64_t monotonic_ns_;
    std::int64_t wall_us_;
};

}  // namespace dr::control
