// Salts and endpoints that are new: believed after a challenge, and not before.
#include <algorithm>

#include "dataplane/liveness/core.h"

namespace dr::liveness {

using wire::MessageType;

bool Core::refuses(TunnelRef i, const Endpoint& source) {
    if (is_peer(tunnels_[i], source) || host_.may_bind(i, source)) return false;
    ++statistics_.answers_refused;
    return true;
}

// The message is genuine, but may be one of an earlier start of the peer, replayed.
void Core::unknown_salt(Time now, TunnelRef i, const Message& m, const Endpoint& source) {
    ++statistics_.unknown_salt;
    if (refuses(i, source)) return;
    if (m.type == MessageType::Answer) {
        if (!good_answer(now, i, m, source)) {
            ++statistics_.answers_refused;
            return;
        }
        adopt_salt(now, i, m);
        if (!is_peer(tunnels_[i], source)) adopt_endpoint(now, i, source);
        if (m.token != 0) answer(now, i, m, source);
        restart_exchange(now, i);
        schedule(now, i);
        return;
    }
    challenge(now, i, m, source, Gate::Salt);
}

// Genuine and fresh, from an address that is not (yet) the peer's; or a probe in the encapsulation
// that is not in use. Neither says that the way in use is alive.
void Core::other_source(Time now, TunnelRef i, const Message& m, const Endpoint& source) {
    ++statistics_.other_source;
    if (refuses(i, source)) return;
    if (m.type == MessageType::Answer) {
        if (!good_answer(now, i, m, source)) {
            ++statistics_.answers_refused;
            return;
        }
        adopt_endpoint(now, i, source);
        believed(now, i, m, wire::kTokenSize, source);
        restart_exchange(now, i);
        return;
    }
    if (m.type == MessageType::ProbeAck) {
        each_second(now, i);
        count_received(tunnels_[i], extras_[i], m.counter);
        native_answered(now, i, m);
        return;
    }
    if (m.type == MessageType::Probe) {
        // Another encapsulation on trial: the answer goes back the way it came, and binds nothing.
        // Another source port on trial: what comes from there passes; the answer goes the way that
        // is known to.
        each_second(now, i);
        count_received(tunnels_[i], extras_[i], m.counter);
        Message ack;
        ack.type = MessageType::ProbeAck;
        ack.token = m.token;
        ack.probe_size = m.probe_size;
        send(i, ack, other_port(tunnels_[i], source) ? tunnels_[i].peer : source);
        return;
    }
    challenge(now, i, m, source, Gate::Endpoint);
}

// Answers with a challenge of its own where the message was one; never larger than what it answers.
// Answers have gates of their own: two ends that start together challenge each other at once, and
// each must still answer.
void Core::challenge(Time now, TunnelRef i, const Message& m, const Endpoint& to, Gate gate) {
    const bool answers = m.type == MessageType::Challenge;
    const Tunnel& t = tunnels_[i];
    const GatePlace place = gate_of(t, m, to, answers ? Gate::Answer : gate);
    if (!place.gate.take(now, place.tag, m.counter, config_.tuning.challenge_gap_us)) {
        ++statistics_.challenges_limited;
        return;
    }
    ++statistics_.challenges_sent;
    Message out;
    out.token = tokens_.make(now, t.id, extras_[i].adoptions, m.salt, to);
    out.type = answers ? MessageType::Answer : MessageType::Challenge;
    if (answers) out.answer = m.token;
    send(i, out, to);
}

// By tunnel and salt, so that replayed messages of other starts have other gates. A quarter of the
// sources has its own: who sends copies of a start's messages from elsewhere takes its challenges
// only where he overtakes them. So has an eighth of the tokens: replayed messages make the peer
// challenge here, with its own salt, and what it wants to know of the present start is another
// token.
Core::GatePlace Core::gate_of(const Tunnel& t, const Message& m, const Endpoint& to, Gate gate) {
    enum : std::uint32_t { kGate, kSource, kToken };
    const std::uint64_t quarter = tokens_.place(kSource, 0, 0, to) % 4;
    const std::uint64_t eighth =
        gate == Gate::Answer ? tokens_.place(kToken, 0, m.token, {}) % 8 : 0;
    const Endpoint part{static_cast<std::uint16_t>(gate),
                        0,
                        {static_cast<std::uint8_t>(quarter), static_cast<std::uint8_t>(eighth)}};
    const std::uint64_t place = tokens_.place(kGate, t.id, m.salt, part);
    return {gates_[place & (gates_.size() - 1)], static_cast<std::uint32_t>(place >> 32)};
}

void Core::answer(Time, TunnelRef i, const Message& m, const Endpoint& to) {
    Message out;
    out.type = MessageType::Answer;
    out.answer = m.token;
    send(i, out, to);
}

bool Core::good_answer(Time now, TunnelRef i, const Message& m, const Endpoint& source) const {
    return tokens_.valid(m.answer, now, tunnels_[i].id, extras_[i].adoptions, m.salt, source);
}

void Core::adopt_salt(Time now, TunnelRef i, const Message& m) {
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    const bool restarted = t.rx_salt != 0;
    t.rx_salt = m.salt;
    t.window.restart(m.counter);
    t.received = 1;
    t.baseline = false;
    t.peer_highest = t.peer_received = 0;
    if (restarted) {
        x.last_rx_before_restart = t.last_rx;
        x.adopted_at = now;
    }
    t.last_rx = now;
    t.peer_tx_us = 0;
    t.restarted = restarted;
    x.data_since = 0;
    x.down_detected = 0;
    ++x.adoptions;
    x.restart_unanswered(now);
    ++statistics_.adopted_salts;
    // A DR that has started again counts its epochs from anywhere.
    groups_[t.group].peer_epoch_any = true;
    if (!restarted) return;
    if (peer_was_away(now, i)) x.restore.forgive(config_.tuning, now);
    Event event = event_of(EventKind::PeerRestarted, now, i);
    emit(event);
}

// Whether the tunnel went down because its peer was away, and not its line: the peer has started
// again, and it was silent on every line when it was found to be silent on this one, but for what
// came late.
bool Core::peer_was_away(Time now, TunnelRef i) const {
    constexpr Time kLongest = 120 * kSecond;
    const Tunnel& t = tunnels_[i];
    if (t.state != State::Down || t.cause != Cause::DetectionExpired ||
        extras_[i].restore.flap_at != t.since || now >= t.since + kLongest)
        return false;
    const Time until = t.since + Time{extras_[i].detection.detection_us} * kMicrosecond;
    const auto& lines = groups_[t.group].tunnel;
    return std::none_of(lines.begin(), lines.end(), [&](TunnelRef other) {
        if (!other.valid() || other == i) return false;
        const bool anew = extras_[other].adopted_at > t.since;
        const Time heard = anew ? extras_[other].last_rx_before_restart : tunnels_[other].last_rx;
        return heard > until;
    });
}

void Core::adopt_endpoint(Time now, TunnelRef i, const Endpoint& source) {
    Tunnel& t = tunnels_[i];
    forget_nat(now, i);
    t.peer = source;
    ++extras_[i].adoptions;
    ++statistics_.adopted_endpoints;
    host_.bind(i, source);
    if (t.state == State::Up) search_mtu(now, i);
    Event event = event_of(EventKind::EndpointAdopted, now, i);
    emit(event);
}

}  // namespace dr::liveness
