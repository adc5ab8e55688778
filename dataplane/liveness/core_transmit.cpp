// Messages as they leave.
#include <algorithm>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

namespace {
constexpr unsigned kObservedEach = 16;  // one keepalive in 16 says what it sees
}  // namespace

void Core::send_soon(Time now, TunnelRef i) {
    tunnels_[i].next_tx = now;
    schedule(now, i);
}

// `guise`: not that of keepalives; null: it is.
void Core::send(TunnelRef i, Message& m, const Endpoint& to, const Guise* guise) {
    Tunnel& t = tunnels_[i];
    std::array<std::uint8_t, wire::kMaxProbeSize> buffer;
    m.key_number = t.key_number[t.tx_key_index];
    m.state = t.state;
    m.diagnostic = t.state != State::Up ? t.diagnostic
                   : t.congested        ? Diagnostic::Congested
                   : t.degraded         ? Diagnostic::DataLost
                                        : t.diagnostic;
    m.multiplier = profile_of(t).multiplier;
    m.salt = t.tx_salt;
    m.counter = ++t.tx_counter;
    const unsigned size = wire::encode(m, buffer);
    const std::span<std::uint8_t> message(buffer.data(), size);
    write_tag(t.tx_key, message);
    ++statistics_.sent;
    if (guise == nullptr)
        host_.send(i, to, message);
    else
        host_.send_as(i, *guise, to, message);
}

void Core::fill_group(const Group& g, Message& m) const {
    for (unsigned line = 0; line < kLines; ++line) {
        if (!g.tunnel[line].valid()) continue;
        const Tunnel& t = tunnels_[g.tunnel[line]];
        const unsigned bit = 1U << line;
        if (t.state == State::Up) m.lines_up = static_cast<std::uint16_t>(m.lines_up | bit);
        // Only what is known to be down: not what has just started, here or there.
        const bool down =
            !t.link_up || (t.state == State::Down && t.cause != Cause::Starting &&
                           t.cause != Cause::PeerRestarted && t.cause != Cause::PeerAdminDown);
        if (down) m.lines_down = static_cast<std::uint16_t>(m.lines_down | bit);
    }
    m.policy_generation = policies_[g.policy].generation;
    m.eligible = g.eligible;
    m.epoch = g.epoch;
    if (config_.role == Role::UserRouter) {
        m.epoch = g.peer_epoch;
    } else {
        m.notes |= wire::kNoteChoice;
        if (g.move != kNone) m.notes |= wire::kNotePlanned;
    }
    for (unsigned c = 1; c < kClasses; ++c) {
        if (m.eligible[c] != m.eligible[0]) m.flags |= wire::kFlagClasses;
    }
}

void Core::fill_observed(Tunnel& t, TunnelExtra& x, Message& m) const {
    // The UR says what it has found; the DR repeats it, so that the UR knows that it is taken.
    if (t.nat_known) m.notes |= wire::kNoteNatKnown;
    if (t.nat) m.notes |= wire::kNoteNat;
    if (config_.role == Role::UserRouter) {
        if (t.native) m.notes |= wire::kNoteNative;
        return;
    }
    if (x.observed_left == 0 && t.tx_counter % kObservedEach != 0) return;
    if (x.observed_left != 0) --x.observed_left;
    m.flags |= wire::kFlagObserved;
    m.observed = way(t);
}

void Core::send_keepalive(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    Intervals& n = x.intervals;
    const DataCounters data = host_.data_counters(i);
    Message m;
    m.desired_tx_us = n.wanted;
    m.required_rx_us = n.wanted;
    m.tx_time_us = n.sent_at = static_cast<std::uint32_t>(now / kMicrosecond);
    if (t.baseline) {
        m.echo_time_us = t.peer_tx_us;
        m.echo_hold_us = static_cast<std::uint32_t>(
            std::min<Time>((now - t.newest_rx) / kMicrosecond, wire::kNoEcho - 1));
    }
    m.received = t.received;
    m.highest = static_cast<std::uint32_t>(t.window.highest);
    m.data_sent = t.told_sent = static_cast<std::uint32_t>(data.sent);
    if (t.flow_ports || t.zero_sums) count_guise(now, i);
    if (!t.asked && asks(i)) {
        t.asked = true;
        x.asked_ms = static_cast<std::uint32_t>((now - t.last_rx) / kMillisecond);
    }
    m.data_received = static_cast<std::uint32_t>(data.received);
    m.path_mtu = x.mtu.size();
    if (t.state == State::Up && (n.polling || asks(i))) m.flags |= wire::kFlagPoll;
    if (t.final_owed) m.flags |= wire::kFlagFinal;
    t.final_owed = false;
    if (t.suspect_rx) m.notes |= wire::kNoteSuspect;
    if (now < x.data_note_until) m.notes |= wire::kNoteDataLost;
    if (now < x.missing_note_until) m.notes |= wire::kNoteDataMissing;
    fill_group(groups_[t.group], m);
    fill_observed(t, x, m);
    send(i, m, way(t));
    if (t.burst != 0) --t.burst;
    if (x.tx_since_advance == 0) x.tx_since_advance = now;
    t.next_tx = now + jittered(tx_interval(now, i), std::max<std::uint8_t>(1, x.peer_multiplier),
                               static_cast<std::uint16_t>(random32()));
}

}  // namespace dr::liveness
