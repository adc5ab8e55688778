// Carrying out a plan that was found good. The order within one subscriber is the one that
// table_writer.h promises to readers; what is unpublished here goes into a Batch and is given back
// by reclaim.cpp.
#include <algorithm>
#include <utility>

#include "dataplane/writer/tunnel_row.h"
#include "dataplane/writer/writer_core.h"

namespace dr::southbound {
namespace {

std::uint64_t digest_of(Bytes body) {
    return record_digest(body.data(), body.size());
}

void store_if_new(std::atomic<std::uint32_t>& field, std::uint32_t value) {
    if (field.load(std::memory_order_relaxed) != value)
        field.store(value, std::memory_order_release);
}

bool has_prefix(const SubscriberView& view, const IpPrefix& prefix) {
    for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
        if (prefix_of(view.prefixes[i]) == prefix) return true;
    }
    return false;
}

bool has_slot(const SubscriberView& view, std::uint32_t slot) {
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        if (TunnelId{view.tunnels[i].id}.slot() == slot) return true;
    }
    return false;
}

}  // namespace

Outcome TableWriter::Core::apply(Plan* plan) {
    open.number = ++batch_number;
    Outcome outcome;
    apply_pools(*plan);
    apply_policies(plan);
    for (const SubscriberChange& change : plan->changes.subscribers) {
        if (!change.upsert && !change.same) apply_delete(*plan, change);
    }
    for (const SubscriberChange& change : plan->changes.subscribers) {
        if (!change.upsert) continue;
        if (change.same) {
            subscribers[change.index].mark = mark;
        } else if (!apply_upsert(*plan, change)) {
            outcome = {Status::Full, change.record,
                       "subscriber " + std::to_string(change.id) +
                           ": the lookup table has no room for all of its prefixes"};
        }
    }
    for (const Plan::Follower& follower : plan->followers) apply_follower(follower);
    for (const std::uint32_t map : plan->pinned) release_map(map);
    for (const PolicyChange& change : plan->changes.policies) {
        const auto found = policies.find(change.id);
        if (change.upsert || found == policies.end()) continue;
        digest[1] -= digest_of(found->second->body);
        if (hooks.policy_changed) hooks.policy_changed({change.id, true, 0, {}});
        policies.erase(found);
    }
    close_batch();
    ++epoch;
    return outcome;
}

void TableWriter::Core::close_batch() {
    if (open.empty()) return;
    open.token = tables.qsbr.retire();
    batches.push_back(std::exchange(open, {}));
}

void TableWriter::Core::apply_pools(const Plan& plan) {
    std::vector<IpPrefix> gone;
    for (const PoolChange& change : plan.changes.pools) {
        const auto old = pools.find(change.id);
        const bool same =
            old != pools.end() && change.upsert &&
            std::memcmp(&old->second.record, &*change.upsert, sizeof(PoolRecord)) == 0;
        if (same || (old == pools.end() && !change.upsert)) continue;
        if (old == pools.end()) continue;
        gone.push_back(old->second.prefix());
        digest[0] -= digest_of(bytes_of(old->second.record));
        pools.erase(old);
        ++pools_generation;
    }
    for (const PoolChange& change : plan.changes.pools) {
        if (!change.upsert) continue;
        const auto [pool, added] = pools.try_emplace(change.id);
        pool->second.mark = mark;
        if (!added) continue;
        pool->second.record = *change.upsert;
        digest[0] += digest_of(bytes_of(*change.upsert));
        rib.insert(pool->second.prefix(), RouteSource::Pool, Target(TargetKind::Pool, 0));
        ++pools_generation;
    }
    for (const IpPrefix& prefix : gone) {
        const bool kept = std::any_of(pools.begin(), pools.end(), [&](const auto& pool) {
            return pool.second.prefix() == prefix;
        });
        if (!kept) rib.remove(prefix, RouteSource::Pool);
    }
}

void TableWriter::Core::apply_policies(Plan* plan) {
    for (auto& [id, planned_policy] : plan->policies) {
        if (planned_policy.change == nullptr) {
            planned_policy.installed->groups.merge(planned_policy.groups);
            continue;
        }
        std::unique_ptr<Policy>& policy = policies[id];
        if (policy == nullptr) policy = std::make_unique<Policy>();
        if (!policy->body.empty()) digest[1] -= digest_of(policy->body);
        const Bytes body = planned_policy.change->upsert->body;
        policy->id = id;
        policy->body.assign(body.begin(), body.end());
        digest[1] += digest_of(body);
        // The maps of before go with the last subscriber that leaves them.
        policy->groups = std::move(planned_policy.groups);
        policy->shape = std::move(planned_policy.shape);
        policy->makers.clear();
        tell_policy(*policy);
    }
    for (const PolicyChange& change : plan->changes.policies) {
        if (change.upsert) policies[change.id]->mark = mark;
    }
}

void TableWriter::Core::apply_delete(const Plan& plan, const SubscriberChange& change) {
    Subscriber& subscriber = subscribers[change.index];
    const SubscriberView view = subscriber.view();
    for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
        const IpPrefix prefix = prefix_of(view.prefixes[i]);
        prefixes.erase(prefix, change.index);
        note_steering(prefix);
        // A prefix that another subscriber takes over is replaced there, without a gap.
        if (!plan.prefixes.contains(prefix)) rib.remove(prefix, RouteSource::Subscriber);
    }
    for (std::size_t i = 0; i < view.tunnels.size(); ++i)
        remove_tunnel(change.index, {view.tunnels[i].id});
    tell_gone(change.index, change.id);
    keyed_tunnels -= static_cast<std::uint32_t>(view.keys.size());
    if (subscriber.map != kNoRow) release_map(subscriber.map);
    --subscriber.policy->subscribers;
    digest[2] -= digest_of(view.digested);
    body_bytes -= view.body.size();
    ids.erase(change.id);
    subscriber = {};
    open.subscribers.push_back(change.index);
}

bool TableWriter::Core::apply_upsert(const Plan& plan, const SubscriberChange& change) {
    const std::uint32_t index = change.index != 0 ? change.index : subscriber_indices.take();
    if (index >= subscribers.size()) subscribers.resize(index + 1U);
    if (change.index == 0) ids.insert(change.id, index);
    Subscriber& subscriber = subscribers[index];
    const SubscriberView& view = *change.upsert;
    Policy* policy = policies.find(view.record.policy)->second.get();

    const std::unique_ptr<std::uint8_t[]> old = std::move(subscriber.body);
    subscriber.body = std::make_unique<std::uint8_t[]>(view.body.size());
    std::copy(view.body.begin(), view.body.end(), subscriber.body.get());
    digest[2] += digest_of(view.digested);
    body_bytes += view.body.size();
    keyed_tunnels += static_cast<std::uint32_t>(view.keys.size());
    if (old != nullptr) {
        const SubscriberView replaced = view_of(old.get());
        keyed_tunnels -= static_cast<std::uint32_t>(replaced.keys.size());
        digest[2] -= digest_of(replaced.digested);
        body_bytes -= replaced.body.size();
    }

    const std::array<std::uint32_t, kMaxLines> slots = apply_tunnels(index, view, policy->shape);
    for (unsigned n = 0; n < kMaxLines; ++n) {
        if ((change.mask >> n & 1U) != 0) store_slot(index, n, slots[n]);
    }
    SubscriberRow& row = tables.subscribers[index];
    store_if_new(row.seed, view.record.hash_seed);
    store_if_new(row.id, view.record.id);
    store_if_new(row.policy, view.record.policy);
    set_map(index, policy, change.mask, change.masks);
    apply_keys(view, policy->shape);

    if (old != nullptr) {
        const SubscriberView before = view_of(old.get());
        for (std::size_t i = 0; i < before.tunnels.size(); ++i) {
            const TunnelId id{before.tunnels[i].id};
            if (!has_slot(view, id.slot())) remove_tunnel(index, id);
        }
        --subscriber.policy->subscribers;
    }
    ++policy->subscribers;
    subscriber.policy = policy;
    subscriber.mark = mark;
    tell_subscriber(index, view, *policy);
    subscriber.incomplete = !apply_prefixes(plan, index, view, old.get(), subscriber.incomplete);
    return !subscriber.incomplete;
}

void TableWriter::Core::apply_follower(const Plan::Follower& follower) {
    const std::uint32_t index = follower.index;
    const Subscriber& subscriber = subscribers[index];
    const SubscriberView view = subscriber.view();
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord tunnel = view.tunnels[i];
        const int line = subscriber.policy->shape.number_of(tunnel.line);
        if (line < 0) continue;
        const std::uint32_t row =
            tables.tunnel_of_slot[TunnelId{tunnel.id}.slot()].load(std::memory_order_relaxed);
        store_slot(index, static_cast<unsigned>(line), row);
    }
    set_map(index, subscriber.policy, follower.mask, follower.masks);
    apply_keys(view, subscriber.policy->shape);
    tell_subscriber(index, view, *subscriber.policy);
}

void TableWriter::Core::apply_keys(const SubscriberView& view, const PolicyShape& shape) {
    std::size_t k = 0;
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord tunnel = view.tunnels[i];
        TunnelKeys keys;
        if (tunnel.key_number == 0) {
            set_key(TunnelId{tunnel.id}.slot(), {});
            continue;
        }
        const KeyRecord record = view.keys[k++];
        const int line = shape.number_of(tunnel.line);
        keys.tunnel = tunnel.id;
        keys.number = record.number;
        keys.previous_number = record.previous_number;
        keys.line = line < 0 ? TunnelKeys::kNoLine : static_cast<std::uint8_t>(line);
        keys.profile = static_cast<std::uint8_t>(tunnel.profile);
        keys.key = record.key;
        keys.previous = record.previous;
        set_key(TunnelId{tunnel.id}.slot(), keys);
    }
}

// Most tunnels of a change keep their keys, and many tunnels never have any.
void TableWriter::Core::set_key(std::uint32_t slot, const TunnelKeys& keys) {
    // Rows beyond are as they were at start: not even read, so that their memory is not taken.
    if (keys.number == 0 && slot >= keyed_slots) return;
    TunnelKeyRow& row = tables.tunnel_keys[slot];
    if (read_tunnel_key(row) == keys) return;
    keyed_slots = std::max(keyed_slots, slot + 1);
    write_tunnel_key(row, keys);
    if (hooks.tunnel_key_changed) hooks.tunnel_key_changed(slot);
}

std::array<std::uint32_t, kMaxLines> TableWriter::Core::apply_tunnels(std::uint32_t index,
                                                                      const SubscriberView& view,
                                                                      const PolicyShape& shape) {
    std::array<std::uint32_t, kMaxLines> slots{};
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord tunnel = view.tunnels[i];
        const std::uint32_t row = install_tunnel(index, tunnel);
        const int line = shape.number_of(tunnel.line);
        if (line >= 0) slots[static_cast<unsigned>(line)] = row;
    }
    return slots;
}

// The row of this tunnel: the one there is when nothing about it differs, else a new one, published
// in tunnel_of_slot.
std::uint32_t TableWriter::Core::install_tunnel(std::uint32_t index, const TunnelRecord& record) {
    const std::uint32_t slot = TunnelId{record.id}.slot();
    std::atomic<std::uint32_t>& published = tables.tunnel_of_slot[slot];
    const std::uint32_t old = published.load(std::memory_order_relaxed);
    TunnelRow wanted;
    forget_stale_endpoint(record);
    const BoundTunnel effective = bound(record);
    build_tunnel_row(effective, {index}, &wanted);
    if (old != kNoRow && same_tunnel(wanted, tables.tunnels[old])) return old;

    const std::uint32_t fresh = tunnel_rows.take();
    TunnelRow& row = tables.tunnels[fresh];
    build_tunnel_row(effective, {index}, &row);
    row.next_hop.store(next_hop_of(row), std::memory_order_relaxed);
    published.store(fresh, std::memory_order_release);
    count_local(row, 1);
    highest_slot = std::max(highest_slot, slot);

    if (old == kNoRow) {
        ++tunnels;
        return fresh;
    }
    const TunnelRow& replaced = tables.tunnels[old];
    count_local(replaced, -1);
    open.rows.push_back(old);
    const bool same_one = tunnel_id(replaced) == tunnel_id(row) && replaced.subscriber == index;
    if (!same_one) open.slots.push_back(slot);
    return fresh;
}

// None for a tunnel whose far end is not known.
std::uint16_t TableWriter::Core::next_hop_of(const TunnelRow& row) const {
    if ((row.flags & TunnelRow::kDisabled) != 0) return 0;
    return static_cast<std::uint16_t>(rib.resolve(remote_address(row)).value);
}

// Nothing happens when the slot is another subscriber's by now.
void TableWriter::Core::remove_tunnel(std::uint32_t index, TunnelId id) {
    std::atomic<std::uint32_t>& published = tables.tunnel_of_slot[id.slot()];
    const std::uint32_t row = published.load(std::memory_order_relaxed);
    if (row == kNoRow || tables.tunnels[row].subscriber != index) return;
    published.store(kNoRow, std::memory_order_release);
    set_key(id.slot(), {});
    learned.erase(id.slot());
    count_local(tables.tunnels[row], -1);
    open.rows.push_back(row);
    open.slots.push_back(id.slot());
    --tunnels;
}

void TableWriter::Core::count_local(const TunnelRow& row, int by) {
    const IpAddress address = local_address(row);
    const auto [entry, added] = locals.try_emplace(address, 0);
    entry->second += static_cast<std::uint32_t>(by);
    if (added) ++locals_generation;
    if (entry->second != 0) return;
    locals.erase(entry);
    ++locals_generation;
}

bool TableWriter::Core::in_pool(const IpPrefix& prefix) const {
    return std::any_of(pools.begin(), pools.end(), [&](const auto& entry) {
        const IpPrefix pool = entry.second.prefix();
        return pool.contains(prefix);
    });
}

// A prefix outside all pools is steered by itself.
void TableWriter::Core::note_steering(const IpPrefix& prefix) {
    if (!in_pool(prefix)) ++pools_generation;
}

bool TableWriter::Core::apply_prefixes(const Plan& plan, std::uint32_t index,
                                       const SubscriberView& view, const std::uint8_t* old_body,
                                       bool again) {
    const SubscriberView before = old_body == nullptr ? SubscriberView{} : view_of(old_body);
    for (std::size_t i = 0; i < before.prefixes.size(); ++i) {
        const IpPrefix prefix = prefix_of(before.prefixes[i]);
        if (has_prefix(view, prefix)) continue;
        prefixes.erase(prefix, index);
        note_steering(prefix);
        if (!plan.prefixes.contains(prefix)) rib.remove(prefix, RouteSource::Subscriber);
    }
    bool complete = true;
    for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
        const IpPrefix prefix = prefix_of(view.prefixes[i]);
        const bool known = has_prefix(before, prefix);
        if (known && !again) continue;
        if (!known) {
            // Its owner of before may come later in this transaction.
            if (const std::uint32_t owner = owner_of(prefix); owner != 0)
                prefixes.erase(prefix, owner);
            prefixes.insert(prefix, index);
            note_steering(prefix);
        }
        const Target target(TargetKind::Subscriber, index);
        if (!rib.insert(prefix, RouteSource::Subscriber, target)) complete = false;
    }
    return complete;
}

void TableWriter::Core::replace_map(std::uint32_t index, std::uint32_t map, std::uint32_t place) {
    Subscriber& subscriber = subscribers[index];
    const std::uint32_t old = subscriber.map;
    const std::uint32_t stored =
        place < kMoves && map != kNoRow ? map | place << 24 | SubscriberRow::kMoving : map;
    store_if_new(tables.subscribers[index].map, stored);
    if (map == old) return;
    if (map != kNoRow) ++map_groups[map].subscribers;
    subscriber.map = map;
    if (old != kNoRow) release_map(old);
}

void TableWriter::Core::set_map(std::uint32_t index, Policy* policy, std::uint16_t mask,
                                const ClassMasks& masks) {
    Subscriber& subscriber = subscribers[index];
    replace_map(index, masks == ClassMasks{} ? kNoRow : policy->groups.find(masks)->second);
    if ((subscriber.mask & ~mask) != 0) {
        subscriber.cleanup = open.number;
        open.cleanups.push_back(index);
    }
    subscriber.mask = mask;
}

void TableWriter::Core::release_map(std::uint32_t map) {
    MapGroup& group = map_groups[map];
    if (--group.subscribers != 0) return;
    if (const auto policy = policies.find(group.policy); policy != policies.end()) {
        auto& groups = policy->second->groups;
        const auto entry = groups.find(group.masks);
        if (entry != groups.end() && entry->second == map) groups.erase(entry);
    }
    open.maps.emplace_back(map, group.classes);
    group = {};
}

void TableWriter::Core::store_slot(std::uint32_t index, unsigned line, std::uint32_t row) {
    store_if_new(line < SubscriberRow::kInline ? tables.subscribers[index].slot[line]
                                               : tables.extra[index][line - SubscriberRow::kInline],
                 row);
}

}  // namespace dr::southbound
