// Paths that answer keepalives and lose data, and paths that are not good enough for a class.
#include <algorithm>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

namespace {
// How long the peer is told that some of its data did not arrive: two keepalives of a slow line.
constexpr Time kMissingNote = kSecond;
}  // namespace

// The receiver compares: the peer's count of data sent, in its keepalive, and what has arrived here
// when the keepalive does. Both took the same path, so nothing is "in flight" between them.
void Core::check_data(Time now, std::uint32_t i, const Message& m) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    const Tuning& k = config_.tuning;
    if (t.state != State::Up) return;
    const bool first = x.data_since == 0;
    if (!first &&
        (x.data_messages < 2 || now < x.data_since + Time{k.data_window_us} * kMicrosecond)) {
        return;
    }
    const auto here = static_cast<std::uint32_t>(host_.data_counters({i}).received);
    const std::uint32_t sent = m.data_sent - t.data_sent;
    const std::uint32_t got = here - t.data_received;
    const std::uint64_t expected = m.counter - x.data_counter;
    // A window in which keepalives were lost as well says nothing of data alone.
    const bool sound = !first && expected < 2 * std::uint64_t{x.data_messages};
    const Time began = x.data_since;
    t.data_sent = m.data_sent;
    t.data_received = here;
    x.data_since = now;
    x.data_counter = m.counter;
    x.data_messages = 0;
    if (!sound || got != 0) {
        x.data_silent_since = 0;
        x.silent_sent = 0;
    }
    if (!sound) return;
    if (sent > got) {
        x.missing_note_until = now + kMissingNote;
        doubt_mtu(now, i);
    }
    if (got == 0 && sent != 0) {
        if (x.data_silent_since == 0) x.data_silent_since = began;
        x.silent_sent += std::min(sent, 0xffffU);
        if (x.silent_sent >= k.data_packets &&
            now >= x.data_silent_since + Time{k.data_hole_us} * kMicrosecond) {
            x.data_silent_since = 0;
            x.silent_sent = 0;
            degrade(now, i, true);
            return;
        }
    }
    check_data_second(now, i, sent, got);
}

void Core::check_data_second(Time now, std::uint32_t i, std::uint32_t sent,
                             std::uint32_t received) {
    TunnelExtra& x = extras_[i];
    const Tuning& k = config_.tuning;
    if (now > x.data_second + 2 * kSecond) {
        x.data_second = now;
        x.second_sent = x.second_received = 0;
        x.bad_seconds = 0;
    }
    x.second_sent += sent;
    x.second_received += received;
    if (now < x.data_second + kSecond) return;
    const bool bad = x.second_sent >= k.data_packets && x.second_received < x.second_sent &&
                     std::uint64_t{x.second_sent - x.second_received} * 1000 >
                         std::uint64_t{x.second_sent} * k.data_loss_permille;
    x.bad_seconds = static_cast<std::uint8_t>(bad ? x.bad_seconds + 1 : 0);
    x.data_second = now;
    x.second_sent = x.second_received = 0;
    if (x.bad_seconds >= 2) {
        x.bad_seconds = 0;
        degrade(now, i, true);
    }
}

// Not eligible until its wait is over: with the traffic gone, nothing else can tell whether data
// passes again. If it does not, it comes back here, and the next wait is longer.
void Core::degrade(Time now, std::uint32_t i, bool tell_peer) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    if (tell_peer) {
        x.data_note_until = now + Time{config_.tuning.data_note_us} * kMicrosecond;
        send_soon(now, i);
    }
    trouble(now, i);
    if (config_.role == Role::UserRouter) leave_native(now, i, Leaving::LosesData);
    Group& g = groups_[t.group];
    const bool other = g.losing != t.line + 1;
    g.losing = static_cast<std::uint8_t>(t.line + 1);
    if (t.degraded) {
        // In use all the same: one of the others, found out longer ago, may pass data again.
        if (other) choose(now, t.group);
        return;
    }
    t.degraded = true;
    x.restore.flap(config_.tuning, groups_[t.group].restore_us, now);
    if (t.active) override_waits(now, t.group, static_cast<std::uint16_t>(1U << t.line));
    Event event = event_of(EventKind::Degraded, now, i);
    event.cause = Cause::DataLost;
    emit(event);
    choose(now, t.group);
}

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

bool same_limits(const ClassPolicy& a, const ClassPolicy& b) {
    return a.max_loss_permille == b.max_loss_permille && a.max_rtt_ms == b.max_rtt_ms &&
           a.max_jitter_ms == b.max_jitter_ms;
}

}  // namespace

// Each second: a class's line must go after 3 bad seconds of 5, and may come back after 30 good
// ones in a row that keep a fifth away from the limits.
void Core::check_quality(Time now, std::uint32_t i, const Sample& second) {
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
            static_cast<std::uint8_t>(good ? std::min(x.good_seconds[c] + 1, 255) : 0);
        const auto bit = static_cast<std::uint8_t>(1U << c);
        if (__builtin_popcount(x.bad_history[c] & 31U) >= 3) {
            x.violating |= bit;
        } else if (x.good_seconds[c] >= 30) {
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
        for (const std::uint32_t i : g.tunnel) {
            if (i == kNone) continue;
            TunnelExtra& x = extras_[i];
            x.bad_history[c] = x.good_seconds[c] = 0;
            x.violating &= static_cast<std::uint8_t>(~(1U << c));
        }
    }
}

}  // namespace dr::liveness
