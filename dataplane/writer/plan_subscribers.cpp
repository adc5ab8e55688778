// The subscribers' half of a plan: who holds which prefix and tunnel in the end, what it takes of
// each table, and the bucket maps.
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <unordered_set>

#include "dataplane/writer/tunnel_row.h"
#include "dataplane/writer/writer_core.h"

namespace dr::southbound {
namespace {

Outcome refuse(Status status, std::uint32_t record, std::string text) {
    return {status, record, std::move(text)};
}

std::string number(std::uint64_t n) {
    return std::to_string(n);
}

// Groups that a prefix needs below the root of the lookup table: one for each byte of its length
// beyond 24 bits. Each is named by the bits that lead to it.
template <typename F>
void for_each_group(const IpPrefix& prefix, F&& callback) {
    for (unsigned bits = 24; bits < prefix.length; bits += 8) {
        IpPrefix group{prefix.address, static_cast<std::uint8_t>(bits)};
        std::fill(group.address.bytes.begin() + bits / 8, group.address.bytes.end(),
                  std::uint8_t{0});
        callback(group);
    }
}

std::int64_t keyed_of(const SubscriberView& view) {
    return static_cast<std::int64_t>(view.keys.size());
}

// Waiting for a grace period is left to the rare transaction that finds a table full of rows that
// are about to be free. A worker that shares its core may be away for some milliseconds.
constexpr std::chrono::milliseconds kReclaimPatience{50};

}  // namespace

std::uint32_t TableWriter::Core::rows_needed(const SubscriberChange& change) const {
    std::uint32_t rows = 0;
    for (std::size_t i = 0; i < change.upsert->tunnels.size(); ++i) {
        const TunnelRecord tunnel = change.upsert->tunnels[i];
        const std::uint32_t installed =
            tables.tunnel_of_slot[TunnelId{tunnel.id}.slot()].load(std::memory_order_relaxed);
        if (installed == kNoRow || change.index == 0) {
            ++rows;
            continue;
        }
        TunnelRow row;
        build_tunnel_row(bound(tunnel), {change.index}, &row);
        if (!same_tunnel(row, tables.tunnels[installed])) ++rows;
    }
    return rows;
}

Outcome TableWriter::Core::plan_subscriber(Plan* plan, SubscriberChange* change) {
    change->index = ids.find(change->id);
    if (!change->upsert) {
        if (change->index != 0) {
            ++plan->deleted_subscribers;
            plan->new_keyed -= keyed_of(subscribers[change->index].view());
            subscribers[change->index].touched = plan_number;
        }
        change->same = change->index == 0;
        return {};
    }
    const SubscriberView& view = *change->upsert;
    PlannedPolicy* policy = planned(plan, view.record.policy);
    if (policy == nullptr)
        return refuse(
            Status::BadReference, change->record,
            "subscriber " + number(change->id) + ": no policy " + number(view.record.policy));
    if (change->index != 0) {
        const Subscriber& installed = subscribers[change->index];
        const Bytes old = installed.view().body;
        change->same = !installed.incomplete &&
                       std::equal(old.begin(), old.end(), view.body.begin(), view.body.end());
        // When only its policy changes it is a follower.
        if (change->same) return {};
        subscribers[change->index].touched = plan_number;
        plan->new_keyed -= keyed_of(installed.view());
    } else {
        ++plan->new_subscribers;
    }
    plan->new_keyed += keyed_of(view);
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const std::uint32_t slot = TunnelId{view.tunnels[i].id}.slot();
        if (slot >= tables.tunnel_of_slot.size())
            return refuse(Status::Full, change->record,
                          "tunnels: subscriber " + number(change->id) + " has tunnel index " +
                              number(slot) + ", must be below " +
                              number(tables.tunnel_of_slot.size()));
    }
    change->mask = policy->final_shape().mask_of(view);
    change->masks = masks_of(view, policy->final_shape(), change->index);
    plan->new_rows += rows_needed(*change);
    return {};
}

Outcome TableWriter::Core::plan_subscribers(Plan* plan) {
    plan->prefixes.reserve(plan->changes.subscribers.size() * 2);
    plan->tunnel_slots.reserve(plan->changes.subscribers.size() * 2);
    for (SubscriberChange& change : plan->changes.subscribers) {
        if (Outcome o = plan_subscriber(plan, &change); !o.ok()) return o;
    }
    const bool shapes_change =
        std::any_of(plan->policies.begin(), plan->policies.end(),
                    [](const auto& p) { return p.second.change != nullptr; });
    if (!shapes_change) return {};
    for (std::uint32_t index = 1; index < subscribers.size(); ++index) {
        const Subscriber& subscriber = subscribers[index];
        if (subscriber.body == nullptr || subscriber.touched == plan_number) continue;
        const auto found = plan->policies.find(subscriber.policy->id);
        if (found == plan->policies.end() || found->second.change == nullptr) continue;
        const PolicyShape& shape = found->second.shape;
        plan->followers.push_back(
            {index, shape.mask_of(subscriber.view()), masks_of(subscriber.view(), shape, index)});
    }
    return {};
}

// Runs when `touched` is known of all: what a touched subscriber holds now is decided by its record
// in this transaction, what another one holds stays its own.
Outcome TableWriter::Core::plan_ownership(Plan* plan) {
    const auto id_of = [this](std::uint32_t index) {
        return number(subscribers[index].view().record.id);
    };
    for (const SubscriberChange& change : plan->changes.subscribers) {
        if (!change.upsert) continue;
        const SubscriberView& view = *change.upsert;
        const std::string who = "subscriber " + number(change.id) + ": ";
        for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
            const IpPrefix prefix = prefix_of(view.prefixes[i]);
            if (!plan->prefixes.emplace(prefix, change.record).second)
                return refuse(Status::Conflict, change.record,
                              who + to_string(prefix) + " is claimed twice in this transaction");
            if (change.same) continue;
            const std::uint32_t owner = owner_of(prefix);
            if (owner != 0 && owner != change.index && subscribers[owner].touched != plan_number)
                return refuse(Status::Conflict, change.record,
                              who + to_string(prefix) + " belongs to subscriber " + id_of(owner));
            // One that is installed stays, and so does one that drd accepted before a sync: what
            // became the router's own later does not cut a site off. It takes nothing from the
            // router: own addresses win, networks and routes by the longest prefix, and next hops
            // are found without the lookup table. TableWriter::fill() names the subscriber.
            if (!syncing && (owner != change.index || change.index == 0))
                if (const std::string own = rib.own_inside(prefix); !own.empty())
                    return refuse(Status::BadReference, change.record,
                                  "prefixes[" + number(i) + "]: " + to_string(prefix) + " holds " +
                                      own + "; it must lie outside");
            if (owner == 0) ++plan->new_prefixes[prefix.address.family == 4 ? 0 : 1];
            if (owner == 0) plan->inserted.push_back(prefix);
        }
        for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
            const std::uint32_t slot = TunnelId{view.tunnels[i].id}.slot();
            if (!plan->tunnel_slots.emplace(slot, change.record).second)
                return refuse(
                    Status::Conflict, change.record,
                    who + "tunnel index " + number(slot) + " is claimed twice in this transaction");
            if (change.same) continue;
            const std::uint32_t row = tables.tunnel_of_slot[slot].load(std::memory_order_relaxed);
            const std::uint32_t owner = row == kNoRow ? 0 : tables.tunnels[row].subscriber;
            if (row == kNoRow) ++plan->new_tunnels;
            if (owner != 0 && owner != change.index && subscribers[owner].touched != plan_number)
                return refuse(Status::Conflict, change.record,
                              who + "tunnel index " + number(slot) + " belongs to subscriber " +
                                  id_of(owner));
        }
    }
    return {};
}

void TableWriter::Core::plan_removed_prefixes(Plan* plan) {
    for (const SubscriberChange& change : plan->changes.subscribers) {
        if (change.same || change.index == 0) continue;
        const SubscriberView old = subscribers[change.index].view();
        for (std::size_t i = 0; i < old.prefixes.size(); ++i) {
            const IpPrefix prefix = prefix_of(old.prefixes[i]);
            if (!plan->prefixes.contains(prefix))
                ++plan->old_prefixes[prefix.address.family == 4 ? 0 : 1];
        }
        if (!syncing) continue;
        for (std::size_t i = 0; i < old.tunnels.size(); ++i) {
            const std::uint32_t slot = TunnelId{old.tunnels[i].id}.slot();
            if (!plan->tunnel_slots.contains(slot)) ++plan->gone_tunnels;
        }
    }
    for (const PoolChange& change : plan->changes.pools) {
        if (!change.upsert) continue;
        const IpPrefix prefix = PoolEntry{*change.upsert, 0}.prefix();
        const auto old = pools.find(change.id);
        if (old != pools.end() && old->second.prefix() == prefix) continue;
        ++plan->new_prefixes[prefix.address.family == 4 ? 0 : 1];
        plan->inserted.push_back(prefix);
    }
}

bool TableWriter::Core::groups_suffice(const Plan& plan, unsigned family_index) const {
    const std::uint8_t family = family_index == 0 ? 4 : 6;
    const std::uint32_t used =
        family_index == 0 ? tables.lpm4->groups_used() : tables.lpm6->groups_used();
    const std::uint32_t capacity =
        family_index == 0 ? tables.lpm4->groups_capacity() : tables.lpm6->groups_capacity();
    const std::size_t free = capacity > used ? capacity - used : 0;
    std::size_t worst = 0;
    for (const IpPrefix& prefix : plan.inserted) {
        if (prefix.address.family == family && prefix.length > 24)
            worst += (prefix.length - 24U + 7) / 8;
    }
    if (worst <= free) return true;
    std::unordered_set<IpPrefix, PrefixHash> distinct;
    for (const IpPrefix& prefix : plan.inserted) {
        if (prefix.address.family != family) continue;
        for_each_group(prefix, [&](const IpPrefix& group) { distinct.insert(group); });
    }
    return distinct.size() <= free;
}

template <typename Short>
void TableWriter::Core::reclaim_while(Short&& is_short) {
    if (!is_short()) return;
    const auto deadline = std::chrono::steady_clock::now() + kReclaimPatience;
    while (!batches.empty() && std::chrono::steady_clock::now() < deadline) {
        sched_yield();
        reclaim();
        if (!is_short()) return;
    }
}

Outcome TableWriter::Core::check_capacity(const Plan& plan) {
    const std::uint64_t final = std::uint64_t{live_subscribers()} + plan.new_subscribers;
    if (final > std::uint64_t{tables.capacity.subscribers} + plan.deleted_subscribers)
        return refuse(Status::Full, 0,
                      "subscribers: " + number(final - plan.deleted_subscribers) +
                          " in the end, room for " + number(tables.capacity.subscribers));
    const std::int64_t keyed = keyed_tunnels + plan.new_keyed;
    if (plan.new_keyed > 0 && keyed > keyed_limit)
        return refuse(Status::Full, 0,
                      "tunnels with keys: " + number(static_cast<std::uint64_t>(keyed)) +
                          " in the end, room for " + number(keyed_limit) +
                          "; dr-dataplane's configuration says how many (liveness.tunnels)");
    const auto short_of_rows = [&] {
        return plan.new_subscribers > subscriber_indices.available() ||
               plan.new_rows > tunnel_rows.available();
    };
    reclaim_while(short_of_rows);
    if (plan.new_subscribers > subscriber_indices.available())
        return refuse(Status::Full, 0,
                      "subscribers: " + number(plan.new_subscribers) + " new, room for " +
                          number(subscriber_indices.available()));
    if (plan.new_rows > tunnel_rows.available())
        return refuse(Status::Full, 0,
                      "tunnels: " + number(plan.new_rows) + " new rows, room for " +
                          number(tunnel_rows.available()));
    const std::array<std::uint32_t, 2> size{tables.lpm4->size(), tables.lpm6->size()};
    const std::array<std::uint32_t, 2> room{tables.capacity.prefixes4, tables.capacity.prefixes6};
    for (unsigned f = 0; f < 2; ++f) {
        const std::string table = f == 0 ? "4" : "6";
        if (size[f] + plan.new_prefixes[f] > room[f] + plan.old_prefixes[f])
            return refuse(Status::Full, 0,
                          "prefixes" + table + ": " + number(plan.new_prefixes[f]) +
                              " new, room for " + number(room[f] - std::min(room[f], size[f])));
        if (!groups_suffice(plan, f))
            return refuse(Status::Full, 0, "groups" + table + ": too few for the new prefixes");
    }
    return {};
}

Outcome TableWriter::Core::plan_map(Plan* plan, std::uint32_t policy, const ClassMasks& masks,
                                    std::uint32_t record) {
    if (masks == ClassMasks{}) return {};
    PlannedPolicy& target = *planned(plan, policy);
    if (target.change == nullptr) {
        const auto installed = target.installed->groups.find(masks);
        if (installed != target.installed->groups.end()) {
            ++map_groups[installed->second].subscribers;
            plan->pinned.push_back(installed->second);
            return {};
        }
    }
    if (target.groups.contains(masks)) return {};
    const std::vector<Tiers>& classes = target.final_shape().classes;
    std::uint32_t map = map_runs.take(static_cast<unsigned>(classes.size()));
    reclaim_while([&] {
        if (map == 0) map = map_runs.take(static_cast<unsigned>(classes.size()));
        return map == 0;
    });
    if (map == 0)
        return refuse(
            Status::Full, record,
            "maps: no room for another set of lines, capacity " + number(tables.capacity.maps));
    if (target.makers.empty()) {
        for (const Tiers& tiers : classes) target.makers.emplace_back(tiers);
    }
    for (std::size_t c = 0; c < classes.size(); ++c)
        tables.maps[map + static_cast<std::uint32_t>(c)] = target.makers[c].make(masks[c]);
    map_groups[map] = {policy, 0, masks, static_cast<std::uint8_t>(classes.size())};
    target.groups[masks] = map;
    return {};
}

Outcome TableWriter::Core::plan_maps(Plan* plan) {
    for (const SubscriberChange& change : plan->changes.subscribers) {
        if (!change.upsert || change.same) continue;
        Outcome o = plan_map(plan, change.upsert->record.policy, change.masks, change.record);
        if (!o.ok()) return o;
    }
    for (const Plan::Follower& follower : plan->followers) {
        const Policy* policy = subscribers[follower.index].policy;
        const std::uint32_t record = plan->policies[policy->id].change->record;
        if (Outcome o = plan_map(plan, policy->id, follower.masks, record); !o.ok()) return o;
    }
    return {};
}

bool TableWriter::Core::holds(std::uint32_t index, const IpPrefix& prefix) const {
    const Subscriber& subscriber = subscribers[index];
    if (subscriber.body == nullptr) return false;
    const SubscriberView view = subscriber.view();
    for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
        if (prefix_of(view.prefixes[i]) == prefix) return true;
    }
    return false;
}

std::uint32_t TableWriter::Core::owner_of(const IpPrefix& prefix) const {
    return prefixes.find(prefix, [&](std::uint32_t index) { return holds(index, prefix); });
}

}  // namespace dr::southbound
