// What an operator is shown.
#include "dataplane/liveness/core.h"

namespace dr::liveness {

const char* text(State state) {
    constexpr std::array<const char*, 4> kNames{"admin-down", "down", "init", "up"};
    return kNames[static_cast<unsigned>(state) & 3U];
}

const char* text(Cause cause) {
    switch (cause) {
        case Cause::None:
            return "";
        case Cause::Starting:
            return "not up yet";
        case Cause::HandshakeComplete:
            return "keepalives pass in both directions";
        case Cause::DetectionExpired:
            return "no keepalive received for the detection time";
        case Cause::PeerSignalledDown:
            return "the peer does not receive this end's keepalives";
        case Cause::PeerAdminDown:
            return "the peer's administrator took it down";
        case Cause::AdminDown:
            return "taken down by the administrator";
        case Cause::LineDown:
            return "this end's link is down";
        case Cause::PeerRestarted:
            return "the peer has started again";
        case Cause::ReportedElsewhere:
            return "the peer reported it over another line";
        case Cause::DataLost:
            return "keepalives pass, data is lost";
        case Cause::Drained:
            return "being drained";
        case Cause::Damped:
            return "damped: went down too often";
        case Cause::WaitToRestore:
            return "waits to be restored";
        case Cause::QualityViolated:
            return "quality outside the policy's limits";
        case Cause::PeerNotUpYet:
            return "hears the peer, which does not answer yet";
    }
    return "";
}

const char* text(EventKind kind) {
    constexpr std::array<const char*, 19> kNames{
        "state",      "suspect",    "suspect-cleared", "degraded",      "eligible",
        "endpoint",   "nat",        "peer-restarted",  "key",           "detection-time",
        "unanswered", "kind-11",    "move-started",    "move-finished", "encapsulation",
        "path-mtu",   "flow-ports", "checksums",       "congested"};
    return kNames[static_cast<unsigned>(kind)];
}

Cause Core::why_not(const Tunnel& t, const TunnelExtra& x) const {
    const Group& g = groups_[t.group];
    unsigned eligible = 0;
    for (const std::uint16_t mask : g.eligible) eligible |= mask;
    if ((eligible >> t.line & 1U) != 0) return Cause::None;
    if (t.state != State::Up) return t.cause;
    if (t.degraded) return Cause::DataLost;
    if (x.restore.suppressed_since != kNever) return Cause::Damped;
    if (t.admin == Admin::Drain) return Cause::Drained;
    if (x.violating != 0) return Cause::QualityViolated;
    return x.restore.pending ? Cause::WaitToRestore : Cause::None;
}

TunnelStatus Core::status(Time now, TunnelRef tunnel) const {
    TunnelStatus s{};
    if (!valid(tunnel)) return s;
    const Tunnel& t = tunnels_[tunnel];
    const TunnelExtra& x = extras_[tunnel];
    s.state = t.state;
    s.peer_state = t.peer_state;
    s.cause = t.cause;
    s.ineligible = why_not(t, x);
    s.peer_diagnostic = x.peer_diagnostic;
    s.since = t.since;
    s.last_received = t.last_rx;
    s.peer = way(t);
    s.suspect_rx = t.suspect_rx;
    s.suspect_tx = t.suspect_tx;
    s.degraded = t.degraded;
    s.congested = t.congested || x.peer_diagnostic == Diagnostic::Congested;
    s.damped = x.restore.suppressed_since != kNever;
    s.active = t.active;
    s.nat_known = t.nat_known;
    s.nat = t.nat;
    s.flow_ports = t.flow_ports;
    s.checksums = tries_sums(t) && t.sums_told;
    s.flaps = x.restore.flaps;
    s.penalty = static_cast<std::uint32_t>(x.restore.penalty_now(config_.tuning, now));
    s.tx_interval_us = x.intervals.tx();
    s.rx_interval_us = x.intervals.rx();
    s.detection_us = static_cast<std::uint32_t>(limits_of(tunnel).down / kMicrosecond);
    if (x.restore.pending) {
        const Time due = x.restore.due(config_.tuning, groups_[t.group].restore_us, now);
        s.restore_ms_left = due == kNever ? 0xffffffff
                            : due > now   ? static_cast<std::uint32_t>((due - now) / kMillisecond)
                                          : 0;
    }
    // What was measured before a line went down says nothing of it now.
    if (t.state == State::Up) {
        s.srtt_us = x.smoothed.srtt;
        s.rtt_p95_us = x.smoothed.p95;
        s.jitter_us = x.smoothed.jitter;
    }
    s.peer_policy_generation = x.peer_policy_generation;
    s.path_mtu = x.path_mtu;
    s.own_path_mtu = x.mtu.size();
    s.peer_path_mtu = x.peer_path_mtu;
    s.mtu_limit = x.mtu.ceiling();
    s.path_mtu_since = x.mtu.since();
    if (s.peer_path_mtu != 0 && s.peer_path_mtu <= s.own_path_mtu)
        s.path_mtu_since = s.peer_path_mtu < s.own_path_mtu
                               ? x.peer_mtu_at
                               : std::max(x.peer_mtu_at, s.path_mtu_since);
    s.key_number = t.key_number[t.tx_key_index];
    s.violating = x.violating;
    History history = x.history;
    history.advance(now);
    s.second = history.second();
    s.ten_seconds = history.ten_seconds();
    s.minute = history.minute();
    return s;
}

Choice Core::current_choice(GroupRef group) const {
    Choice choice{};
    choice.moved.fill(~std::uint64_t{0});
    if (!valid(group)) return choice;
    const Group& g = groups_[group];
    choice.eligible = choice.previous = g.eligible;
    choice.suspect = g.suspect;
    choice.epoch = config_.role == Role::UserRouter ? g.peer_epoch : g.epoch;
    if (g.move != kNone) {
        choice.moving = true;
        choice.previous = moves_[g.move].from;
        choice.moved = moves_[g.move].moved;
    }
    return choice;
}

}  // namespace dr::liveness
