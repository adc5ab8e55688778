// Paths that answer keepalives and lose data: broken ones, and such as are asked for more than they
// can carry.
#include <algorithm>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

namespace {

// How long the peer is told that some of its data did not arrive: two keepalives of a slow line.
constexpr Time kMissingNote = kSecond;
// Packets that are sent and do not arrive are a reason to ask the lines that stand by.
constexpr std::uint32_t kDoubtful = 5;
constexpr Time kDoubt = 2 * kSecond;  // for so long
// A line is congested that is full and loses more than this, three seconds in a row; until it has
// not for so long.
constexpr unsigned kLossyPermille = 250;
constexpr unsigned kLossySeconds = 3;
// A degraded line that is in use and loses no more than this in a second passes data again.
constexpr unsigned kHealedPermille = 50;
constexpr Time kCongested = 10 * kSecond;
// The peer's count stands still for so long and a round trip: nothing arrives there.
constexpr std::uint32_t kNothingArrivesMs = 400;
// Between two changes of line because of lost data where all lines lose some: twice as long each
// time, until there was none for a while.
constexpr Time kFirstHold = kSecond;
constexpr unsigned kMostDoublings = 9;
constexpr Time kForgetMoves = 1200 * kSecond;

std::uint32_t milliseconds(Time t) {
    return static_cast<std::uint32_t>(t / kMillisecond);
}

}  // namespace

// The receiver compares: the peer's count of data sent, in its keepalive, and what has arrived here
// when the keepalive does. Both took the same path, so nothing is "in flight" between them.
void Core::check_data(Time now, TunnelRef i, const Message& m) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    const Tuning& k = config_.tuning;
    if (t.state != State::Up) return;
    const bool first = x.data_since == 0;
    if (!first &&
        (x.data_messages < 2 || now < x.data_since + Time{k.data_window_us} * kMicrosecond)) {
        return;
    }
    count_reported(now, i, m);
    const DataCounters counted = host_.data_counters(i);
    const auto here = static_cast<std::uint32_t>(counted.received);
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
    const bool nothing = sound && got == 0 && sent != 0;
    if (!sound || got != 0) {
        x.data_silent_since = 0;
        x.silent_sent = 0;
    }
    if (nothing) {
        if (x.data_silent_since == 0) x.data_silent_since = began;
        x.silent_sent += std::min(sent, 0xffffU);
    }
    const bool lost_here = x.silent_sent >= kDoubtful && now < x.data_silent_since + kDoubt;
    const std::uint32_t unreported_us = x.unreported * k.data_window_us;
    const bool lost_there = x.unreported > 1 && unreported_us < kDoubt / kMicrosecond &&
                            unreported_us >= k.data_window_us + x.smoothed.srtt;
    set_doubtful(now, i, lost_here || lost_there);
    if (first) {
        x.reported_told = t.told_sent;
        x.unreported = 0;
        x.bad_seconds = x.lossy_seconds = 0;
        begin_second(now, i, counted.received_bytes);
        return;
    }
    if (sound && sent > got) {
        x.missing_note_until = now + kMissingNote;
        doubt_mtu(now, i);
    }
    if (nothing && x.silent_sent >= k.data_packets &&
        now >= x.data_silent_since + Time{k.data_hole_us} * kMicrosecond) {
        x.data_silent_since = 0;
        x.silent_sent = 0;
        set_doubtful(now, i, false);
        degrade(now, i, true, 1000);
        return;
    }
    x.second_sent += sent;
    x.second_received += got;
    if (!sound) {
        x.unsound_sent += sent;
        x.unsound_received += got;
    }
    if (now >= x.data_second + kSecond) judge_second(now, i, counted.received_bytes);
}

// What has arrived at the peer, of this end's data.
void Core::count_reported(Time now, TunnelRef i, const Message& m) {
    TunnelExtra& x = extras_[i];
    const std::uint32_t told = tunnels_[i].told_sent;
    if (m.data_received != x.reported) {
        x.reported = m.data_received;
        x.reported_ms = milliseconds(now);
        x.reported_told = told;
        x.unreported = 0;
    } else if (told - x.reported_told >= kDoubtful && x.unreported < 255) {
        ++x.unreported;
    }
}

void Core::begin_second(Time now, TunnelRef i, std::uint64_t bytes) {
    TunnelExtra& x = extras_[i];
    x.data_second = now;
    x.second_sent = x.second_received = x.unsound_sent = x.unsound_received = 0;
    x.second_bytes = static_cast<std::uint32_t>(bytes);
    x.second_told = tunnels_[i].told_sent;
    x.second_reported = x.reported;
}

void Core::judge_second(Time now, TunnelRef i, std::uint64_t bytes) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    const Tuning& k = config_.tuning;
    const DataSecond all{now - x.data_second, x.second_sent, x.second_received,
                         static_cast<std::uint32_t>(bytes) - x.second_bytes};
    const std::uint32_t sound_sent = x.second_sent - x.unsound_sent;
    const std::uint16_t sound_loss =
        lost_permille(sound_sent, x.second_received - x.unsound_received);
    const bool enough = all.sent >= k.data_packets;
    const std::uint16_t loss = lost_permille(all.sent, all.received);
    const std::uint16_t worse = std::max(enough ? loss : std::uint16_t{0}, sending_loss(i));
    const bool bad = sound_sent >= k.data_packets && sound_loss > k.data_loss_permille;
    const bool lossy = enough && loss > kLossyPermille;
    const auto seconds = static_cast<unsigned>(std::min<Time>(all.length / kSecond, kLossySeconds));
    x.lossy_seconds =
        static_cast<std::uint8_t>(lossy ? std::min(x.lossy_seconds + seconds, 255U) : 0);
    const bool full = lossy && (x.capacity.full(all, x.smoothed, t.congested) || all_lose(t.group));
    x.bad_seconds = static_cast<std::uint8_t>(bad && !full ? x.bad_seconds + 1 : 0);
    x.capacity.learn(all, full);
    begin_second(now, i, bytes);
    // What a full line loses would be lost on another one, too: there is none better for it, but
    // one that is known to have lost less.
    bool leave = x.bad_seconds >= 2;
    if (full && x.lossy_seconds >= (bad ? 2 : kLossySeconds)) {
        x.congested_until_s = static_cast<std::uint32_t>((now + kCongested) / kSecond);
        set_congested(now, i, true);
        leave = bad && loses_most(i, worse);
    }
    const bool in_use = t.active && x.active_since + all.length <= now;
    if (t.degraded && in_use && enough && worse <= kHealedPermille) heal(now, i);
    if (!leave) return;
    x.bad_seconds = 0;
    degrade(now, i, true, worse);
}

// It was taken because no better one was there, and delivers: the next loss is news, and not the
// same that made all lines lose.
void Core::heal(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    Group& g = groups_[t.group];
    t.degraded = false;
    g.loss_hold_until = 0;
    g.loss_moves = 0;
    if (g.losing == t.line + 1) g.losing = 0;
    choose(now, t.group);
}

// Of the data that this end sends, since the second began, by the peer's count.
std::uint16_t Core::sending_loss(TunnelRef i) const {
    const TunnelExtra& x = extras_[i];
    const std::uint32_t sent = tunnels_[i].told_sent - x.second_told;
    if (sent < config_.tuning.data_packets) return 0;
    return lost_permille(sent, x.reported - x.second_reported);
}

// A line that was left because it lost data lost less than this one does.
bool Core::loses_most(TunnelRef i, unsigned lost) const {
    for (const TunnelRef other : groups_[tunnels_[i].group].tunnel) {
        if (!other.valid() || other == i) continue;
        const Tunnel& o = tunnels_[other];
        const unsigned least = extras_[other].lost_permille + kSameLoss;
        if (o.state == State::Up && o.degraded && lost > least) return true;
    }
    return false;
}

// More is asked for than all lines together can carry.
bool Core::all_lose(GroupRef group) const {
    for (const TunnelRef i : groups_[group].tunnel) {
        if (i.valid() && tunnels_[i].state == State::Up && !tunnels_[i].degraded) return false;
    }
    return true;
}

void Core::set_congested(Time now, TunnelRef i, bool congested) {
    Tunnel& t = tunnels_[i];
    if (t.congested == congested) return;
    t.congested = congested;
    tell_congestion(now, i);
    send_soon(now, i);
}

void Core::tell_congestion(Time now, TunnelRef i) {
    Event event = event_of(EventKind::Congested, now, i);
    const bool peer = extras_[i].peer_diagnostic == Diagnostic::Congested;
    event.value = (tunnels_[i].congested ? 1U : 0U) | (peer ? 2U : 0U);
    emit(event);
}

// Data does not arrive, here or there: before it is known that none does, the lines that stand by
// are asked whether they are there.
void Core::set_doubtful(Time now, TunnelRef i, bool doubtful) {
    Tunnel& t = tunnels_[i];
    if (t.doubtful == doubtful) return;
    t.doubtful = doubtful;
    spread_activity(now, t.group, lines_of(now, groups_[t.group]));
}

// Not eligible until its wait is over: with the traffic gone, nothing else can tell whether data
// passes again. If it does not, it comes back here, and the next wait is longer.
void Core::degrade(Time now, TunnelRef i, bool tell_peer, std::uint16_t loss) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    if (tell_peer) {
        x.data_note_until = now + Time{config_.tuning.data_note_us} * kMicrosecond;
        send_soon(now, i);
    }
    trouble(now, i);
    if (config_.role == Role::UserRouter) leave_native(now, i, Leaving::LosesData);
    Group& g = groups_[t.group];
    // In use although it loses data, because no better one was there: another, found out longer
    // ago, may pass data again, but going to and fro helps nobody.
    const bool again = t.degraded;
    if (again && now < g.loss_hold_until) return;
    const bool carried = t.active;
    x.lost_permille = loss;
    g.losing = static_cast<std::uint8_t>(t.line + 1);
    if (!again) {
        t.degraded = true;
        x.restore.flap(config_.tuning, g.restore_us, now);
        if (t.active) override_waits(now, t.group, static_cast<std::uint16_t>(1U << t.line));
        Event event = event_of(EventKind::Degraded, now, i);
        event.cause = Cause::DataLost;
        emit(event);
    }
    choose(now, t.group);
    if (!carried || t.active) return;
    if (now > g.loss_moved_at + kForgetMoves) g.loss_moves = 0;
    g.loss_moved_at = now;
    g.loss_hold_until = now + (kFirstHold << g.loss_moves);
    if (g.loss_moves < kMostDoublings) ++g.loss_moves;
}

// The peer says that it has lost data of this end's.
void Core::take_data_lost(Time now, TunnelRef i) {
    const Tunnel& t = tunnels_[i];
    const TunnelExtra& x = extras_[i];
    // A note is repeated for a while: on a line in use it is news when it comes later than that.
    const Time repeated = Time{config_.tuning.data_note_us} * kMicrosecond;
    if (t.degraded && (!t.active || now < x.active_since + repeated)) return trouble(now, i);
    if (now < explained_until(x)) return trouble(now, i);
    const std::uint32_t silence = milliseconds(now) - x.reported_ms;
    const bool nothing = silence >= kNothingArrivesMs + x.smoothed.srtt / 1000;
    const unsigned least = config_.tuning.data_loss_permille;
    const unsigned loss = nothing ? 1000U : std::max<unsigned>(least, sending_loss(i));
    degrade(now, i, false, static_cast<std::uint16_t>(loss));
}

}  // namespace dr::liveness
