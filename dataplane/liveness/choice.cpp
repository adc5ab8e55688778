// The lines that carry a class, and the steps of a move.
#include "dataplane/liveness/choice.h"

#include <algorithm>

namespace dr::liveness {

std::uint16_t members(const ClassPolicy& policy) {
    unsigned mask = 0;
    for (unsigned line = 0; line < kLines; ++line) {
        if (policy.tier[line] != kNoTier) mask |= 1U << line;
    }
    return static_cast<std::uint16_t>(mask);
}

std::uint16_t in_use(const ClassPolicy& policy, std::uint16_t eligible) {
    unsigned best = kNoTier;
    unsigned mask = 0;
    for (unsigned line = 0; line < kLines; ++line) {
        const unsigned tier = policy.tier[line];
        if ((eligible >> line & 1U) == 0 || tier == kNoTier || tier > best) continue;
        if (tier < best) mask = 0;
        best = tier;
        mask |= 1U << line;
    }
    return static_cast<std::uint16_t>(mask);
}

std::uint16_t eligible_lines(const ClassPolicy& policy, unsigned number, const Lines& lines) {
    const unsigned up = members(policy) & lines.up;
    const unsigned soft = static_cast<unsigned>(lines.violating[number]) | lines.draining;
    // From the least to the most serious thing that may be said against a line.
    const std::array<unsigned, 6> against{lines.waiting,
                                          soft,
                                          lines.damped,
                                          lines.degraded,
                                          static_cast<unsigned>(lines.degraded & lines.losing),
                                          lines.silent};
    unsigned forbidden = 0;
    for (const unsigned mask : against) forbidden |= mask;
    unsigned result = up & ~forbidden;
    if (policy.strict) return static_cast<std::uint16_t>(result);
    for (unsigned allowed = 1; result == 0 && allowed <= against.size(); ++allowed) {
        unsigned worse = 0;
        for (unsigned i = allowed; i < against.size(); ++i) worse |= against[i];
        result = up & ~worse;
    }
    return static_cast<std::uint16_t>(result);
}

bool Move::step(const Tuning& tuning, Time now, std::uint32_t idle_ms,
                std::span<const std::uint32_t, kBuckets> ages) {
    const bool force = now >= started + Time{tuning.move_force_us} * kMicrosecond;
    unsigned budget = force ? tuning.move_force_buckets : 0;
    bool all = true;
    for (unsigned bucket = 0; bucket < kBuckets; ++bucket) {
        std::uint64_t& word = moved[bucket / 64];
        const std::uint64_t bit = std::uint64_t{1} << (bucket % 64);
        if ((word & bit) != 0) continue;
        const bool idle = ages[bucket] > idle_ms;
        if (!idle && budget == 0) {
            all = false;
            continue;
        }
        if (!idle) {
            --budget;
            ++forced;
        }
        word |= bit;
    }
    return all;
}

}  // namespace dr::liveness
