#include "control/model/index.h"

#include "control/southbound/records.h"

namespace dr::control {
namespace {

std::uint64_t digest_of(const std::vector<std::uint8_t>& record) {
    return southbound::record_digest(record.data(), record.size());
}

std::size_t row(southbound::Table table) {
    return static_cast<std::size_t>(table);
}

Prefix prefix_of(const std::string& canonical) {
    std::string error;
    return parse_prefix(canonical, error).value();
}

constexpr std::size_t kPools = static_cast<std::size_t>(Kind::Pool);
constexpr std::size_t kPolicies = static_cast<std::size_t>(Kind::Policy);
constexpr std::size_t kSubscribers = static_cast<std::size_t>(Kind::Subscriber);

}  // namespace

bool PolicyEntry::has_line(std::string_view line) const {
    for (const auto& c : object.classes())
        for (const auto& tier : c.tiers())
            for (const auto& weighted : tier.lines())
                if (weighted.line() == line) return true;
    return false;
}

void Index::put_pool(std::uint32_t id, const v1::Pool& pool) {
    remove_pool(pool.name());
    const PoolEntry entry{id, prefix_of(pool.prefix()), pool};
    pools_by_address_[entry.prefix.address] = pool.name();
    digest_[kPools] += digest_of(pool_record(pool, id));
    pools_.emplace(pool.name(), entry);
    ++rows_[row(southbound::Table::Pools)];
}

void Index::remove_pool(std::string_view name) {
    const auto at = pools_.find(name);
    if (at == pools_.end()) return;
    digest_[kPools] -= digest_of(pool_record(at->second.object, at->second.id));
    pools_by_address_.erase(at->second.prefix.address);
    pools_.erase(at);
    --rows_[row(southbound::Table::Pools)];
}

void Index::put_policy(std::uint32_t id, const v1::Policy& policy) {
    auto [at, added] = policies_.try_emplace(policy.name());
    PolicyEntry& entry = at->second;
    if (added)
        ++rows_[row(southbound::Table::Policies)];
    else
        digest_[kPolicies] -= digest_of(policy_record(entry.object, entry.id));
    entry.id = id;
    entry.object = policy;
    digest_[kPolicies] += digest_of(policy_record(policy, id));
}

void Index::remove_policy(std::string_view name) {
    const auto at = policies_.find(name);
    if (at == policies_.end()) return;
    digest_[kPolicies] -= digest_of(policy_record(at->second.object, at->second.id));
    policies_.erase(at);
    --rows_[row(southbound::Table::Policies)];
}

void Index::count(const v1::Subscriber& subscriber, bool add) {
    const std::uint64_t one = add ? 1 : ~std::uint64_t{0};
    PolicyEntry& policy = policies_.find(subscriber.policy())->second;
    policy.subscribers += one;
    for (const auto& tunnel : subscriber.tunnels())
        if ((policy.lines[tunnel.line()] += one) == 0) policy.lines.erase(tunnel.line());
    rows_[row(southbound::Table::Subscribers)] += one;
    rows_[row(southbound::Table::Tunnels)] +=
        one * static_cast<std::uint64_t>(subscriber.tunnels_size());
    for (const auto& text : subscriber.prefixes())
        rows_[row(text.find(':') == std::string::npos ? southbound::Table::Prefixes4
                                                      : southbound::Table::Prefixes6)] += one;
}

void Index::put_subscriber(const v1::Subscriber& subscriber) {
    const std::uint32_t policy = policies_.find(subscriber.policy())->second.id;
    const std::uint64_t digest = digest_of(subscriber_record(subscriber, policy));
    subscribers_[subscriber.name()] = {subscriber.id(), policy, digest};
    digest_[kSubscribers] += digest;
    for (const auto& text : subscriber.prefixes()) {
        const Prefix prefix = prefix_of(text);
        ranges_[prefix.address] = {subscriber.id(), prefix.length};
    }
    count(subscriber, true);
}

void Index::remove_subscriber(const v1::Subscriber& subscriber) {
    const auto at = subscribers_.find(subscriber.name());
    if (at == subscribers_.end()) return;
    digest_[kSubscribers] -= at->second.digest;
    subscribers_.erase(at);
    for (const auto& text : subscriber.prefixes()) ranges_.erase(prefix_of(text).address);
    count(subscriber, false);
}

const PoolEntry* Index::pool_containing(const Prefix& prefix) const {
    auto at = pools_by_address_.upper_bound(prefix.address);
    if (at == pools_by_address_.begin()) return nullptr;
    const PoolEntry& pool = pools_.find((--at)->second)->second;
    return pool.prefix.contains(prefix) ? &pool : nullptr;
}

const PoolEntry* Index::pool_overlapping(const Prefix& prefix, std::string_view except) const {
    const auto other = [&](const std::string& name) -> const PoolEntry* {
        const PoolEntry& pool = pools_.find(name)->second;
        return name != except && pool.prefix.overlaps(prefix) ? &pool : nullptr;
    };
    auto at = pools_by_address_.upper_bound(prefix.address);
    if (at != pools_by_address_.begin()) --at;
    const Address last = prefix.last();
    for (; at != pools_by_address_.end() && at->first <= last; ++at)
        if (const PoolEntry* pool = other(at->second)) return pool;
    return nullptr;
}

std::optional<Index::Owner> Index::overlapping(const Prefix& prefix, std::uint32_t except) const {
    auto at = ranges_.upper_bound(prefix.address);
    if (at != ranges_.begin()) --at;
    const Address last = prefix.last();
    for (; at != ranges_.end() && at->first <= last; ++at) {
        const Prefix other{at->first, at->second.length};
        if (at->second.subscriber != except && other.overlaps(prefix))
            return Owner{other, at->second.subscriber};
    }
    return std::nullopt;
}

std::optional<Index::Owner> Index::inside_but_not(const Prefix& outer, const Prefix* inner) const {
    const Address last = outer.last();
    auto at = ranges_.lower_bound(outer.address);
    while (at != ranges_.end() && at->first <= last) {
        const Prefix found{at->first, at->second.length};
        if (inner == nullptr || !inner->contains(found)) return Owner{found, at->second.subscriber};
        at = ranges_.upper_bound(inner->last());
    }
    return std::nullopt;
}

std::unordered_set<std::uint32_t> Index::owners_within(const Prefix& prefix) const {
    std::unordered_set<std::uint32_t> owners;
    auto at = ranges_.upper_bound(prefix.address);
    if (at != ranges_.begin()) --at;
    const Address last = prefix.last();
    for (; at != ranges_.end() && at->first <= last; ++at)
        if (Prefix{at->first, at->second.length}.overlaps(prefix))
            owners.insert(at->second.subscriber);
    return owners;
}

}  // namespace dr::control
