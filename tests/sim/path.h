// One direction of a line: what becomes of a message that is sent at some time.
#pragma once

#include <cstdint>

#include "tests/sim/scenario.h"

namespace dr::sim {

// SplitMix64 (Steele, Lea, Flood 2014).
class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}
    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
    bool chance(double p) { return p > 0 && uniform() < p; }
    Time exponential(Time mean);

  private:
    std::uint64_t state_;
};

// Bursts and held delays are processes in time, drawn apart from the losses of single messages:
// with the same seed they are the same whoever sends.
class Path {
  public:
    Path(const Line& line, std::uint64_t seed);
    void set_cut(bool cut) { cut_ = cut; }
    // When a message sent now arrives; kNever: it is lost. `now` never falls.
    Time arrival(Time now);

  private:
    Time state_length();
    bool lost(Time now);
    Time delay(Time now);
    Time drawn(Random& random) const;
    Time replayed(Time now);

    const Line& line_;
    Random burst_random_;
    Random delay_random_;
    Random message_random_;
    bool cut_ = false;
    bool bad_ = false;
    Time state_until_ = 0;
    Time held_ = 0;
    Time held_until_ = 0;
    Time last_arrival_ = 0;
    Time trace_offset_ = 0;
    bool trace_lost_ = false;
};

}  // namespace dr::sim
