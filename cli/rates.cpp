// Computes rates from two samples of counters.
#include "cli/rates.h"

namespace dr::cli {
namespace {

// Seconds between two samples of one incarnation; nothing when a rate makes no sense.
template <class Sample>
std::optional<double> seconds_between(const Sample& before, const Sample& now) {
    if (before.incarnation() != now.incarnation() ||
        before.sampled_at_ns() >= now.sampled_at_ns()) {
        return std::nullopt;
    }
    return static_cast<double>(now.sampled_at_ns() - before.sampled_at_ns()) * 1e-9;
}

bool went_back(const dr::v1::TunnelCounters& before, const dr::v1::TunnelCounters& now) {
    return now.downlink_packets() < before.downlink_packets() ||
           now.downlink_bytes() < before.downlink_bytes() ||
           now.uplink_packets() < before.uplink_packets() ||
           now.uplink_bytes() < before.uplink_bytes();
}

double per_second(std::uint64_t before, std::uint64_t now, double seconds) {
    return static_cast<double>(now - before) / seconds;
}

}  // namespace

std::optional<TunnelRates> TunnelRateMeter::update(std::uint32_t id,
                                                   const dr::v1::TunnelCounters& counters) {
    constexpr double kBitsPerByte = 8.0;
    const auto [entry, is_new] = samples_.try_emplace(id);
    const dr::v1::TunnelCounters before = entry->second.counters;
    entry->second = {counters, snapshot_};
    const auto seconds = seconds_between(before, counters);
    if (is_new || !seconds || went_back(before, counters)) {
        return std::nullopt;
    }
    const double s = *seconds;
    return TunnelRates{
        per_second(before.downlink_packets(), counters.downlink_packets(), s),
        per_second(before.downlink_bytes(), counters.downlink_bytes(), s) * kBitsPerByte,
        per_second(before.uplink_packets(), counters.uplink_packets(), s),
        per_second(before.uplink_bytes(), counters.uplink_bytes(), s) * kBitsPerByte};
}

void TunnelRateMeter::end_snapshot() {
    std::erase_if(samples_, [this](const auto& one) { return one.second.snapshot != snapshot_; });
    ++snapshot_;
}

std::unordered_map<std::string, double> CounterRateMeter::update(
    const dr::v1::CountersSnapshot& snapshot) {
    std::unordered_map<std::string, double> rates;
    const auto seconds = seconds_between(last_, snapshot);
    if (seconds && last_.sampled_at_ns() != 0) {
        for (const auto& [name, value] : snapshot.counters()) {
            const auto before = last_.counters().find(name);
            if (before != last_.counters().end() && value >= before->second) {
                rates[name] = per_second(before->second, value, *seconds);
            }
        }
    }
    last_ = snapshot;
    return rates;
}

}  // namespace dr::cli
