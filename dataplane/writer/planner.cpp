// The rules for pools and policies, and the order of all checks.
#include "dataplane/writer/planner.h"

#include <algorithm>
#include <map>
#include <string>

namespace dr::southbound {
namespace {

Outcome refuse(Status status, std::uint32_t record, std::string text) {
    return {status, record, std::move(text)};
}

std::string number(std::uint64_t n) {
    return std::to_string(n);
}

}  // namespace

Outcome Planner::judge(Plan& plan, bool force) const {
    if (Outcome o = pools(plan); !o.ok()) return o;
    if (Outcome o = policies(plan); !o.ok()) return o;
    if (Outcome o = subscribers(plan); !o.ok()) return o;
    if (Outcome o = ownership(plan); !o.ok()) return o;
    removed_prefixes(plan);
    if (Outcome o = policy_users(plan); !o.ok()) return o;
    if (!force) {
        if (Outcome o = now_.guard.check(plan, now_.books, now_.tunnels.count()); !o.ok()) return o;
    }
    if (Outcome o = capacity(plan); !o.ok()) return o;
    return maps(plan);
}

Outcome Planner::pools(const Plan& plan) const {
    if (plan.changes.pools.empty()) return {};
    std::map<std::uint32_t, std::pair<IpPrefix, std::uint32_t>> final;
    for (const auto& [id, pool] : now_.books.pools()) final[id] = {pool.prefix(), 0};
    for (const PoolChange& change : plan.changes.pools) {
        if (!change.upsert) {
            final.erase(change.id);
            continue;
        }
        const InstalledPool entry{*change.upsert, 0};
        final[change.id] = {entry.prefix(), change.record};
    }
    std::map<IpPrefix, std::uint32_t> owners;
    for (const auto& [id, pool] : final) {
        const auto [other, added] = owners.emplace(pool.first, id);
        if (!added)
            return refuse(Status::Conflict, pool.second,
                          "pool " + number(id) + ": " + to_string(pool.first) + " is pool " +
                              number(other->second) + "'s already");
    }
    if (final.size() > kMaxPools)
        return refuse(Status::Full, plan.changes.pools.back().record,
                      "pools: " + number(final.size()) + ", room for " + number(kMaxPools));
    return {};
}

Outcome Planner::policies(Plan& plan) const {
    std::size_t count = now_.books.policies().size();
    for (const PolicyChange& change : plan.changes.policies) {
        const Policy* installed = now_.books.policy(change.id);
        if (change.upsert && installed == nullptr) ++count;
        if (!change.upsert && installed != nullptr) --count;
        if (!change.upsert) continue;
        const Bytes body = change.upsert->body;
        if (installed != nullptr &&
            std::equal(body.begin(), body.end(), installed->body.begin(), installed->body.end()))
            continue;
        PlannedPolicy& planned_policy = plan.policies[change.id];
        planned_policy.installed = installed;
        planned_policy.change = &change;
        planned_policy.shape = PolicyShape(*change.upsert);
    }
    if (count > kMaxPolicies)
        return refuse(Status::Full, plan.changes.policies.back().record,
                      "policies: " + number(count) + ", room for " + number(kMaxPolicies));
    return {};
}

// The policy as it will be; null: it will not exist.
PlannedPolicy* Planner::planned(Plan& plan, std::uint32_t policy) const {
    if (const auto found = plan.policies.find(policy); found != plan.policies.end())
        return &found->second;
    const Policy* installed = now_.books.policy(policy);
    if (installed == nullptr) return nullptr;
    const auto& changes = plan.changes.policies;
    const auto change =
        std::lower_bound(changes.begin(), changes.end(), policy,
                         [](const PolicyChange& c, std::uint32_t id) { return c.id < id; });
    if (change != changes.end() && change->id == policy && !change->upsert) return nullptr;
    PlannedPolicy& kept = plan.policies[policy];
    kept.installed = installed;
    return &kept;
}

Outcome Planner::policy_users(const Plan& plan) const {
    std::unordered_map<std::uint32_t, std::int64_t> users;
    bool any = false;
    for (const PolicyChange& change : plan.changes.policies) {
        const Policy* installed = now_.books.policy(change.id);
        if (change.upsert || installed == nullptr) continue;
        users[change.id] = installed->subscribers;
        any = true;
    }
    if (!any) return {};
    for (const SubscriberChange& change : plan.changes.subscribers) {
        if (change.same || change.index == 0) continue;
        const auto old = users.find(now_.books.subscriber(change.index).policy->id);
        if (old != users.end()) --old->second;
    }
    for (const PolicyChange& change : plan.changes.policies) {
        const auto left = users.find(change.id);
        if (left != users.end() && left->second != 0)
            return refuse(Status::BadReference, change.record,
                          "policy " + number(change.id) + " is still used by " +
                              std::to_string(left->second) + " subscribers");
    }
    return {};
}

}  // namespace dr::southbound
