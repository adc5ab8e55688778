// Rates from the differences of counters.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>

#include "dr/v1/api.pb.h"

namespace dr::cli {

struct TunnelRates {
    double downlink_packets_per_s = 0;
    double downlink_bits_per_s = 0;
    double uplink_packets_per_s = 0;
    double uplink_bits_per_s = 0;
};

// Remembers the last sample of each tunnel, by tunnel id.
class TunnelRateMeter {
  public:
    // Nothing for the first sample, after a restart of the data plane (another incarnation), when
    // the server took no new sample, or when a counter became smaller (the tunnel's slot was
    // reused).
    std::optional<TunnelRates> update(std::uint32_t id, const dr::v1::TunnelCounters& counters);
    // Ends a snapshot: tunnels without an update since the last call are forgotten.
    void end_snapshot();

  private:
    struct Sample {
        dr::v1::TunnelCounters counters;
        std::uint64_t snapshot = 0;
    };
    std::unordered_map<std::uint32_t, Sample> samples_;
    std::uint64_t snapshot_ = 0;
};

// The same for counters that have names.
class CounterRateMeter {
  public:
    // Counters per second by name; empty in the cases in which TunnelRateMeter has nothing.
    std::unordered_map<std::string, double> update(const dr::v1::CountersSnapshot& snapshot);

  private:
    dr::v1::CountersSnapshot last_;
};

}  // namespace dr::cli
