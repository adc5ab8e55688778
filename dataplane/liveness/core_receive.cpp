// What a message does: authentication first, then everything else.
#include <algorithm>
#include <utility>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

using wire::MessageType;

int Core::find_key(const Tunnel& t, std::uint8_t number) const {
    for (int k = 0; k < t.key_count; ++k) {
        if (t.key_number[static_cast<unsigned>(k)] == number) return k;
    }
    return -1;
}

void Core::receive(Time now, TunnelRef tunnel, std::span<const std::uint8_t> bytes,
                   const Endpoint& source, Tag tag) {
    if (!valid(tunnel)) return;
    const TunnelRef i = tunnel;
    Tunnel& t = tunnels_[i];
    Message m;
    if (wire::decode(bytes, m) != wire::DecodeError::None) {
        ++statistics_.malformed;
        return;
    }
    const int key = find_key(t, m.key_number);
    if (key < 0) {
        ++statistics_.unknown_key;
        return;
    }
    if (tag != Tag::Right && !verify_tag(t.rx_key[static_cast<unsigned>(key)], bytes)) {
        ++statistics_.bad_tag;
        return;
    }
    const bool elsewhere = !is_peer(t, source);
    const bool trial =
        (m.type == MessageType::Probe || m.type == MessageType::ProbeAck) && source != way(t);
    // The acknowledgement of a probe comes from where the probe was sent to, and a probe may try
    // other ports.
    const bool binding =
        m.type != MessageType::ProbeAck && (m.type != MessageType::Probe || !other_port(t, source));
    if (elsewhere && t.peer.known() && !t.roaming && binding) {
        ++statistics_.other_source;
    } else if (m.salt != t.rx_salt) {
        unknown_salt(now, i, m, source);
    } else if (!t.window.fresh(m.counter)) {
        ++statistics_.replayed;
    } else if (elsewhere || trial) {
        other_source(now, i, m, source);
    } else {
        believed(now, i, m, bytes.size(), source);
    }
}

void Core::count_received(Tunnel& t, TunnelExtra& x, std::uint64_t counter) {
    const std::uint64_t expected = counter > t.window.highest ? counter - t.window.highest : 0;
    x.history.received(static_cast<std::uint32_t>(std::min<std::uint64_t>(expected, 0xffff)), 1);
    t.window.mark(counter);
    ++t.received;
    ++x.data_messages;
    ++statistics_.received;
}

void Core::believed(Time now, TunnelRef i, const Message& m, std::size_t size,
                    const Endpoint& source) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    const bool newest = m.counter > t.window.highest;
    const Time previous = t.last_rx;
    each_second(now, i);
    count_received(t, x, m.counter);
    t.last_rx = now;
    if (t.state != State::Up) x.restart_unanswered(now);
    if (t.state == State::Up && previous != 0) {
        x.detection.arrived(profile_of(t), config_.tuning, x.intervals.rx(), now - previous);
    }
    if (t.asked) t.asked = t.silent = false;
    if (t.suspect_rx) set_suspect(now, i, true, false);
    const int key = find_key(t, m.key_number);
    if (newest && key != t.tx_key_index && config_.role == Role::DistributionRouter) {
        use_tx_key(t, x, static_cast<unsigned>(key));
        Event event = event_of(EventKind::KeySwitched, now, i);
        event.value = m.key_number;
        emit(event);
    }
    switch (m.type) {
        case MessageType::Keepalive:
            // What came late was overtaken by newer news.
            if (!newest) break;
            measure(now, i, m);
            keepalive(now, i, m);
            break;
        case MessageType::Challenge:
            answer(now, i, m, source);
            break;
        case MessageType::Answer:
            if (m.token != 0) answer(now, i, m, source);
            break;
        case MessageType::Probe: {
            Message ack;
            ack.type = MessageType::ProbeAck;
            ack.token = m.token;
            ack.probe_size = static_cast<std::uint16_t>(size);
            send(i, ack, source);
            break;
        }
        case MessageType::ProbeAck:
            ports_answered(now, i, m);
            sums_answered(now, i, m);
            mtu_acknowledged(now, i, m);
            break;
    }
    schedule(now, i);
}

void Core::measure(Time now, TunnelRef i, const Message& m) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    const auto now_us = static_cast<std::uint32_t>(now / kMicrosecond);
    if (m.echo_hold_us != wire::kNoEcho) {
        const std::uint32_t rtt = now_us - m.echo_time_us - m.echo_hold_us;
        constexpr std::uint32_t kSenseless = 60'000'000;
        if (rtt < kSenseless) {
            x.history.rtt(rtt);
            x.smoothed.rtt(rtt);
        }
    }
    if (t.baseline) {
        x.smoothed.transit(static_cast<std::int32_t>(m.tx_time_us - t.peer_tx_us),
                           static_cast<std::int64_t>((now - t.newest_rx) / kMicrosecond));
    }
    t.peer_tx_us = m.tx_time_us;
    t.newest_rx = now;
    const std::uint32_t sent = m.highest - t.peer_highest;
    if (t.baseline && sent != 0 && sent < 0x80000000U) {
        x.history.reported(sent, m.received - t.peer_received);
    }
    const bool advanced = !t.baseline || m.received != t.peer_received;
    t.peer_highest = m.highest;
    t.peer_received = m.received;
    t.baseline = true;
    if (advanced) {
        x.tx_since_advance = 0;
        if (t.suspect_tx) set_suspect(now, i, false, false);
    } else if (t.state == State::Up && !t.suspect_tx && x.tx_since_advance != 0) {
        // The peer's keepalives come, and say that ours do not arrive.
        const Intervals& n = x.intervals;
        const Time patience = std::max(Time{n.tx()} * 3, Time{config_.tuning.suspect_floor_us}) +
                              n.rx() + x.smoothed.srtt;
        if (now > x.tx_since_advance + patience * kMicrosecond) set_suspect(now, i, false, true);
    }
}

void Core::keepalive(Time now, TunnelRef i, const Message& m) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    t.peer_state = m.state;
    const Diagnostic said = std::exchange(x.peer_diagnostic, m.diagnostic);
    if ((said == Diagnostic::Congested) != (m.diagnostic == Diagnostic::Congested)) {
        tell_congestion(now, i);
    }
    x.peer_multiplier = m.multiplier;
    x.peer_policy_generation = m.policy_generation;
    x.intervals.peer_desired = std::min(m.desired_tx_us, 60'000'000U);
    x.intervals.peer_required = std::min(m.required_rx_us, 60'000'000U);
    const bool final = (m.flags & wire::kFlagFinal) != 0 && m.echo_hold_us != wire::kNoEcho;
    if (final) x.intervals.final_received(m.echo_time_us);
    if ((m.flags & wire::kFlagPoll) != 0) {
        t.final_owed = true;
        send_soon(now, i);
    }
    if (x.down_detected != 0) judge_down(now, i, m);
    const State next = next_state(t.state, m.state);
    if (next != t.state) {
        Cause cause = next == State::Init ? Cause::PeerNotUpYet : Cause::HandshakeComplete;
        if (next == State::Down) {
            const bool lost = t.restarted || m.diagnostic == Diagnostic::PeerRestarted;
            cause = m.state == State::AdminDown ? Cause::PeerAdminDown
                    : lost                      ? Cause::PeerRestarted
                                                : Cause::PeerSignalledDown;
        }
        enter(now, i, next, cause);
    }
    take_view(now, i, m);
    take_choice(now, i, m);
    take_notes(now, i, m);
    take_peer_mtu(now, i, m.path_mtu);
    doubt_guise(now, i, m);
    check_data(now, i, m);
}

// Silence that ended soon, of a peer that was sending all the time, was no failure. What was held
// up comes one after the other, so each message is looked at until it is too late.
void Core::judge_down(Time now, TunnelRef i, const Message& m) {
    TunnelExtra& x = extras_[i];
    const Time outage = now - x.last_rx_before_down;
    const Time detection = Time{x.detection.detection_us} * kMicrosecond;
    const Time expected = outage / kMicrosecond / std::max(1U, x.intervals.rx());
    if (now >= x.down_detected + detection) {
        x.down_detected = 0;
        return;
    }
    if (m.counter - x.counter_before_down < expected / 2) return;
    x.down_detected = 0;
    ++statistics_.false_downs;
    if (!x.detection.false_down(profile_of(tunnels_[i]), config_.tuning)) return;
    Event event = event_of(EventKind::DetectionAdapted, now, i);
    event.value = x.detection.detection_us;
    emit(event);
}

void Core::take_notes(Time now, TunnelRef i, const Message& m) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    bool known = t.nat_known;
    bool nat = t.nat;
    if (config_.role == Role::UserRouter) {
        if (m.observed.known() && x.local.known()) {
            known = true;
            // A port that the host does not know, or that native GRE has not, says nothing.
            const bool same_port =
                x.local.port == 0 || m.observed.port == 0 || x.local.port == m.observed.port;
            nat = m.observed.family != x.local.family || m.observed.address != x.local.address ||
                  !same_port;
        }
    } else {
        known = (m.notes & wire::kNoteNatKnown) != 0;
        nat = known && (m.notes & wire::kNoteNat) != 0;
    }
    const bool none =
        known && !nat && (m.notes & wire::kNoteNatKnown) != 0 && (m.notes & wire::kNoteNat) == 0;
    if (none != t.no_nat || (nat && !t.nat)) {
        Event event = event_of(EventKind::NatChanged, now, i);
        event.value = none ? 0 : nat ? 1 : 2;
        emit(event);
    }
    t.nat_known = known;
    t.nat = nat;
    t.no_nat = none;
    if (!none) use_ports(now, i, false);
    if (config_.role == Role::DistributionRouter) {
        const bool native = (m.notes & wire::kNoteNative) != 0;
        use_native(now, i, native && t.automatic && none && t.state == State::Up);
    } else if (!none) {
        leave_native(now, i, Leaving::Told);
    } else if ((m.notes & wire::kNoteSuspect) != 0) {
        leave_native(now, i, Leaving::Fails);
    }
    if ((m.notes & (wire::kNoteDataLost | wire::kNoteDataMissing)) != 0) doubt_mtu(now, i);
    if ((m.notes & wire::kNoteDataLost) != 0 && t.state == State::Up) take_data_lost(now, i);
}

// A line that the peer knows to be down is down here, unless its own tunnel has said something
// since.
void Core::take_view(Time now, TunnelRef i, const Message& m) {
    if (m.lines_down == 0) return;
    const Group& g = groups_[tunnels_[i].group];
    for (unsigned line = 0; line < kLines; ++line) {
        const TunnelRef other = g.tunnel[line];
        if ((m.lines_down >> line & 1U) == 0 || !other.valid() || other == i) continue;
        const Tunnel& o = tunnels_[other];
        const bool newer = static_cast<std::int32_t>(m.tx_time_us - o.peer_tx_us) > 0;
        if (o.state == State::Up && newer) {
            enter(now, other, State::Down, Cause::ReportedElsewhere);
            schedule(now, other);
        }
    }
}

}  // namespace dr::liveness
