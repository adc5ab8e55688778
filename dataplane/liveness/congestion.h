// Whether a line that loses data is full or broken (proto/TUNNEL.md §10).
#pragma once

#include <cstdint>

#include "dataplane/liveness/quality.h"

namespace dr::liveness {

// Data in the direction that this end receives, over about a second.
struct DataSecond {
    Time length = 0;
    std::uint32_t sent = 0;  // packets
    std::uint32_t received = 0;
    std::uint32_t bytes = 0;  // received, inner ones; 0: the host does not count them
};

// Lost, of 1000.
constexpr std::uint16_t lost_permille(std::uint32_t sent, std::uint32_t received) {
    if (received >= sent) return 0;
    return static_cast<std::uint16_t>(std::uint64_t{sent - received} * 1000 / sent);
}

// What the line has delivered lately while it lost next to nothing.
class Capacity {
  public:
    // A second's mean round trip, in which no data was lost. The first one may have seen a queue
    // that was there before its loss was judged: `least` is the least round trip so far.
    void calm(std::uint32_t rtt_us, std::uint32_t least);
    // Judges a second with loss: true when the line still delivers what it can. That is at least
    // half of what it has delivered, when a queue has grown before it or it was full already; else
    // from three quarters to twice of that.
    [[nodiscard]] bool full(const DataSecond& second, const Smoothed& rtt, bool already) const;
    // The round trip has grown beyond what it is without loss, or else at its least: packets wait
    // somewhere.
    [[nodiscard]] bool queues(const Smoothed& rtt) const;
    // Takes a second in. `limit`: what arrived is all that the line can carry, whatever was lost.
    void learn(const DataSecond& second, bool limit);

  private:
    // A second; the most of late, of which 1/64 is forgotten each second. 0: not known.
    std::uint32_t packets_ = 0;
    std::uint32_t bytes_ = 0;
    std::uint32_t calm_rtt_us_ = 0;  // 0: not known
};

}  // namespace dr::liveness
