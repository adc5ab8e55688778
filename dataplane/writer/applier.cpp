// One plan after another becomes rows.
#include "dataplane/writer/applier.h"

#include <cstring>
#include <string>

#include "dataplane/writer/tunnel_row.h"

namespace dr::southbound {
namespace {

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

Outcome Applier::apply(Plan& plan) {
    Outcome outcome;
    pools(plan);
    policies(plan);
    for (const SubscriberChange& change : plan.changes.subscribers) {
        if (!change.upsert && !change.same) erase_subscriber(plan, change);
    }
    for (const SubscriberChange& change : plan.changes.subscribers) {
        if (!change.upsert) continue;
        if (change.same) {
            now_.books.mark_subscriber(change.index);
        } else if (!put_subscriber(plan, change)) {
            outcome = {Status::Full, change.record,
                       "subscriber " + std::to_string(change.id) +
                           ": the lookup table has no room for all of its prefixes"};
        }
    }
    for (const Plan::Follower& follower : plan.followers) follow(follower);
    plan.maps.settle(now_.graveyard.open());
    for (const PolicyChange& change : plan.changes.policies) {
        if (change.upsert || now_.books.policy(change.id) == nullptr) continue;
        now_.live.tell_policy_gone(change.id);
        now_.books.erase_policy(change.id);
        now_.maps.forget(change.id);
    }
    now_.graveyard.close();
    now_.books.next_epoch();
    return outcome;
}

void Applier::pools(const Plan& plan) {
    std::vector<IpPrefix> gone;
    for (const PoolChange& change : plan.changes.pools) {
        const auto old = now_.books.pools().find(change.id);
        if (old == now_.books.pools().end()) continue;
        if (change.upsert &&
            std::memcmp(&old->second.record, &*change.upsert, sizeof(PoolRecord)) == 0)
            continue;
        gone.push_back(old->second.prefix());
        now_.books.erase_pool(change.id);
    }
    for (const PoolChange& change : plan.changes.pools) {
        if (!change.upsert || !now_.books.put_pool(*change.upsert)) continue;
        now_.rib.insert(InstalledPool{*change.upsert, 0}.prefix(), RouteSource::Pool,
                        Target(TargetKind::Pool, 0));
    }
    for (const IpPrefix& prefix : gone) {
        if (!now_.books.is_pool(prefix)) now_.rib.remove(prefix, RouteSource::Pool);
    }
}

void Applier::policies(Plan& plan) {
    for (auto& [id, planned] : plan.policies) {
        plan.maps.adopt(id, planned.change != nullptr);
        if (planned.change == nullptr) continue;
        const Bytes body = planned.change->upsert->body;
        now_.live.tell(now_.books.put_policy(id, body, std::move(planned.shape)));
    }
    for (const PolicyChange& change : plan.changes.policies) {
        if (change.upsert) now_.books.mark_policy(change.id);
    }
}

void Applier::remove_prefix(const Plan& plan, const IpPrefix& prefix, std::uint32_t index) {
    now_.books.disclaim(prefix, index);
    // One that another subscriber takes over is replaced there, without a gap.
    if (!plan.prefixes.contains(prefix)) now_.rib.remove(prefix, RouteSource::Subscriber);
}

void Applier::erase_subscriber(const Plan& plan, const SubscriberChange& change) {
    const SubscriberView view = now_.books.subscriber(change.index).view();
    for (std::size_t i = 0; i < view.prefixes.size(); ++i)
        remove_prefix(plan, prefix_of(view.prefixes[i]), change.index);
    for (std::size_t i = 0; i < view.tunnels.size(); ++i)
        remove_tunnel(change.index, {view.tunnels[i].id});
    now_.live.tell_gone(change.index, change.id);
    now_.subscribers.bury(change.index, now_.graveyard.open());
    now_.books.erase_subscriber(change.index);
}

bool Applier::put_subscriber(const Plan& plan, const SubscriberChange& change) {
    const std::uint32_t index = change.index != 0 ? change.index : now_.subscribers.take();
    const SubscriberView& view = *change.upsert;
    const bool again = change.index != 0 && now_.books.subscriber(index).incomplete;
    const RecordBody old = now_.books.put_subscriber(index, view);
    const SubscriberView before = old == nullptr ? SubscriberView{} : view_of(old.get());
    const Policy& policy = *now_.books.subscriber(index).policy;

    const Slots slots = install_tunnels(index, view, policy.shape);
    for (unsigned n = 0; n < kMaxLines; ++n) {
        if ((change.mask >> n & 1U) != 0) now_.subscribers.set_slot(index, n, slots[n]);
    }
    now_.subscribers.describe(index, view.record.id, view.record.policy, view.record.hash_seed);
    steer(index, policy, change.mask, change.masks);
    set_keys(view, policy.shape);
    for (std::size_t i = 0; i < before.tunnels.size(); ++i) {
        const TunnelId id{before.tunnels[i].id};
        if (!has_slot(view, id.slot())) remove_tunnel(index, id);
    }
    now_.live.tell(index, view, policy);
    const bool complete = put_prefixes(plan, index, view, before, again);
    now_.books.set_incomplete(index, !complete);
    return complete;
}

void Applier::follow(const Plan::Follower& follower) {
    const std::uint32_t index = follower.index;
    const Subscriber& subscriber = now_.books.subscriber(index);
    const SubscriberView view = subscriber.view();
    const Policy& policy = *subscriber.policy;
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord tunnel = view.tunnels[i];
        const int line = policy.shape.number_of(tunnel.line);
        if (line < 0) continue;
        now_.subscribers.set_slot(index, static_cast<unsigned>(line),
                                  now_.tunnels.row_of(TunnelId{tunnel.id}.slot()));
    }
    steer(index, policy, follower.mask, follower.masks);
    set_keys(view, policy.shape);
    now_.live.tell(index, view, policy);
}

void Applier::steer(std::uint32_t index, const Policy& policy, std::uint16_t mask,
                    const ClassMasks& masks) {
    const std::uint32_t map = masks == ClassMasks{} ? kNoRow : now_.maps.find(policy.id, masks);
    now_.subscribers.steer(index, map, mask, now_.graveyard.open());
}

void Applier::set_keys(const SubscriberView& view, const PolicyShape& shape) {
    std::size_t k = 0;
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord tunnel = view.tunnels[i];
        TunnelKeys keys;
        if (tunnel.key_number == 0) {
            now_.tunnels.set_keys(TunnelId{tunnel.id}.slot(), {});
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
        now_.tunnels.set_keys(TunnelId{tunnel.id}.slot(), keys);
    }
}

Applier::Slots Applier::install_tunnels(std::uint32_t index, const SubscriberView& view,
                                        const PolicyShape& shape) {
    Slots slots{};
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord tunnel = view.tunnels[i];
        now_.live.forget_stale_endpoint(tunnel);
        const std::uint32_t row =
            now_.tunnels.install(index, now_.live.bound(tunnel), now_.graveyard.open());
        const int line = shape.number_of(tunnel.line);
        if (line >= 0) slots[static_cast<unsigned>(line)] = row;
    }
    return slots;
}

void Applier::remove_tunnel(std::uint32_t index, TunnelId id) {
    if (now_.tunnels.remove(index, id, now_.graveyard.open())) now_.live.forget_endpoint(id.slot());
}

bool Applier::put_prefixes(const Plan& plan, std::uint32_t index, const SubscriberView& view,
                           const SubscriberView& before, bool again) {
    for (std::size_t i = 0; i < before.prefixes.size(); ++i) {
        const IpPrefix prefix = prefix_of(before.prefixes[i]);
        if (!has_prefix(view, prefix)) remove_prefix(plan, prefix, index);
    }
    bool complete = true;
    for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
        const IpPrefix prefix = prefix_of(view.prefixes[i]);
        const bool known = has_prefix(before, prefix);
        if (known && !again) continue;
        if (!known) now_.books.claim(prefix, index);
        const Target target(TargetKind::Subscriber, index);
        if (!now_.rib.insert(prefix, RouteSource::Subscriber, target)) complete = false;
    }
    return complete;
}

}  // namespace dr::southbound
