// Tells loss on a full line from loss on a bad one.
#include "dataplane/liveness/congestion.h"

#include <algorithm>

namespace dr::liveness {

namespace {

// Loss up to here is what TCP causes itself on a line that it fills.
constexpr unsigned kFewPermille = 100;
constexpr unsigned kForget = 64;
constexpr std::uint32_t kLeastGrowth = 10'000;  // µs, of the round trip

std::uint32_t each_second(std::uint32_t count, Time length) {
    const std::uint64_t rate = std::uint64_t{count} * kSecond / std::max<Time>(length, 1);
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(rate, 0xffffffff));
}

// Of so many quarters of what is known. What is not known is no measure.
bool at_least(std::uint32_t rate, std::uint32_t known, unsigned quarters) {
    return known != 0 && std::uint64_t{rate} * 4 >= std::uint64_t{known} * quarters;
}

bool at_most(std::uint32_t rate, std::uint32_t known, unsigned quarters) {
    return known != 0 && std::uint64_t{rate} * 4 <= std::uint64_t{known} * quarters;
}

}  // namespace

void Capacity::calm(std::uint32_t rtt_us, std::uint32_t least) {
    if (calm_rtt_us_ == 0) {
        calm_rtt_us_ = std::min(rtt_us, least);
        return;
    }
    // Queues that are full without loss, as TCP has them, must not soon pass for usual.
    const std::uint64_t weight = rtt_us < calm_rtt_us_ ? 4 : 64;
    calm_rtt_us_ = static_cast<std::uint32_t>(
        (std::uint64_t{calm_rtt_us_} * (weight - 1) + std::uint64_t{rtt_us}) / weight);
}

bool Capacity::queues(const Smoothed& rtt) const {
    const std::uint32_t usual = calm_rtt_us_ != 0 ? calm_rtt_us_ : rtt.min_rtt;
    return usual != 0 && rtt.srtt >= std::uint64_t{usual} + std::max(kLeastGrowth, usual / 2);
}

bool Capacity::full(const DataSecond& second, const Smoothed& rtt, bool already) const {
    const std::uint32_t packets = each_second(second.received, second.length);
    const std::uint32_t bytes = each_second(second.bytes, second.length);
    if (packets == 0) return false;
    if (already || queues(rtt)) {
        return packets_ == 0 || at_least(packets, packets_, 2) || at_least(bytes, bytes_, 2);
    }
    return (at_least(packets, packets_, 3) && at_most(packets, packets_, 8)) ||
           (at_least(bytes, bytes_, 3) && at_most(bytes, bytes_, 8));
}

void Capacity::learn(const DataSecond& second, bool limit) {
    packets_ -= (packets_ + kForget - 1) / kForget;
    bytes_ -= (bytes_ + kForget - 1) / kForget;
    if (!limit && lost_permille(second.sent, second.received) > kFewPermille) return;
    packets_ = std::max(packets_, each_second(second.received, second.length));
    bytes_ = std::max(bytes_, each_second(second.bytes, second.length));
}

}  // namespace dr::liveness
