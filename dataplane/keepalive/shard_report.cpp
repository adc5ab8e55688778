// What a shard says to the liveness memfd: a tunnel's row at once when something has happened to
// it, and all rows in turn within a second; events as they come.
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

#include "dataplane/keepalive/shard.h"

namespace dr::keepalive {

using liveness::Time;
using southbound::LivenessState;

namespace {

constexpr Time kSweep = liveness::kSecond;
// How old the sums may be.
constexpr Time kCount = 10 * liveness::kMillisecond;
// Rows in a round: a shard that was away does not make up for it at once.
constexpr std::uint32_t kRowsPerRound = 256;

southbound::LivenessWindow window_of(const liveness::Quality& q) {
    return {q.rtt_min_us,       q.rtt_avg_us,       q.rtt_max_us,
            q.loss_rx_permille, q.loss_tx_permille, q.messages};
}

std::uint16_t flags_of(const liveness::TunnelStatus& s) {
    unsigned flags = 0;
    if (s.suspect_rx) flags |= LivenessState::kSuspectRx;
    if (s.suspect_tx) flags |= LivenessState::kSuspectTx;
    if (s.degraded) flags |= LivenessState::kDegraded;
    if (s.damped) flags |= LivenessState::kDamped;
    if (s.active) flags |= LivenessState::kActive;
    if (s.nat_known) flags |= LivenessState::kNatKnown;
    if (s.nat) flags |= LivenessState::kNat;
    if (s.congested) flags |= LivenessState::kCongested;
    flags |= unsigned{s.violating} << LivenessState::kViolatingShift;
    return static_cast<std::uint16_t>(flags);
}

LivenessState row_of(const liveness::TunnelStatus& s) {
    LivenessState row{};
    row.state = static_cast<std::uint8_t>(s.state);
    row.peer_state = static_cast<std::uint8_t>(s.peer_state);
    row.cause = static_cast<std::uint8_t>(s.cause);
    row.ineligible = static_cast<std::uint8_t>(s.ineligible);
    row.peer_diagnostic = static_cast<std::uint8_t>(s.peer_diagnostic);
    row.key_number = s.key_number;
    row.family = static_cast<std::uint8_t>(s.peer.family);
    row.flags = flags_of(s);
    row.port = s.peer.port;
    row.peer_policy_generation = s.peer_policy_generation;
    row.path_mtu = s.path_mtu;
    row.downlink_mtu = s.own_path_mtu;
    row.uplink_mtu = s.peer_path_mtu;
    row.mtu_limit = s.mtu_limit;
    row.path_mtu_since_ns = s.path_mtu_since;
    row.endpoint = s.peer.address;
    row.since_ns = s.since;
    row.last_received_ns = s.last_received;
    row.flaps = s.flaps;
    row.penalty = s.penalty;
    row.tx_interval_us = s.tx_interval_us;
    row.rx_interval_us = s.rx_interval_us;
    row.detection_us = s.detection_us;
    row.restore_ms_left = s.restore_ms_left;
    row.srtt_us = s.srtt_us;
    row.rtt_p95_us = s.rtt_p95_us;
    row.jitter_us = s.jitter_us;
    row.windows = {window_of(s.second), window_of(s.ten_seconds), window_of(s.minute)};
    return row;
}

}  // namespace

bool Shard::EventRate::take(Time now) {
    if (whole_at > now + kGap * (kAtOnce - 1)) return false;
    whole_at = std::max(whole_at, now) + kGap;
    return true;
}

void Shard::tell(EventRate& rate, EventFields& fields) {
    fields.suppressed = std::exchange(rate.suppressed, 0);
    around_.report->add_event(fields);
}

// The latest event that was left out, when it may be told: it says how things stand now.
void Shard::tell_suppressed(std::uint32_t tunnel) {
    EventRate& rate = sessions_[tunnel].events;
    if (rate.suppressed == 0 || !rate.take(now_)) return;
    --rate.suppressed;
    auto latest = suppressed_.extract(tunnel);
    if (!latest.empty()) tell(rate, latest.mapped());
}

void Shard::event(const liveness::Event& event) {
    EventFields fields{};
    fields.at_ns = event.at;
    fields.outage_ns = event.outage;
    fields.kind = static_cast<std::uint8_t>(event.kind);
    fields.from = static_cast<std::uint8_t>(event.from);
    fields.to = static_cast<std::uint8_t>(event.to);
    fields.cause = static_cast<std::uint8_t>(event.cause);
    fields.value = event.value;
    fields.endpoint = event.endpoint.address;
    fields.port = event.endpoint.port;
    fields.family = static_cast<std::uint8_t>(event.endpoint.family);
    if (event.group.valid()) fields.subscriber = groups_[event.group.value].id;
    if (event.tunnel.valid()) {
        Session& session = sessions_[event.tunnel.value];
        fields.tunnel = session.id;
        fields.line = session.line;
        if (!std::exchange(session.dirty, true)) dirty_.push_back(event.tunnel);
    }
    EventRate& rate = event.tunnel.valid() ? sessions_[event.tunnel.value].events
                                           : groups_[event.group.value].events;
    if (rate.take(event.at)) {
        if (event.tunnel.valid()) suppressed_.erase(event.tunnel.value);
        tell(rate, fields);
    } else {
        ++rate.suppressed;
        if (event.tunnel.valid()) suppressed_[event.tunnel.value] = fields;
    }
    take_ports(event);
}

void Shard::take_ports(const liveness::Event& event) {
    bool changed = false;
    if (event.kind == liveness::EventKind::NatChanged) {
        const bool none = event.value == 0;
        changed = std::exchange(sessions_[event.tunnel.value].any_port, none) != none;
    } else if (event.kind == liveness::EventKind::FlowPorts) {
        const bool free = event.value != 0;
        changed = std::exchange(sessions_[event.tunnel.value].entropy, free) != free;
    }
    if (changed) request_bind(event.tunnel);
}

void Shard::report(TunnelRef tunnel) {
    const Session& session = sessions_[tunnel.value];
    if (!owns_slot(session)) return;
    LivenessState row = row_of(engine_->status(now_, tunnel));
    row.tunnel = session.id;
    row.subscriber = groups_[session.group].id;
    row.line = session.line;
    around_.report->write_row(TunnelId{session.id}.slot(), row);
}

void Shard::report_dirty() {
    for (const TunnelRef tunnel : dirty_) {
        Session& session = sessions_[tunnel.value];
        session.dirty = false;
        if (session.id != 0) report(tunnel);
    }
    dirty_.clear();
}

// As many rows as time has passed since it was here last.
void Shard::sweep() {
    if (highest_session_ == 0) return;
    const Time passed = std::min(now_ - swept_at_, kSweep);
    const Time due = passed * highest_session_ / kSweep;
    if (due == 0) return;
    swept_at_ = now_;
    const auto rows =
        static_cast<std::uint32_t>(std::min<Time>(due, std::min(kRowsPerRound, highest_session_)));
    for (std::uint32_t n = 0; n < rows; ++n) {
        if (++sweep_next_ >= highest_session_) sweep_next_ = 0;
        if (sessions_[sweep_next_].id == 0) continue;
        report({sweep_next_});
        tell_suppressed(sweep_next_);
        // Another shard may have had the slot when the keys were written.
        publish_keys({sweep_next_});
    }
}

void Shard::report_statistics() {
    if (now_ < counted_at_ + kCount) return;
    counted_at_ = now_;
    liveness::Statistics now = engine_->statistics();
    // One thread tells what the workers have refused.
    for (unsigned w = 0; config_.number == 0 && w < config_.workers; ++w) {
        const KeepaliveRefusals& refused = around_.handover->refusals[w];
        now.malformed += refused.malformed.load(std::memory_order_relaxed);
        now.unknown_key += refused.unknown_key.load(std::memory_order_relaxed);
        now.bad_tag += refused.bad_tag.load(std::memory_order_relaxed);
    }
    constexpr std::size_t kSums = sizeof now / sizeof(std::uint64_t);
    std::array<std::uint64_t, kSums> current;
    std::array<std::uint64_t, kSums> told;
    std::memcpy(current.data(), &now, sizeof now);
    std::memcpy(told.data(), &told_, sizeof told_);
    for (unsigned i = 0; i < kSums; ++i) around_.report->add_statistic(i, current[i] - told[i]);
    told_ = now;
}

}  // namespace dr::keepalive
