// The rules for subscribers: who holds which prefix and tunnel in the end, what that takes of each
// table, and the bucket maps.
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <unordered_set>

#include "dataplane/writer/planner.h"

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

std::uint32_t Planner::rows_needed(const SubscriberChange& change) const {
    std::uint32_t rows = 0;
    for (std::size_t i = 0; i < change.upsert->tunnels.size(); ++i) {
        const BoundTunnel wanted = now_.live.bound(change.upsert->tunnels[i]);
        if (change.index == 0 || !now_.tunnels.is_installed(change.index, wanted)) ++rows;
    }
    return rows;
}

Outcome Planner::subscriber(Plan& plan, SubscriberChange& change) const {
    change.index = now_.books.index_of(change.id);
    if (!change.upsert) {
        if (change.index != 0) {
            ++plan.deleted_subscribers;
            plan.new_keyed -= keyed_of(now_.books.subscriber(change.index).view());
            plan.touched.insert(change.index);
        }
        change.same = change.index == 0;
        return {};
    }
    const SubscriberView& view = *change.upsert;
    PlannedPolicy* policy = planned(plan, view.record.policy);
    if (policy == nullptr)
        return refuse(
            Status::BadReference, change.record,
            "subscriber " + number(change.id) + ": no policy " + number(view.record.policy));
    if (change.index != 0) {
        const Subscriber& installed = now_.books.subscriber(change.index);
        const Bytes old = installed.view().body;
        change.same = !installed.incomplete &&
                      std::equal(old.begin(), old.end(), view.body.begin(), view.body.end());
        // When only its policy changes it is a follower.
        if (change.same) return {};
        plan.touched.insert(change.index);
        plan.new_keyed -= keyed_of(installed.view());
    } else {
        ++plan.new_subscribers;
    }
    plan.new_keyed += keyed_of(view);
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const std::uint32_t slot = TunnelId{view.tunnels[i].id}.slot();
        if (slot >= now_.tunnels.slots())
            return refuse(Status::Full, change.record,
                          "tunnels: subscriber " + number(change.id) + " has tunnel index " +
                              number(slot) + ", must be below " + number(now_.tunnels.slots()));
    }
    change.mask = policy->final_shape().mask_of(view);
    change.masks = now_.live.usable(view, policy->final_shape(), change.index);
    plan.new_rows += rows_needed(change);
    return {};
}

Outcome Planner::subscribers(Plan& plan) const {
    plan.prefixes.reserve(plan.changes.subscribers.size() * 2);
    plan.tunnel_slots.reserve(plan.changes.subscribers.size() * 2);
    for (SubscriberChange& change : plan.changes.subscribers) {
        if (Outcome o = subscriber(plan, change); !o.ok()) return o;
    }
    const bool shapes_change =
        std::any_of(plan.policies.begin(), plan.policies.end(),
                    [](const auto& p) { return p.second.change != nullptr; });
    if (!shapes_change) return {};
    for (std::uint32_t index = 1; index < now_.books.indices(); ++index) {
        const Subscriber& subscriber = now_.books.subscriber(index);
        if (subscriber.body == nullptr || plan.touched.contains(index)) continue;
        const auto found = plan.policies.find(subscriber.policy->id);
        if (found == plan.policies.end() || found->second.change == nullptr) continue;
        const PolicyShape& shape = found->second.shape;
        const SubscriberView view = subscriber.view();
        plan.followers.push_back(
            {index, shape.mask_of(view), now_.live.usable(view, shape, index)});
    }
    return {};
}

// A touched subscriber has in the end what its record here says; others have what is installed.
bool Planner::keeps(const Plan& plan, std::uint32_t owner, std::uint32_t other) const {
    return owner != 0 && owner != other && !plan.touched.contains(owner);
}

Outcome Planner::own_prefixes(Plan& plan, const SubscriberChange& change) const {
    const SubscriberView& view = *change.upsert;
    const std::string who = "subscriber " + number(change.id) + ": ";
    for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
        const IpPrefix prefix = prefix_of(view.prefixes[i]);
        if (!plan.prefixes.emplace(prefix, change.record).second)
            return refuse(Status::Conflict, change.record,
                          who + to_string(prefix) + " is claimed twice in this transaction");
        if (change.same) continue;
        const std::uint32_t owner = now_.books.owner_of(prefix);
        if (keeps(plan, owner, change.index))
            return refuse(Status::Conflict, change.record,
                          who + to_string(prefix) + " belongs to subscriber " +
                              number(now_.books.subscriber(owner).view().record.id));
        // One that is installed stays, and so does one that drd accepted before a sync: what
        // became the router's own later does not cut a site off. It takes nothing from the
        // router: own addresses win, networks and routes by the longest prefix, and next hops
        // are found without the lookup table. TableWriter::fill() names the subscriber.
        if (!now_.guard.syncing() && (owner != change.index || change.index == 0))
            if (const std::string own = now_.rib.own_inside(prefix); !own.empty())
                return refuse(Status::BadReference, change.record,
                              "prefixes[" + number(i) + "]: " + to_string(prefix) + " holds " +
                                  own + "; it must lie outside");
        if (owner != 0) continue;
        ++plan.new_prefixes[prefix.address.family == 4 ? 0 : 1];
        plan.inserted.push_back(prefix);
    }
    return {};
}

Outcome Planner::own_tunnels(Plan& plan, const SubscriberChange& change) const {
    const SubscriberView& view = *change.upsert;
    const std::string who = "subscriber " + number(change.id) + ": ";
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const std::uint32_t slot = TunnelId{view.tunnels[i].id}.slot();
        if (!plan.tunnel_slots.emplace(slot, change.record).second)
            return refuse(
                Status::Conflict, change.record,
                who + "tunnel index " + number(slot) + " is claimed twice in this transaction");
        if (change.same) continue;
        if (now_.tunnels.row_of(slot) == kNoRow) ++plan.new_tunnels;
        const std::uint32_t owner = now_.tunnels.owner_of(slot);
        if (keeps(plan, owner, change.index))
            return refuse(Status::Conflict, change.record,
                          who + "tunnel index " + number(slot) + " belongs to subscriber " +
                              number(now_.books.subscriber(owner).view().record.id));
    }
    return {};
}

// Requires that plan.touched is complete.
Outcome Planner::ownership(Plan& plan) const {
    for (const SubscriberChange& change : plan.changes.subscribers) {
        if (!change.upsert) continue;
        if (Outcome o = own_prefixes(plan, change); !o.ok()) return o;
        if (Outcome o = own_tunnels(plan, change); !o.ok()) return o;
    }
    return {};
}

void Planner::removed_prefixes(Plan& plan) const {
    for (const SubscriberChange& change : plan.changes.subscribers) {
        if (change.same || change.index == 0) continue;
        const SubscriberView old = now_.books.subscriber(change.index).view();
        for (std::size_t i = 0; i < old.prefixes.size(); ++i) {
            const IpPrefix prefix = prefix_of(old.prefixes[i]);
            if (!plan.prefixes.contains(prefix))
                ++plan.old_prefixes[prefix.address.family == 4 ? 0 : 1];
        }
        if (!now_.guard.syncing()) continue;
        for (std::size_t i = 0; i < old.tunnels.size(); ++i) {
            const std::uint32_t slot = TunnelId{old.tunnels[i].id}.slot();
            if (!plan.tunnel_slots.contains(slot)) ++plan.gone_tunnels;
        }
    }
    for (const PoolChange& change : plan.changes.pools) {
        if (!change.upsert) continue;
        const IpPrefix prefix = InstalledPool{*change.upsert, 0}.prefix();
        const auto old = now_.books.pools().find(change.id);
        if (old != now_.books.pools().end() && old->second.prefix() == prefix) continue;
        ++plan.new_prefixes[prefix.address.family == 4 ? 0 : 1];
        plan.inserted.push_back(prefix);
    }
}

bool Planner::groups_suffice(const Plan& plan, unsigned family_index) const {
    const std::uint8_t family = family_index == 0 ? 4 : 6;
    const std::uint32_t used =
        family_index == 0 ? now_.lpm4.groups_used() : now_.lpm6.groups_used();
    const std::uint32_t capacity =
        family_index == 0 ? now_.lpm4.groups_capacity() : now_.lpm6.groups_capacity();
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
void Planner::reclaim_while(Short&& is_short) const {
    if (!is_short()) return;
    const auto deadline = std::chrono::steady_clock::now() + kReclaimPatience;
    for (bool waits = true; waits && std::chrono::steady_clock::now() < deadline;) {
        waits = reclaim_();
        if (!is_short()) return;
        sched_yield();
    }
}

Outcome Planner::capacity(const Plan& plan) const {
    if (Outcome o = rows(plan); !o.ok()) return o;
    return lookup(plan);
}

Outcome Planner::rows(const Plan& plan) const {
    const std::uint64_t final = std::uint64_t{now_.books.subscribers()} + plan.new_subscribers;
    if (final > std::uint64_t{now_.capacity.subscribers} + plan.deleted_subscribers)
        return refuse(Status::Full, 0,
                      "subscribers: " + number(final - plan.deleted_subscribers) +
                          " in the end, room for " + number(now_.capacity.subscribers));
    const std::int64_t keyed = now_.books.keyed_tunnels() + plan.new_keyed;
    if (plan.new_keyed > 0 && keyed > keyed_limit_)
        return refuse(Status::Full, 0,
                      "tunnels with keys: " + number(static_cast<std::uint64_t>(keyed)) +
                          " in the end, room for " + number(keyed_limit_) +
                          "; dr-dataplane's configuration says how many (liveness.tunnels)");
    const auto short_of_rows = [&] {
        return plan.new_subscribers > now_.subscribers.available() ||
               plan.new_rows > now_.tunnels.available();
    };
    reclaim_while(short_of_rows);
    if (plan.new_subscribers > now_.subscribers.available())
        return refuse(Status::Full, 0,
                      "subscribers: " + number(plan.new_subscribers) + " new, room for " +
                          number(now_.subscribers.available()));
    if (plan.new_rows > now_.tunnels.available())
        return refuse(Status::Full, 0,
                      "tunnels: " + number(plan.new_rows) + " new rows, room for " +
                          number(now_.tunnels.available()));
    return {};
}

Outcome Planner::lookup(const Plan& plan) const {
    const std::array<std::uint32_t, 2> size{now_.lpm4.size(), now_.lpm6.size()};
    const std::array<std::uint32_t, 2> room{now_.capacity.prefixes4, now_.capacity.prefixes6};
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

Outcome Planner::map(Plan& plan, std::uint32_t policy, const ClassMasks& masks,
                     std::uint32_t record) const {
    const PlannedPolicy& target = *planned(plan, policy);
    bool room = false;
    reclaim_while([&] {
        room = plan.maps.want(policy, target.final_shape(), target.change != nullptr, masks);
        return !room;
    });
    if (room) return {};
    return refuse(Status::Full, record,
                  "maps: no room for another set of lines, capacity " + number(now_.capacity.maps));
}

Outcome Planner::maps(Plan& plan) const {
    for (const SubscriberChange& change : plan.changes.subscribers) {
        if (!change.upsert || change.same) continue;
        Outcome o = map(plan, change.upsert->record.policy, change.masks, change.record);
        if (!o.ok()) return o;
    }
    for (const Plan::Follower& follower : plan.followers) {
        const std::uint32_t policy = now_.books.subscriber(follower.index).policy->id;
        const std::uint32_t record = plan.policies[policy].change->record;
        if (Outcome o = map(plan, policy, follower.masks, record); !o.ok()) return o;
    }
    return {};
}

}  // namespace dr::southbound
