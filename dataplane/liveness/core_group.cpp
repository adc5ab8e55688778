// Which lines carry a group's traffic.
#include <algorithm>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

namespace {

using Masks = std::array<std::uint16_t, kClasses>;

constexpr Time kMoveRetry = 100 * kMillisecond;

void set_bit(std::uint16_t& mask, unsigned line, bool on) {
    if (on) mask = static_cast<std::uint16_t>(mask | 1U << line);
}

std::uint16_t all_in_use(const Policy& policy, const Masks& eligible) {
    unsigned mask = 0;
    for (unsigned c = 0; c < policy.classes; ++c) mask |= in_use(policy.klass[c], eligible[c]);
    return static_cast<std::uint16_t>(mask);
}

std::uint16_t any(const Masks& masks) {
    unsigned mask = 0;
    for (const std::uint16_t m : masks) mask |= m;
    return static_cast<std::uint16_t>(mask);
}

// RFC 1982.
bool newer(std::uint16_t a, std::uint16_t b) {
    return static_cast<std::int16_t>(a - b) > 0;
}

}  // namespace

Lines Core::lines_of(Time now, const Group& g) const {
    Lines lines;
    for (unsigned line = 0; line < kLines; ++line) {
        if (!g.tunnel[line].valid()) continue;
        const Tunnel& t = tunnels_[g.tunnel[line]];
        const TunnelExtra& x = extras_[g.tunnel[line]];
        set_bit(lines.up, line, t.state == State::Up && t.link_up);
        set_bit(lines.suspect, line, t.suspect_rx || t.suspect_tx);
        set_bit(lines.degraded, line, t.degraded);
        set_bit(lines.silent, line, t.silent && !t.active);
        set_bit(lines.doubtful, line, t.doubtful);
        set_bit(lines.waiting, line, x.restore.pending);
        set_bit(lines.draining, line, t.admin == Admin::Drain);
        Restore damping = x.restore;
        set_bit(lines.damped, line, damping.update_damping(config_.tuning, now));
        for (unsigned c = 0; c < kClasses; ++c) {
            set_bit(lines.violating[c], line, (x.violating >> c & 1U) != 0);
        }
    }
    lines.losing = losing_most(g, lines);
    return lines;
}

// Of the degraded lines that are Up: those that lost more than another one; of those that lost as
// much, the one that was found out last.
std::uint16_t Core::losing_most(const Group& g, const Lines& lines) const {
    const unsigned degraded = lines.degraded & lines.up;
    unsigned least = 0xffff;
    for (unsigned line = 0; line < kLines; ++line) {
        if ((degraded >> line & 1U) == 0) continue;
        least = std::min<unsigned>(least, extras_[g.tunnel[line]].lost_permille);
    }
    std::uint16_t best = 0;
    for (unsigned line = 0; line < kLines; ++line) {
        if ((degraded >> line & 1U) == 0) continue;
        set_bit(best, line, extras_[g.tunnel[line]].lost_permille <= least + kSameLoss);
    }
    const unsigned last = g.losing == 0 ? 0U : 1U << (g.losing - 1U);
    if (best != last) best = static_cast<std::uint16_t>(best & ~last);
    return static_cast<std::uint16_t>(degraded & ~best);
}

// No line of the class is Up. A peer that was heard before may have stopped only its keepalives, as
// a router that is being upgraded does, and nothing is worse than to drop: of the lines whose peer
// has not said goodbye those that carried the class last, else the one heard last. 0: none.
std::uint16_t Core::last_resort(const Group& g, unsigned number) const {
    const ClassPolicy& policy = policies_[g.policy].klass[number];
    if (policy.strict) return 0;
    unsigned usable = 0;
    Time heard = 0;
    unsigned latest = 0;
    for (unsigned line = 0; line < kLines; ++line) {
        if (!g.tunnel[line].valid() || policy.tier[line] == kNoTier) continue;
        const Tunnel& t = tunnels_[g.tunnel[line]];
        const bool silent = t.cause == Cause::DetectionExpired ||
                            t.cause == Cause::PeerSignalledDown ||
                            t.cause == Cause::ReportedElsewhere;
        if (!silent || !t.link_up || t.admin != Admin::Up || !t.peer.known()) continue;
        usable |= 1U << line;
        if (t.last_rx < heard) continue;
        heard = t.last_rx;
        latest = 1U << line;
    }
    const unsigned last = usable & in_use(policy, g.eligible[number]);
    return static_cast<std::uint16_t>(last != 0 ? last : latest);
}

// The DR decides. A UR follows, but leaves a line that it knows to be down; and decides for itself
// while it has heard no DR, or when nothing is left of what the DR said.
Masks Core::wanted_here(const Group& g, const Lines& lines) const {
    const Policy& policy = policies_[g.policy];
    const bool follow = config_.role == Role::UserRouter && g.peer_epoch_known;
    Masks wanted{};
    for (unsigned c = 0; c < policy.classes; ++c) {
        const ClassPolicy& p = policy.klass[c];
        if (follow) wanted[c] = g.peer_eligible[c] & lines.up;
        const bool lost = wanted[c] == 0 && g.peer_eligible[c] != 0 && !p.strict;
        if (!follow || lost) wanted[c] = eligible_lines(p, c, lines);
        if (wanted[c] == 0 && (members(p) & lines.up) == 0) wanted[c] = last_resort(g, c);
    }
    for (unsigned c = policy.classes; c < kClasses; ++c) wanted[c] = wanted[0];
    return wanted;
}

void Core::choose(Time now, GroupRef group) {
    Group& g = groups_[group];
    if (!g.used) return;
    const Lines lines = lines_of(now, g);
    if (g.move != kNone && leaves_trouble(g, lines)) end_move(now, group, true);
    const Masks wanted = wanted_here(g, lines);
    const auto suspect = static_cast<std::uint16_t>(lines.suspect & lines.up);
    const bool suspicion = suspect != g.suspect;
    g.suspect = suspect;
    if (wanted != g.eligible || !g.published) {
        apply_choice(now, group, wanted, lines);
    } else if (suspicion) {
        publish(group);
    }
    spread_activity(now, group, lines);
}

// A change that somebody decided, while all the lines concerned work, may take its time.
bool Core::may_be_planned(Time now, const Group& g, const Masks& wanted, const Lines& lines) const {
    const Policy& policy = policies_[g.policy];
    const Time initial = Time{config_.tuning.initial_us} * kMicrosecond;
    if (!g.published || any(g.eligible) == 0) return false;
    if (g.first_up == 0 || now < g.first_up + initial) return false;
    if (config_.role == Role::UserRouter && !g.peer_planned) return false;
    bool moves = false;
    for (unsigned c = 0; c < policy.classes; ++c) {
        const std::uint16_t left = g.eligible[c] & static_cast<std::uint16_t>(~wanted[c]);
        if ((left & (~lines.up | lines.degraded)) != 0) return false;
        if (g.eligible[c] == 0 || wanted[c] == 0) return false;
        moves =
            moves || in_use(policy.klass[c], g.eligible[c]) != in_use(policy.klass[c], wanted[c]);
    }
    return moves;
}

// A line that a move leaves has failed, with buckets still on it.
bool Core::leaves_trouble(const Group& g, const Lines& lines) const {
    const Policy& policy = policies_[g.policy];
    const Masks& from = moves_[g.move].from;
    unsigned left = 0;
    for (unsigned c = 0; c < policy.classes; ++c) {
        const ClassPolicy& p = policy.klass[c];
        left |= in_use(p, from[c]) & ~static_cast<unsigned>(in_use(p, g.eligible[c]));
    }
    return (left & (~lines.up | lines.degraded)) != 0;
}

void Core::apply_choice(Time now, GroupRef group, const Masks& wanted, const Lines& lines) {
    Group& g = groups_[group];
    const bool planned = may_be_planned(now, g, wanted, lines);
    if (planned && (g.move != kNone || !start_move(now, group))) {
        // One move at a time: this one when there is room.
        g.waits_for_move = true;
        if (g.move == kNone) {
            wheel_.set(timer_of(group), now + kMoveRetry);
        }
        return;
    }
    if (!planned && g.move != kNone) end_move(now, group, false);
    const std::uint16_t before = any(g.eligible);
    g.eligible = wanted;
    g.published = true;
    g.waits_for_move = false;
    if (config_.role == Role::DistributionRouter) {
        ++g.epoch;
        tell_lines(now, group, {});
    }
    publish(group);
    tell_eligible(now, g, before, any(wanted), lines);
}

void Core::tell_eligible(Time now, const Group& g, std::uint16_t before, std::uint16_t after,
                         const Lines& lines) {
    for (unsigned line = 0; line < kLines; ++line) {
        if (((before ^ after) >> line & 1U) == 0 || !g.tunnel[line].valid()) continue;
        const TunnelRef i = g.tunnel[line];
        Event event = event_of(EventKind::Eligible, now, i);
        event.value = after >> line & 1U;
        const bool up = (lines.up >> line & 1U) != 0;
        event.cause = event.value != 0 ? Cause::None
                      : up             ? why_not(tunnels_[i], extras_[i])
                                       : tunnels_[i].cause;
        emit(event);
    }
}

void Core::publish(GroupRef group) {
    host_.choice(group, current_choice(group));
}

bool Core::start_move(Time now, GroupRef group) {
    Group& g = groups_[group];
    const auto free =
        std::find_if(moves_.begin(), moves_.end(), [](const Move& m) { return !m.used; });
    if (free == moves_.end()) return false;
    *free = Move{};
    free->used = true;
    free->started = now;
    free->from = g.eligible;
    g.move = static_cast<std::uint32_t>(free - moves_.begin());
    Event event{};
    event.kind = EventKind::MoveStarted;
    event.group = group;
    event.at = now;
    emit(event);
    // The first step has to wait for the host to know which buckets are in use.
    wheel_.set(timer_of(group), now + Time{config_.tuning.move_step_us} * kMicrosecond);
    return true;
}

void Core::end_move(Time now, GroupRef group, bool finished) {
    Group& g = groups_[group];
    Move& move = moves_[g.move];
    Event event{};
    event.kind = EventKind::MoveFinished;
    event.group = group;
    event.at = now;
    event.value = move.forced;
    move.used = false;
    g.move = kNone;
    wheel_.cancel(timer_of(group));
    emit(event);
    if (finished) publish(group);
}

void Core::group_due(Time now, GroupRef group) {
    Group& g = groups_[group];
    if (!g.used) return;
    if (g.move == kNone) {
        choose(now, group);
        return;
    }
    Move& move = moves_[g.move];
    const Policy& policy = policies_[g.policy];
    // Packets of a bucket may overtake each other by the difference of the paths.
    const unsigned used = all_in_use(policy, move.from) | all_in_use(policy, g.eligible);
    std::uint32_t fastest = 0xffffffff;
    std::uint32_t slowest = 0;
    for (unsigned line = 0; line < kLines; ++line) {
        if ((used >> line & 1U) == 0 || !g.tunnel[line].valid()) continue;
        const std::uint32_t rtt = extras_[g.tunnel[line]].smoothed.srtt;
        fastest = std::min(fastest, rtt);
        slowest = std::max(slowest, rtt);
    }
    const std::uint32_t difference = slowest > fastest ? slowest - fastest : 0;
    const std::uint32_t idle_ms = std::max(difference, config_.tuning.move_idle_us) / 1000;
    std::array<std::uint32_t, kBuckets> ages{};
    host_.bucket_ages(group, ages);
    const BucketSet before = move.moved;
    if (move.step(config_.tuning, now, idle_ms, ages)) {
        end_move(now, group, true);
        if (config_.role == Role::DistributionRouter) tell_lines(now, group, {});
        // What waited for this move; and the lines that it left carry nothing any more.
        choose(now, group);
        return;
    }
    if (move.moved != before) publish(group);
    wheel_.set(timer_of(group), now + Time{config_.tuning.move_step_us} * kMicrosecond);
}

// Lines that carry something keep the active interval, and all do while one of those is in trouble.
void Core::spread_activity(Time now, GroupRef group, const Lines& lines) {
    const Group& g = groups_[group];
    const Policy& policy = policies_[g.policy];
    unsigned carrying = all_in_use(policy, g.eligible);
    if (g.move != kNone) carrying |= all_in_use(policy, moves_[g.move].from);
    const bool alarm =
        (carrying & (lines.suspect | lines.doubtful | ~lines.up)) != 0 || carrying == 0;
    for (unsigned line = 0; line < kLines; ++line) {
        if (!g.tunnel[line].valid()) continue;
        Tunnel& t = tunnels_[g.tunnel[line]];
        const bool active = (carrying >> line & 1U) != 0;
        const bool begins = active && !t.active;
        if (begins) extras_[g.tunnel[line]].active_since = now;
        t.active = active;
        t.awake = alarm;
        if (!active && !alarm && t.asked && !t.suspect_rx) t.asked = false;
        if (asks(g.tunnel[line]) && !t.asked) send_soon(now, g.tunnel[line]);
        want_interval(now, g.tunnel[line]);
        if (begins) {
            // Its path may have changed while it carried keepalives alone.
            doubt_mtu(now, g.tunnel[line]);
            schedule(now, g.tunnel[line]);
        }
    }
}

// What this end knows or decides has changed: say so over every line that works.
void Core::tell_lines(Time now, GroupRef group, TunnelRef except) {
    for (const TunnelRef i : groups_[group].tunnel) {
        if (i.valid() && i != except && tunnels_[i].state == State::Up) send_soon(now, i);
    }
}

// When a class loses the last line of the tier that carried it, no line that is Up has to wait.
void Core::override_waits(Time now, GroupRef group, std::uint16_t dead) {
    Group& g = groups_[group];
    const Policy& policy = policies_[g.policy];
    const Lines lines = lines_of(now, g);
    for (unsigned c = 0; c < policy.classes; ++c) {
        const ClassPolicy& p = policy.klass[c];
        const std::uint16_t used = in_use(p, g.eligible[c]);
        const auto left = static_cast<std::uint16_t>(used & ~dead & lines.up & ~lines.degraded);
        if ((used & dead) == 0 || left != 0) continue;
        for (unsigned line = 0; line < kLines; ++line) {
            const unsigned bad = lines.degraded | lines.damped | dead;
            if (p.tier[line] == kNoTier || ((lines.up & ~bad) >> line & 1U) == 0) continue;
            extras_[g.tunnel[line]].restore.pending = false;
        }
    }
}

void Core::take_choice(Time now, TunnelRef i, const Message& m) {
    if (config_.role != Role::UserRouter || (m.notes & wire::kNoteChoice) == 0) return;
    Group& g = groups_[tunnels_[i].group];
    const bool planned = (m.notes & wire::kNotePlanned) != 0;
    if (g.peer_epoch_known && !g.peer_epoch_any && !newer(m.epoch, g.peer_epoch)) return;
    g.peer_epoch_known = true;
    g.peer_epoch_any = false;
    g.peer_epoch = m.epoch;
    g.peer_planned = planned;
    g.peer_eligible = m.eligible;
    choose(now, tunnels_[i].group);
}

}  // namespace dr::liveness
