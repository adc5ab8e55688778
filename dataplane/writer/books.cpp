// Records as they are installed, and the sums over them.
#include "dataplane/writer/books.h"

#include <algorithm>
#include <utility>

namespace dr::southbound {
namespace {

enum : std::size_t { kPoolDigest, kPolicyDigest, kSubscriberDigest };  // State::digest

std::uint64_t digest_of(Bytes body) {
    return record_digest(body.data(), body.size());
}

}  // namespace

bool Books::in_pool(const IpPrefix& prefix) const {
    return std::any_of(pools_.begin(), pools_.end(),
                       [&](const auto& pool) { return pool.second.prefix().contains(prefix); });
}

bool Books::is_pool(const IpPrefix& prefix) const {
    return std::any_of(pools_.begin(), pools_.end(),
                       [&](const auto& pool) { return pool.second.prefix() == prefix; });
}

bool Books::put_pool(const PoolRecord& record) {
    const auto [pool, added] = pools_.try_emplace(record.id);
    pool->second.mark = mark_;
    if (!added) return false;
    pool->second.record = record;
    digest_[kPoolDigest] += digest_of(bytes_of(record));
    ++steered_generation_;
    return true;
}

void Books::erase_pool(std::uint32_t id) {
    const auto pool = pools_.find(id);
    digest_[kPoolDigest] -= digest_of(bytes_of(pool->second.record));
    pools_.erase(pool);
    ++steered_generation_;
}

const Policy* Books::policy(std::uint32_t id) const {
    const auto found = policies_.find(id);
    return found == policies_.end() ? nullptr : found->second.get();
}

const Policy& Books::put_policy(std::uint32_t id, Bytes body, PolicyShape shape) {
    std::unique_ptr<Policy>& policy = policies_[id];
    if (policy == nullptr) policy = std::make_unique<Policy>();
    if (!policy->body.empty()) digest_[kPolicyDigest] -= digest_of(policy->body);
    policy->id = id;
    policy->body.assign(body.begin(), body.end());
    policy->shape = std::move(shape);
    digest_[kPolicyDigest] += digest_of(body);
    return *policy;
}

void Books::erase_policy(std::uint32_t id) {
    const auto policy = policies_.find(id);
    digest_[kPolicyDigest] -= digest_of(policy->second->body);
    policies_.erase(policy);
}

void Books::count(const SubscriberView& view) {
    digest_[kSubscriberDigest] += digest_of(view.digested);
    body_bytes_ += view.body.size();
    keyed_tunnels_ += static_cast<std::uint32_t>(view.keys.size());
    ++policies_.find(view.record.policy)->second->subscribers;
}

void Books::discount(const SubscriberView& view) {
    digest_[kSubscriberDigest] -= digest_of(view.digested);
    body_bytes_ -= view.body.size();
    keyed_tunnels_ -= static_cast<std::uint32_t>(view.keys.size());
    --policies_.find(view.record.policy)->second->subscribers;
}

RecordBody Books::put_subscriber(std::uint32_t index, const SubscriberView& view) {
    if (index >= subscribers_.size()) subscribers_.resize(index + 1U);
    Subscriber& subscriber = subscribers_[index];
    RecordBody old = std::move(subscriber.body);
    if (old == nullptr)
        ids_.insert(view.record.id, index);
    else
        discount(view_of(old.get()));
    subscriber.body = std::make_unique<std::uint8_t[]>(view.body.size());
    std::copy(view.body.begin(), view.body.end(), subscriber.body.get());
    count(view);
    subscriber.policy = policies_.find(view.record.policy)->second.get();
    subscriber.mark = mark_;
    return old;
}

void Books::erase_subscriber(std::uint32_t index) {
    const SubscriberView view = subscribers_[index].view();
    discount(view);
    ids_.erase(view.record.id);
    subscribers_[index] = {};
}

bool Books::holds(std::uint32_t index, const IpPrefix& prefix) const {
    if (subscribers_[index].body == nullptr) return false;
    const SubscriberView view = subscribers_[index].view();
    for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
        if (prefix_of(view.prefixes[i]) == prefix) return true;
    }
    return false;
}

std::uint32_t Books::owner_of(const IpPrefix& prefix) const {
    return prefixes_.find(prefix, [&](std::uint32_t index) { return holds(index, prefix); });
}

// A prefix outside all pools is steered by itself.
void Books::note_steering(const IpPrefix& prefix) {
    if (!in_pool(prefix)) ++steered_generation_;
}

void Books::claim(const IpPrefix& prefix, std::uint32_t index) {
    if (const std::uint32_t owner = owner_of(prefix); owner != 0) prefixes_.erase(prefix, owner);
    prefixes_.insert(prefix, index);
    note_steering(prefix);
}

void Books::disclaim(const IpPrefix& prefix, std::uint32_t index) {
    prefixes_.erase(prefix, index);
    note_steering(prefix);
}

std::vector<IpPrefix> Books::steered() const {
    std::vector<IpPrefix> steered;
    for (const auto& [id, pool] : pools_) steered.push_back(pool.prefix());
    for (const Subscriber& subscriber : subscribers_) {
        if (subscriber.body == nullptr) continue;
        const SubscriberView view = subscriber.view();
        for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
            const IpPrefix prefix = prefix_of(view.prefixes[i]);
            if (!in_pool(prefix)) steered.push_back(prefix);
        }
    }
    return steered;
}

Changes Books::unmarked() const {
    Changes changes;
    for (const Subscriber& subscriber : subscribers_) {
        if (subscriber.body == nullptr || subscriber.mark == mark_) continue;
        changes.subscribers.push_back({subscriber.view().record.id, 0, std::nullopt});
    }
    for (const auto& [id, policy] : policies_) {
        if (policy->mark != mark_) changes.policies.push_back({id, 0, std::nullopt});
    }
    for (const auto& [id, pool] : pools_) {
        if (pool.mark != mark_) changes.pools.push_back({id, 0, std::nullopt});
    }
    const auto by_id = [](const auto& a, const auto& b) { return a.id < b.id; };
    std::sort(changes.policies.begin(), changes.policies.end(), by_id);
    std::sort(changes.pools.begin(), changes.pools.end(), by_id);
    return changes;
}

std::uint64_t Books::record_bytes() const {
    std::uint64_t bytes = body_bytes_ + subscribers_.capacity() * sizeof(Subscriber);
    for (const auto& [id, policy] : policies_) bytes += sizeof(Policy) + policy->body.size();
    return bytes + pools_.size() * sizeof(InstalledPool);
}

}  // namespace dr::southbound
