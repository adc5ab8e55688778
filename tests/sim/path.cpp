#include "tests/sim/path.h"

#include <algorithm>
#include <cmath>

namespace dr::sim {

namespace {

// A lost sample stands for the messages of this long; sampled more rarely, the rest passes.
constexpr Time kLostSample = 200 * kMillisecond;

// A replayed trace starts again when its last sample has lasted as long as they do on average.
Time length_of(const Trace& trace) {
    const Time whole = trace.back().at - trace.front().at;
    return whole + whole / (trace.size() - 1);
}

}  // namespace

Time Random::exponential(Time mean) {
    return 1 + static_cast<Time>(-std::log(1.0 - uniform()) * static_cast<double>(mean));
}

Path::Path(const Line& line, std::uint64_t seed)
    : line_(line), burst_random_(seed), delay_random_(seed + 1), message_random_(seed + 2) {
    if (line.loss.mean_good != 0) state_until_ = state_length();
    if (line.loss.exact) {
        state_until_ =
            static_cast<Time>(burst_random_.uniform() * static_cast<double>(state_until_));
    }
    if (line.delay.trace) {
        trace_offset_ = static_cast<Time>(delay_random_.uniform() *
                                          static_cast<double>(length_of(*line.delay.trace)));
    }
}

Time Path::state_length() {
    const Time mean = bad_ ? line_.loss.mean_bad : line_.loss.mean_good;
    return line_.loss.exact ? mean : burst_random_.exponential(mean);
}

bool Path::lost(Time now) {
    if (line_.loss.mean_good != 0) {
        while (now >= state_until_) {
            bad_ = !bad_;
            state_until_ += state_length();
        }
    }
    return message_random_.chance(bad_ ? line_.loss.bad : line_.loss.good);
}

Time Path::drawn(Random& random) const {
    const auto& q = line_.delay.quantiles;
    const double u = random.uniform();
    const auto above = std::find_if(q.begin() + 1, q.end() - 1,
                                    [u](const auto& point) { return u < point.first; });
    const auto below = above - 1;
    const double part = (u - below->first) / (above->first - below->first);
    return below->second +
           static_cast<Time>(part * static_cast<double>(above->second - below->second));
}

Time Path::replayed(Time now) {
    const Trace& trace = *line_.delay.trace;
    const Time at = (now + trace_offset_) % length_of(trace) + trace.front().at;
    const auto after = std::upper_bound(trace.begin(), trace.end(), at,
                                        [](Time t, const Sample& s) { return t < s.at; });
    auto sample = after - 1;
    trace_lost_ = sample->lost && at < sample->at + kLostSample;
    while (sample->lost && sample != trace.begin()) --sample;
    return sample->delay;
}

Time Path::delay(Time now) {
    if (line_.delay.trace) return replayed(now);
    if (line_.delay.quantiles.empty()) return line_.delay.fixed;
    if (line_.delay.hold == 0) return drawn(delay_random_);
    while (now >= held_until_) {
        held_ = drawn(delay_random_);
        held_until_ += delay_random_.exponential(line_.delay.hold);
    }
    return held_;
}

Time Path::arrival(Time now) {
    const Time later = delay(now);
    if (lost(now) || trace_lost_ || cut_) return kNever;
    Time at = now + later;
    if (!line_.reorders) at = std::max(at, last_arrival_);
    last_arrival_ = at;
    return at;
}

}  // namespace dr::sim
