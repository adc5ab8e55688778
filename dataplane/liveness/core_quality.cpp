// Paths that are not good enough for a class.
#include <algorithm>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

namespace {

bool over(unsigned value, unsigned limit, unsigned percent) {
    return limit != 0 && std::uint64_t{value} * 100 > std::uint64_t{limit} * percent;
}

struct Measured {
    unsigned loss_permille;
    unsigned rtt_us;
    unsigned jitter_us;
};

// Whether something is above so much of its limit.
bool violates(const Measured& m, const ClassPolicy& limits, unsigned percent) {
    return over(m.loss_permille, limits.max_loss_permille, percent) ||
           over(m.rtt_us, limits.max_rtt_ms * 1000U, percent) ||
           over(m.jitter_us, limits.max_jitter_ms * 1000U, percent);
}

constexpr unsigned kGoodSeconds = 30;
constexpr unsigned kMostGoodSeconds = 1800;
constexpr Time kForgetViolations = 3600;  // s

// `violations` counts the present one.
unsigned good_seconds_needed(unsigned violations) {
    const unsigned further = violations > 1 ? violations - 1 : 0;
    return std::min(kGoodSeconds << std::min(further, 6U), kMostGoodSeconds);
}

// Those of an hour without any are forgotten.
void count_violation(Time now, TunnelExtra& x, unsigned number) {
    if (now / kSecond > x.violated_at_s + kForgetViolations) x.violations.fill(0);
    x.violated_at_s = static_cast<std::uint32_t>(now / kSecond);
    if (x.violations[number] < 255) ++x.violations[number];
}

bool same_limits(const ClassPolicy& a, const ClassPolicy& b) {
    return a.max_loss_permille == b.max_loss_permille && a.max_rtt_ms == b.max_rtt_ms &&
           a.max_jitter_ms == b.max_jitter_ms;
}

}  // namespace

// Each second: a class's line must go after 3 bad seconds of 5, and may come back after 30 good
// ones in a row that keep a fifth away from the limits. Twice as many for each further time: what
// it cannot carry well it will not carry better after another 30 s without it.
void Core::check_quality(Time now, TunnelRef i, const Sample& second) {
    const Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    x.loss_rx.add(second.rx_expected, second.rx_got);
    x.loss_tx.add(second.tx_sent, second.tx_got);
    if (second.rx_got == 0) return;
    const Policy& policy = policies_[groups_[t.group].policy];
    const Measured measured{std::max(x.loss_rx.permille(), x.loss_tx.permille()),
                            second.rtt_count != 0 ? second.rtt_sum_us / second.rtt_count : 0,
                            x.smoothed.jitter};
    const std::uint8_t before = x.violating;
    for (unsigned c = 0; c < policy.classes; ++c) {
        const ClassPolicy& limits = policy.klass[c];
        if (!limits.limited()) continue;
        const bool bad = violates(measured, limits, 100);
        const bool good = !violates(measured, limits, 80);
        x.bad_history[c] = static_cast<std::uint8_t>((x.bad_history[c] << 1) | (bad ? 1 : 0));
        x.good_seconds[c] =
            static_cast<std::uint16_t>(good ? std::min(x.good_seconds[c] + 1, 0xffff) : 0);
        const auto bit = static_cast<std::uint8_t>(1U << c);
        if (__builtin_popcount(x.bad_history[c] & 31U) >= 3) {
            if ((x.violating & bit) == 0) count_violation(now, x, c);
            x.violating |= bit;
        } else if (x.good_seconds[c] >= good_seconds_needed(x.violations[c])) {
            x.violating &= static_cast<std::uint8_t>(~bit);
        }
    }
    if (x.violating == before) return;
    Event event = event_of(EventKind::Degraded, now, i);
    event.cause = Cause::QualityViolated;
    event.value = x.violating;
    emit(event);
    choose(now, t.group);
}

// What was found under other limits says nothing under these.
void Core::judge_anew(const Group& g, const Policy& before, const Policy& after) {
    for (unsigned c = 0; c < kClasses; ++c) {
        if (same_limits(before.klass[c], after.klass[c])) continue;
        for (const TunnelRef i : g.tunnel) {
            if (!i.valid()) continue;
            TunnelExtra& x = extras_[i];
            x.bad_history[c] = x.violations[c] = 0;
            x.good_seconds[c] = 0;
            x.violating &= static_cast<std::uint8_t>(~(1U << c));
        }
    }
}

}  // namespace dr::liveness
