// What the writer says of policies, subscribers and tunnels, as the engine's groups and sessions.
#include <algorithm>
#include <utility>

#include "dataplane/keepalive/shard.h"

namespace dr::keepalive {

void Shard::apply(const southbound::LivePolicy& policy) {
    const auto found = policies_.find(policy.id);
    if (policy.gone) {
        if (found == policies_.end()) return;
        free_policies_.push_back(found->second.number);
        policies_.erase(found);
        return;
    }
    if (found == policies_.end()) {
        if (free_policies_.empty()) return complain("policy");
        const std::uint32_t number = free_policies_.back();
        free_policies_.pop_back();
        policies_[policy.id] = {number, policy.restore_ms};
        engine_->set_policy(now_, number, policy.policy);
        return;
    }
    const bool restore_changed =
        std::exchange(found->second.restore_ms, policy.restore_ms) != policy.restore_ms;
    engine_->set_policy(now_, found->second.number, policy.policy);
    if (!restore_changed) return;
    for (const auto& [index, group] : group_of_subscriber_) {
        if (groups_[group].policy == policy.id)
            engine_->update_group(now_, {group}, group_config(groups_[group]));
    }
}

liveness::GroupConfig Shard::group_config(const Group& group) const {
    const auto policy = policies_.find(group.policy);
    if (policy == policies_.end()) return {0xffffffff, 0, group.index.value};
    return {policy->second.number, policy->second.restore_ms, group.index.value};
}

void Shard::apply(const southbound::LiveSubscriber& subscriber) {
    auto found = group_of_subscriber_.find(subscriber.index.value);
    const bool other = found != group_of_subscriber_.end() &&
                       groups_[found->second].incarnation != subscriber.incarnation;
    if (other || subscriber.tunnels.empty()) {
        forget(subscriber.index);
        found = group_of_subscriber_.end();
    }
    if (subscriber.tunnels.empty()) return;
    Group wanted_group;
    wanted_group.index = subscriber.index;
    wanted_group.id = subscriber.id;
    wanted_group.incarnation = subscriber.incarnation;
    wanted_group.policy = subscriber.policy;
    if (found == group_of_subscriber_.end()) {
        const GroupRef ref = engine_->add_group(now_, group_config(wanted_group));
        if (!ref.valid()) return complain("subscriber");
        groups_[ref.value] = wanted_group;
        found = group_of_subscriber_.emplace(subscriber.index.value, ref.value).first;
    }
    const std::uint32_t g = found->second;
    // A session that is on another line now is another session.
    for (const TunnelRef tunnel : groups_[g].line) {
        if (tunnel.valid() && !wanted(subscriber, sessions_[tunnel.value])) remove_session(tunnel);
    }
    if (groups_[g].policy != subscriber.policy) {
        groups_[g].policy = subscriber.policy;
        engine_->update_group(now_, {g}, group_config(groups_[g]));
    }
    for (const southbound::LiveTunnel& tunnel : subscriber.tunnels) set_session(g, tunnel);
}

bool Shard::wanted(const southbound::LiveSubscriber& subscriber, const Session& session) const {
    return std::any_of(subscriber.tunnels.begin(), subscriber.tunnels.end(),
                       [&](const auto& t) { return t.id == session.id && t.line == session.line; });
}

void Shard::set_session(std::uint32_t group, const southbound::LiveTunnel& tunnel) {
    const std::uint32_t slot = TunnelId{tunnel.id}.slot();
    const TunnelKeys keys = read_tunnel_key(around_.tables->tunnel_keys[slot]);
    // Gone or replaced since: the writer's next word says so.
    if (keys.tunnel != tunnel.id || keys.number == 0) return;
    liveness::TunnelConfig config;
    config.group = {group};
    config.line = tunnel.line;
    config.id = tunnel.id;
    config.profile = tunnel.profile;
    config.automatic = tunnel.encapsulation == southbound::Encapsulation::Automatic;
    config.flow_ports = southbound::has_ports(tunnel.encapsulation) && tunnel.free_ports;
    config.checksums = southbound::has_ports(tunnel.encapsulation);
    config.peer = tunnel.peer;
    config.local = tunnel.local;
    config.keys[0] = {keys.number, keys.key};
    config.keys[1] = {keys.previous_number, keys.previous};
    config.key_count = keys.previous_number != 0 ? 2 : 1;
    config.mtu = tunnel.mtu;
    config.user = slot;
    TunnelRef ref = groups_[group].line[tunnel.line];
    if (ref.valid()) {
        sessions_[ref.value].local = tunnel.local;
        engine_->update_tunnel(now_, ref, config);
        publish_keys(ref);
        return;
    }
    ref = engine_->add_tunnel(now_, config);
    if (!ref.valid()) return complain("tunnel");
    groups_[group].line[tunnel.line] = ref;
    sessions_[ref.value] = {tunnel.id, group,        tunnel.line, false, false,
                            false,     tunnel.local, {},          {},    0};
    session_of_slot_[slot] = ref.value + 1;
    highest_session_ = std::max(highest_session_, ref.value + 1);
    ++session_count_;
    // The previous owner of the slot clears its row before the new row is written.
    around_.handover->owners[slot].exchange(groups_[group].incarnation, std::memory_order_acq_rel);
    publish_keys(ref);
    publish_peer(ref);
    report(ref);
}

void Shard::remove_session(TunnelRef tunnel) {
    Session& session = sessions_[tunnel.value];
    const std::uint32_t slot = TunnelId{session.id}.slot();
    groups_[session.group].line[session.line] = {};
    // Another subscriber's tunnel may have taken the slot in the same transaction.
    if (session_of_slot_[slot] == tunnel.value + 1) {
        session_of_slot_[slot] = 0;
        if (owns_slot(session)) release_slot(slot, groups_[session.group].incarnation);
    }
    engine_->remove_tunnel(now_, tunnel);
    suppressed_.erase(tunnel.value);
    session = {};
    --session_count_;
}

bool Shard::owns_slot(const Session& session) const {
    const std::atomic<std::uint32_t>& owner = around_.handover->owners[TunnelId{session.id}.slot()];
    return owner.load(std::memory_order_relaxed) == groups_[session.group].incarnation;
}

// Another shard may take the slot meanwhile: then it is the other's salt that was cleared.
void Shard::release_slot(std::uint32_t slot, std::uint32_t incarnation) {
    std::atomic<std::uint64_t>& salt = around_.handover->peers[slot].salt;
    salt.store(0, std::memory_order_relaxed);
    around_.report->clear_row(slot);
    if (around_.handover->owners[slot].compare_exchange_strong(incarnation, 0,
                                                               std::memory_order_acq_rel))
        return;
    std::uint64_t cleared = 0;
    salt.compare_exchange_strong(cleared, KeepalivePeer::kNoSalt, std::memory_order_relaxed);
}

void Shard::forget(SubscriberIndex index) {
    const auto found = group_of_subscriber_.find(index.value);
    if (found == group_of_subscriber_.end()) return;
    const std::uint32_t g = found->second;
    for (const TunnelRef tunnel : std::array(groups_[g].line)) {
        if (tunnel.valid()) remove_session(tunnel);
    }
    engine_->remove_group(now_, {g});
    groups_[g] = {};
    group_of_subscriber_.erase(found);
}

}  // namespace dr::keepalive
