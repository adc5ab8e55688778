// The two stages of detection, adapted to the path.
#include "dataplane/liveness/detection.h"

#include <cmath>

namespace dr::liveness {

namespace {

// A long interval is exceeded by so much at most before the path is suspect.
constexpr std::uint32_t kStandbyGrace = 1'000'000;

// Weights of the expectile that stands for the 99.9th percentile of gaps: up 1/4, down 1/4096.
constexpr unsigned kGapUp = 2;
constexpr unsigned kGapDown = 12;

}  // namespace

Detection::Limits Detection::limits(const Profile& profile, const Tuning& tuning,
                                    std::uint32_t interval_us) const {
    const bool standby = interval_us > profile.active_us;
    const Time interval = interval_us;
    const Time few = standby ? std::min(interval * 3, interval + kStandbyGrace) : interval * 3;
    const Time suspect =
        std::max({few, Time{gap_us[standby ? 1 : 0]}, Time{tuning.suspect_floor_us}});
    if (standby) return {suspect * kMicrosecond, (suspect + detection_us) * kMicrosecond};
    const Time down = std::max(Time{detection_us}, interval * profile.multiplier);
    return {std::min(suspect, down) * kMicrosecond, down * kMicrosecond};
}

void Detection::arrived(const Profile& profile, const Tuning& tuning, std::uint32_t interval_us,
                        Time gap) {
    const bool standby = interval_us > profile.active_us;
    const auto us =
        static_cast<std::uint32_t>(std::min<Time>(gap / kMicrosecond, profile.detection_max_us));
    std::uint32_t& known = gap_us[standby ? 1 : 0];
    if (us > known) {
        known += (us - known) >> kGapUp;
    } else {
        known -= (known - us) >> kGapDown;
    }
    if (standby) return;
    // A silence of more than two thirds of T was nearly a false down.
    if (Time{us} * 3 > Time{profile.detection_us} * 2) {
        const Time wanted = Time{us} * tuning.near_miss_percent / 100;
        const auto most =
            static_cast<std::uint32_t>(std::min<Time>(wanted, profile.detection_max_us));
        detection_us = std::max(detection_us, most);
    }
}

bool Detection::false_down(const Profile& profile, const Tuning& tuning) {
    const Time wanted = Time{detection_us} * tuning.false_down_percent / 100;
    const auto next = static_cast<std::uint32_t>(std::min<Time>(wanted, profile.detection_max_us));
    const bool changed = next > detection_us;
    detection_us = std::max(detection_us, next);
    return changed;
}

void Detection::decay(const Profile& profile, const Tuning& tuning, Time now) {
    constexpr Time kStep = 60 * kSecond;
    if (now < decayed + kStep) return;
    const double hours = static_cast<double>(now - decayed) / (3600.0 * kSecond);
    decayed = now;
    if (detection_us <= profile.detection_us) return;
    const double keep = std::pow(1.0 - tuning.decay_percent_per_hour / 100.0, hours);
    const auto above = static_cast<std::uint32_t>(detection_us * keep);
    detection_us = std::max(profile.detection_us, above);
}

}  // namespace dr::liveness
