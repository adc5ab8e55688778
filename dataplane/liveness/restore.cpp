// Wait-to-restore and damping.
#include "dataplane/liveness/restore.h"

#include <algorithm>
#include <cmath>

namespace dr::liveness {

namespace {
constexpr Time kFlapMemory = 3600 * kSecond;
}

void Restore::flap(const Tuning& tuning, std::uint32_t base_us, Time now) {
    const bool again = wait_us != 0 && now < flap_at + kFlapMemory;
    const std::uint64_t grown = again ? std::uint64_t{wait(tuning, base_us, now)} * 2 : base_us;
    wait_us = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(grown, std::max(tuning.restore_max_us, base_us)));
    flap_at = now;
    ++flaps;
    was_pending = pending;
    pending = true;
    penalty = penalty_now(tuning, now) + static_cast<float>(tuning.penalty);
    penalty_at = now;
    if (suppressed_since == kNever && penalty >= static_cast<float>(tuning.suppress)) {
        suppressed_since = now;
    }
}

void Restore::forgive(const Tuning& tuning, Time now) {
    if (flaps == 0) return;
    --flaps;
    pending = was_pending;
    wait_us /= 2;
    penalty = std::max(penalty_now(tuning, now) - static_cast<float>(tuning.penalty), 0.0F);
    penalty_at = now;
    if (suppressed_since != kNever && penalty < static_cast<float>(tuning.suppress)) {
        suppressed_since = kNever;
    }
}

std::uint32_t Restore::wait(const Tuning& tuning, std::uint32_t base_us, Time now) const {
    const std::uint32_t from =
        std::min(std::max(wait_us, base_us), std::max(tuning.restore_max_us, base_us));
    const Time quiet = now - flap_at;
    if (quiet >= kFlapMemory) return base_us;
    const double left = 1.0 - static_cast<double>(quiet) / static_cast<double>(kFlapMemory);
    return base_us + static_cast<std::uint32_t>((from - base_us) * left);
}

Time Restore::due(const Tuning& tuning, std::uint32_t base_us, Time now) const {
    if (!pending) return 0;
    if (base_us == 0) return kNever;
    return clean_since + (Time{tuning.clean_us} + wait(tuning, base_us, now)) * kMicrosecond;
}

float Restore::penalty_now(const Tuning& tuning, Time now) const {
    if (penalty == 0 || now <= penalty_at) return penalty;
    const double halves = static_cast<double>(now - penalty_at) /
                          (static_cast<double>(tuning.half_life_us) * kMicrosecond);
    return penalty * static_cast<float>(std::exp2(-halves));
}

bool Restore::update_damping(const Tuning& tuning, Time now) {
    if (suppressed_since == kNever) return false;
    const bool over = now >= suppressed_since + Time{tuning.suppress_max_us} * kMicrosecond ||
                      penalty_now(tuning, now) <= static_cast<float>(tuning.reuse);
    if (over) suppressed_since = kNever;
    return !over;
}

Time Restore::damping_ends(const Tuning& tuning, Time now) const {
    if (suppressed_since == kNever) return kNever;
    const double ratio =
        static_cast<double>(penalty_now(tuning, now)) / std::max<double>(1, tuning.reuse);
    const double halves = ratio > 1 ? std::log2(ratio) : 0;
    const auto decay =
        static_cast<Time>(halves * static_cast<double>(tuning.half_life_us) * kMicrosecond);
    const Time longest = suppressed_since + Time{tuning.suppress_max_us} * kMicrosecond;
    return std::min(longest, now + decay + kMillisecond);
}

}  // namespace dr::liveness
