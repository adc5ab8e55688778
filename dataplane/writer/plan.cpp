// What a transaction would do, and whether it may: nothing here changes a table. Bucket maps for
// new sets of lines are taken and filled already, since nobody can see them; discard() gives them
// back.
#include <algorithm>

#include "dataplane/writer/writer_core.h"

namespace dr::southbound {
namespace {

Outcome refuse(Status status, std::uint32_t record, std::string text) {
    return {status, record, std::move(text)};
}

std::string number(std::uint64_t n) {
    return std::to_string(n);
}

// Keeps the last change of each id.
template <typename Change>
void keep_last(std::vector<Change>* changes) {
    std::stable_sort(changes->begin(), changes->end(),
                     [](const Change& a, const Change& b) { return a.id < b.id; });
    auto out = changes->begin();
    for (auto in = changes->begin(); in != changes->end(); ++in) {
        if (in + 1 != changes->end() && (in + 1)->id == in->id) continue;
        if (out != in) *out = std::move(*in);
        ++out;
    }
    changes->erase(out, changes->end());
}

template <typename View, typename Stored, typename Change>
bool decode_record(Bytes body, bool upsert, std::uint32_t record, std::vector<Change>* changes,
                   Stored (*stored)(const View&), std::string* why) {
    if (upsert) {
        View view;
        if (!decode(body, &view, why)) return false;
        Change change{};
        change.record = record;
        change.upsert = stored(view);
        if constexpr (requires { view.record.id; })
            change.id = view.record.id;
        else
            change.id = view.id;
        changes->push_back(std::move(change));
        return true;
    }
    DeleteRecord deleted;
    if (!decode(body, &deleted, why)) return false;
    Change change{};
    change.id = deleted.id;
    change.record = record;
    changes->push_back(std::move(change));
    return true;
}

PoolRecord pool_record(const PoolView& view) {
    PoolRecord record;
    std::memcpy(&record, view.body.data(), sizeof record);
    return record;
}

template <typename View>
View itself(const View& view) {
    return view;
}

}  // namespace

PolicyShape::PolicyShape(const PolicyView& view) {
    for (std::size_t i = 0; i < view.lines.size(); ++i) {
        const LineRecord line = view.lines[i];
        names[line.number] = line.name;
        classes.resize(line.class_number + 1U);
        classes.back().resize(line.tier + 1U);
        classes.back().back().push_back({line.number, line.weight});
    }
}

int PolicyShape::number_of(const LineName& name) const {
    for (unsigned n = 0; n < kMaxLines; ++n) {
        if (names[n] == name) return static_cast<int>(n);
    }
    return -1;
}

std::uint16_t PolicyShape::mask_of(const SubscriberView& subscriber) const {
    unsigned mask = 0;
    for (std::size_t i = 0; i < subscriber.tunnels.size(); ++i) {
        const int n = number_of(subscriber.tunnels[i].line);
        if (n >= 0) mask |= 1U << n;
    }
    return static_cast<std::uint16_t>(mask);
}

Outcome TableWriter::Core::decode(const Transaction& transaction, Changes* changes) const {
    for (std::size_t i = 0; i < transaction.size(); ++i) {
        const Bytes body = transaction.body(i);
        const auto record = static_cast<std::uint32_t>(i);
        const Type type = transaction.type(i);
        std::string why;
        bool good = false;
        switch (type) {
            case Type::UpsertPool:
            case Type::DeletePool:
                good = decode_record<PoolView>(body, type == Type::UpsertPool, record,
                                               &changes->pools, pool_record, &why);
                break;
            case Type::UpsertPolicy:
            case Type::DeletePolicy:
                good = decode_record<PolicyView>(body, type == Type::UpsertPolicy, record,
                                                 &changes->policies, itself<PolicyView>, &why);
                break;
            case Type::UpsertSubscriber:
            case Type::DeleteSubscriber:
                good = decode_record<SubscriberView>(body, type == Type::UpsertSubscriber, record,
                                                     &changes->subscribers, itself<SubscriberView>,
                                                     &why);
                break;
            default:
                why = "message type " + number(static_cast<std::uint16_t>(type)) + " is no record";
        }
        if (!good) return refuse(Status::Malformed, record, std::move(why));
    }
    keep_last(&changes->pools);
    keep_last(&changes->policies);
    keep_last(&changes->subscribers);
    return {};
}

Outcome TableWriter::Core::judge(Plan* plan, bool force) {
    ++plan_number;
    if (Outcome o = plan_pools(*plan); !o.ok()) return o;
    if (Outcome o = plan_policies(plan); !o.ok()) return o;
    if (Outcome o = plan_subscribers(plan); !o.ok()) return o;
    if (Outcome o = plan_ownership(plan); !o.ok()) return o;
    plan_removed_prefixes(plan);
    if (Outcome o = plan_policy_users(*plan); !o.ok()) return o;
    if (!force) {
        if (Outcome o = check_guard(*plan); !o.ok()) return o;
    }
    if (Outcome o = check_capacity(*plan); !o.ok()) return o;
    return plan_maps(plan);
}

void TableWriter::Core::discard(Plan* plan) {
    for (auto& [id, policy] : plan->policies) {
        const std::size_t classes = policy.final_shape().classes.size();
        for (const auto& [mask, map] : policy.groups) {
            map_runs.give_back(map, static_cast<unsigned>(classes));
            map_groups[map] = {};
        }
        policy.groups.clear();
    }
    for (const std::uint32_t map : plan->pinned) --map_groups[map].subscribers;
    plan->pinned.clear();
}

Outcome TableWriter::Core::plan_pools(const Plan& plan) const {
    if (plan.changes.pools.empty()) return {};
    std::map<std::uint32_t, std::pair<IpPrefix, std::uint32_t>> final;
    for (const auto& [id, pool] : pools) final[id] = {pool.prefix(), 0};
    for (const PoolChange& change : plan.changes.pools) {
        if (!change.upsert) {
            final.erase(change.id);
            continue;
        }
        const PoolEntry entry{*change.upsert, 0};
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

Outcome TableWriter::Core::plan_policies(Plan* plan) {
    std::size_t count = policies.size();
    for (const PolicyChange& change : plan->changes.policies) {
        const auto found = policies.find(change.id);
        Policy* installed = found == policies.end() ? nullptr : found->second.get();
        if (change.upsert && installed == nullptr) ++count;
        if (!change.upsert && installed != nullptr) --count;
        if (!change.upsert) continue;
        const Bytes body = change.upsert->body;
        if (installed != nullptr &&
            std::equal(body.begin(), body.end(), installed->body.begin(), installed->body.end()))
            continue;
        PlannedPolicy& planned_policy = plan->policies[change.id];
        planned_policy.installed = installed;
        planned_policy.change = &change;
        planned_policy.shape = PolicyShape(*change.upsert);
    }
    if (count > kMaxPolicies)
        return refuse(Status::Full, plan->changes.policies.back().record,
                      "policies: " + number(count) + ", room for " + number(kMaxPolicies));
    return {};
}

// The policy as it will be; null: it will not exist.
PlannedPolicy* TableWriter::Core::planned(Plan* plan, std::uint32_t policy) {
    if (const auto found = plan->policies.find(policy); found != plan->policies.end())
        return &found->second;
    const auto installed = policies.find(policy);
    if (installed == policies.end()) return nullptr;
    const auto& changes = plan->changes.policies;
    const auto change =
        std::lower_bound(changes.begin(), changes.end(), policy,
                         [](const PolicyChange& c, std::uint32_t id) { return c.id < id; });
    if (change != changes.end() && change->id == policy && !change->upsert) return nullptr;
    PlannedPolicy& kept = plan->policies[policy];
    kept.installed = installed->second.get();
    return &kept;
}

Outcome TableWriter::Core::plan_policy_users(const Plan& plan) const {
    std::unordered_map<std::uint32_t, std::int64_t> users;
    bool any = false;
    for (const PolicyChange& change : plan.changes.policies) {
        const auto found = policies.find(change.id);
        if (change.upsert || found == policies.end()) continue;
        users[change.id] = found->second->subscribers;
        any = true;
    }
    if (!any) return {};
    for (const SubscriberChange& change : plan.changes.subscribers) {
        if (change.same || change.index == 0) continue;
        const auto old = users.find(subscribers[change.index].policy->id);
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
