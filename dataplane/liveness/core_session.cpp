// States, detection, return, and when the next message is due.
#include <algorithm>
#include <array>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

namespace {

Diagnostic diagnostic_of(Cause cause) {
    switch (cause) {
        case Cause::DetectionExpired:
            return Diagnostic::DetectionExpired;
        case Cause::PeerSignalledDown:
        case Cause::PeerAdminDown:
            return Diagnostic::NeighbourDown;
        case Cause::AdminDown:
            return Diagnostic::AdminDown;
        case Cause::LineDown:
            return Diagnostic::LineDown;
        case Cause::PeerRestarted:
            return Diagnostic::PeerRestarted;
        case Cause::ReportedElsewhere:
            return Diagnostic::ReportedElsewhere;
        default:
            return Diagnostic::None;
    }
}

// A line is held by its data for so long at most.
constexpr Time kLongestHold = 30 * kSecond;

// A failure of the path, as against somebody's decision.
bool is_flap(Cause cause) {
    return cause == Cause::DetectionExpired || cause == Cause::PeerSignalledDown ||
           cause == Cause::LineDown || cause == Cause::ReportedElsewhere;
}

}  // namespace

void Core::enter(Time now, TunnelRef i, State state, Cause cause) {
    Tunnel& t = tunnels_[i];
    Event event = event_of(EventKind::StateChanged, now, i);
    event.to = state;
    event.cause = cause;
    const State before = t.state;
    t.state = state;
    t.cause = cause;
    t.since = now;
    if (t.diagnostic != Diagnostic::NoPath || state == State::Up || is_flap(cause)) {
        t.diagnostic = diagnostic_of(cause);
    }
    send_soon(now, i);
    if (state == State::Init) {
        t.burst = std::max<std::uint8_t>(t.burst, 3);
        emit(event);
        return;
    }
    if (state == State::Up) went_up(now, i, event);
    if (before == State::Up) went_down(now, i, cause);
    want_interval(now, i);
    emit(event);
    if (state == State::Up) search_mtu(now, i);
    tell_lines(now, t.group, i);
    choose(now, t.group);
}

void Core::went_up(Time now, TunnelRef i, Event& event) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    Group& g = groups_[t.group];
    ++statistics_.ups;
    if (t.was_up) event.outage = now - x.last_rx_before_down;
    t.was_up = true;
    t.restarted = false;
    x.restore.clean_since = now;
    x.loss_rx = x.loss_tx = {};
    x.data_since = 0;
    x.observed_left = 3;
    x.tx_since_advance = 0;
    if (g.first_up == 0) g.first_up = now;
}

void Core::went_down(Time now, TunnelRef i, Cause cause) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    ++statistics_.downs;
    const bool anew = cause == Cause::PeerRestarted && t.restarted;
    x.last_rx_before_down = anew ? x.last_rx_before_restart : t.last_rx;
    x.counter_before_down = t.window.highest;
    // The other end may only have been the first to lose patience.
    const bool silence =
        cause == Cause::DetectionExpired || (cause == Cause::ReportedElsewhere && t.suspect_rx);
    x.down_detected = silence ? now : 0;
    x.restart_unanswered(now);
    const bool fails = is_flap(cause) && cause != Cause::LineDown;
    leave_native(now, i, fails ? Leaving::Fails : Leaving::Told);
    x.mtu.stop();
    x.mtu_due = kNever;
    t.suspect_rx = t.suspect_tx = t.degraded = t.doubtful = t.silent = false;
    t.asked = false;
    set_congested(now, i, false);
    t.burst = static_cast<std::uint8_t>(std::min(config_.tuning.burst_count, 255U));
    const Group& g = groups_[t.group];
    if (is_flap(cause)) x.restore.flap(config_.tuning, g.restore_us, now);
    if (t.active) override_waits(now, t.group, static_cast<std::uint16_t>(1U << t.line));
}

// Anything that speaks against a line's being well starts the wait for its return again.
void Core::trouble(Time now, TunnelRef i) {
    extras_[i].restore.clean_since = now;
}

void Core::set_suspect(Time now, TunnelRef i, bool rx, bool suspect) {
    Tunnel& t = tunnels_[i];
    if (rx) {
        t.suspect_rx = suspect;
    } else {
        t.suspect_tx = suspect;
    }
    trouble(now, i);
    if (rx && suspect) {
        extras_[i].held_ms = 0;
        extras_[i].held_received = static_cast<std::uint32_t>(host_.data_counters(i).received);
    }
    Event event = event_of(suspect ? EventKind::Suspect : EventKind::SuspectCleared, now, i);
    event.value = rx ? 1 : 2;
    emit(event);
    choose(now, t.group);
    if (!suspect) return;
    if (config_.role == Role::UserRouter) leave_native(now, i, Leaving::Fails);
    send_soon(now, i);
}

Detection::Limits Core::limits_of(TunnelRef i) const {
    const Tunnel& t = tunnels_[i];
    const TunnelExtra& x = extras_[i];
    Detection::Limits limits = x.detection.limits(profile_of(t), config_.tuning, x.intervals.rx());
    if (t.state != State::Up) {
        // A peer that is not Up may be at its slow rate.
        const Time slow = Time{profile_of(t).slow_us} * profile_of(t).multiplier * kMicrosecond;
        limits.down = std::max(limits.down, slow);
        limits.suspect = limits.down;
    } else if (t.asked && stands_far(i)) {
        // An answer is due sooner than the next message.
        const Time until = Time{x.asked_ms} * kMillisecond;
        limits.suspect = std::min(limits.suspect, until + answer_gap(x));
        limits.down = std::min(
            limits.down, until + std::max(Time{x.detection.detection_us} * kMicrosecond,
                                          answer_gap(x) + Time{x.smoothed.srtt} * kMicrosecond));
    }
    return limits;
}

// Messages are so rare that their absence would be noticed too late when the line is needed.
bool Core::stands_far(TunnelRef i) const {
    return extras_[i].intervals.rx() > extras_[i].detection.detection_us;
}

// A line from which data comes is not dead: its keepalives find no room, or those who send them
// have stopped. So much is believed of data, which others may forge, for a while.
bool Core::held_by_data(Time now, TunnelRef i, Time down) {
    const Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    if (!t.suspect_rx || t.state != State::Up) return false;
    if (now < t.last_rx + Time{x.held_ms} * kMillisecond) return true;
    const Time most = std::max(kLongestHold, down);
    if (now >= t.last_rx + most) return false;
    const auto received = static_cast<std::uint32_t>(host_.data_counters(i).received);
    const std::uint32_t grown = received - x.held_received;
    if (grown < config_.tuning.data_packets) return false;
    x.held_received = received;
    const Time held = now - t.last_rx + Time{x.detection.detection_us} * kMicrosecond;
    x.held_ms = static_cast<std::uint32_t>(std::min(held, most) / kMillisecond);
    return true;
}

void Core::check_detection(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    if ((t.state != State::Up && t.state != State::Init) || now < grace_until_) return;
    const Detection::Limits limits = limits_of(i);
    const Time silence = now - t.last_rx;
    if (silence >= limits.down) {
        if (held_by_data(now, i, limits.down)) return;
        enter(now, i, State::Down, Cause::DetectionExpired);
    } else if (silence >= limits.suspect && !t.suspect_rx) {
        t.silent = t.asked && stands_far(i);
        set_suspect(now, i, true, true);
    }
}

void Core::check_restore(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    Restore& r = x.restore;
    bool changed = false;
    if (r.suppressed_since != kNever && !r.update_damping(config_.tuning, now)) changed = true;
    if (r.pending && t.state == State::Up) {
        if (t.suspect_rx || t.suspect_tx) trouble(now, i);
        if (now >= r.due(config_.tuning, groups_[t.group].restore_us, now)) {
            r.pending = false;
            t.degraded = false;
            changed = true;
        }
    }
    if (changed) choose(now, t.group);
}

void Core::check_unanswered(Time now, TunnelRef i) {
    const Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    if (t.state == State::Up || t.state == State::AdminDown || !t.link_up || !t.peer.known()) {
        return;
    }
    const std::uint32_t told = x.unanswered_told;
    // Four times, then no more: that the line is down is its state, and no news.
    constexpr std::array<std::uint32_t, 4> kTold{3, 10, 30, 300};
    const auto* const next = std::find_if(kTold.begin(), kTold.end(),
                                          [&](std::uint32_t seconds) { return seconds > told; });
    if (next == kTold.end() || now < x.unanswered_since + *next * kSecond) return;
    x.unanswered_told = *next;
    Event event = event_of(EventKind::Unanswered, now, i);
    event.value = *next;
    emit(event);
}

// What this end would like the interval to be, by what the tunnel carries.
void Core::want_interval(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    const Profile& p = profile_of(t);
    const bool up = t.state == State::Up;
    // A line that is to come back is watched as closely as one that carries.
    const bool returning = x.restore.pending && groups_[t.group].restore_us != 0;
    const bool fast = !up || t.active || t.awake || returning;
    const std::uint32_t before = x.intervals.tx();
    const bool polling = x.intervals.polling;
    x.intervals.want(fast ? p.active_us : p.standby_us, up);
    if (x.intervals.tx() < before || (x.intervals.polling && !polling)) send_soon(now, i);
}

// A long interval alone is no way to tell a lost message from a dead path: ask. And a line that is
// needed, or will be, is asked at once where its next message is far.
bool Core::asks(TunnelRef i) const {
    const Tunnel& t = tunnels_[i];
    if (t.state != State::Up || extras_[i].intervals.rx() <= profile_of(t).active_us) return false;
    return t.suspect_rx || ((t.active || t.awake) && stands_far(i));
}

std::uint32_t Core::tx_interval(Time now, TunnelRef i) const {
    const Tunnel& t = tunnels_[i];
    const TunnelExtra& x = extras_[i];
    const Profile& p = profile_of(t);
    if (t.state == State::Up) {
        return asks(i) ? std::min(p.active_us, x.intervals.tx()) : x.intervals.tx();
    }
    if (t.burst != 0) return config_.tuning.burst_us;
    const bool idle = config_.role == Role::DistributionRouter &&
                      now >= x.unanswered_since + Time{config_.tuning.idle_after_us} * kMicrosecond;
    return idle ? std::max(config_.tuning.idle_us, p.slow_us) : p.slow_us;
}

void Core::schedule(Time now, TunnelRef i) {
    const Tunnel& t = tunnels_[i];
    const TunnelExtra& x = extras_[i];
    Time at = t.link_up && t.peer.known() ? t.next_tx : kNever;
    if (t.state == State::Up || t.state == State::Init) {
        const Detection::Limits limits = limits_of(i);
        Time next = t.last_rx + (t.suspect_rx ? limits.down : limits.suspect);
        if (t.suspect_rx) next = std::max(next, t.last_rx + Time{x.held_ms} * kMillisecond);
        at = std::min(at, std::max(next, grace_until_));
    }
    if (x.restore.pending && t.state == State::Up) {
        at = std::min(at, x.restore.due(config_.tuning, groups_[t.group].restore_us, now));
    }
    at = std::min(at, x.restore.damping_ends(config_.tuning, now));
    if (tries_native(t)) at = std::min(at, x.native.next);
    if (tries_ports(t) && !t.flow_ports) at = std::min(at, x.ports.next);
    if (tries_sums(t) && !t.zero_sums) at = std::min(at, x.zero_sums.next);
    if (t.state == State::Up) at = std::min(at, x.mtu_due);
    wheel_.skip_to(now);
    wheel_.set(i.value, at);
}

void Core::each_second(Time now, TunnelRef i) {
    TunnelExtra& x = extras_[i];
    const Time second = x.history.current_second();
    Sample closed;
    if (!x.history.advance(now, &closed)) return;
    x.detection.decay(profile_of(tunnels_[i]), config_.tuning, now);
    x.loss_rx.forget(x.history.current_second() - second);
    x.loss_tx.forget(x.history.current_second() - second);
    // What an outage has swallowed is not held against the line's quality.
    const Tunnel& t = tunnels_[i];
    if (t.state != State::Up || t.since > second * kSecond) return;
    const bool full = t.congested || x.peer_diagnostic == Diagnostic::Congested;
    if (closed.rtt_count != 0 && x.lossy_seconds == 0 && !full) {
        x.capacity.calm(closed.rtt_sum_us / closed.rtt_count, x.smoothed.min_rtt);
    }
    if (t.congested && now / kSecond >= x.congested_until_s) set_congested(now, i, false);
    check_quality(now, i, closed);
}

void Core::tunnel_due(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    each_second(now, i);
    check_detection(now, i);
    check_restore(now, i);
    check_unanswered(now, i);
    if (now >= t.next_tx && t.link_up && t.peer.known()) send_keepalive(now, i);
    check_native(now, i);
    check_sums(now, i);
    check_ports(now, i);
    check_mtu(now, i);
    schedule(now, i);
}

Time Core::run(Time now, std::uint32_t budget) {
    // A host that comes late has not read its packets either: nobody is silent until it has.
    constexpr Time kLate = 200 * kMillisecond;
    constexpr Time kGrace = 100 * kMillisecond;
    const Time due = wheel_.next();
    if (due != kNever && now > due + kLate) grace_until_ = now + kGrace;
    // Some at a time, so that their rows come from memory together.
    std::array<TunnelRef, 16> batch;
    unsigned count = 0;
    for (bool more = true; more; count = 0) {
        for (; more && count < batch.size(); budget -= more) {
            const std::uint32_t entry = budget != 0 ? wheel_.expire(now) : TimerWheel::kNone;
            more = entry != TimerWheel::kNone;
            if (entry < tunnels_.size()) {
                batch[count] = {entry};
                prefetch(batch[count++]);
            } else if (more) {
                group_due(now, GroupRef{entry - tunnels_.size()});
            }
        }
        prefetch_groups({batch.data(), count});
        for (unsigned n = 0; n < count; ++n) tunnel_due(now, batch[n]);
    }
    return wheel_.next();
}

void Core::prefetch(TunnelRef tunnel) const {
    constexpr std::size_t kLine = 64;
    if (tunnel.value >= tunnels_.size()) return;
    const auto* t = reinterpret_cast<const char*>(&tunnels_[tunnel]);
    const auto* x = reinterpret_cast<const char*>(&extras_[tunnel]);
    for (std::size_t at = 0; at < sizeof(Tunnel); at += kLine) __builtin_prefetch(t + at, 1);
    for (std::size_t at = 0; at < TunnelExtra::kWarm; at += kLine) __builtin_prefetch(x + at, 1);
    wheel_.prefetch(tunnel.value);
}

// What a keepalive says of all lines.
void Core::prefetch_groups(std::span<const TunnelRef> tunnels) const {
    for (const TunnelRef i : tunnels) {
        const Group& g = groups_[tunnels_[i].group];
        __builtin_prefetch(&g);
        __builtin_prefetch(&g.eligible);
    }
    for (const TunnelRef i : tunnels) {
        for (const TunnelRef sibling : groups_[tunnels_[i].group].tunnel) {
            if (sibling.valid() && sibling != i) __builtin_prefetch(&tunnels_[sibling]);
        }
    }
}

}  // namespace dr::liveness
