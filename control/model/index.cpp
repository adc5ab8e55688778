// Keeps the in-memory index of the catalog.
#include "control/model/index.h"

#include <cstring>

#include "control/model/records.h"

namespace dr::control {
namespace {

std::uint64_t digest_of(const std::vector<std::uint8_t>& record) {
    return southbound::record_digest(record.data(), record.size());
}

std::size_t row(southbound::Table table) {
    return static_cast<std::size_t>(table);
}

IpPrefix prefix_of(const std::string& canonical) {
    std::string error;
    return parse_prefix(canonical, &error).value();
}

std::array<IpAddress, 2> ends_of(const southbound::TunnelRecord& tunnel) {
    return {IpAddress{tunnel.family, tunnel.local}, IpAddress{tunnel.family, tunnel.remote}};
}

std::string_view line_of(const southbound::TunnelRecord& tunnel) {
    return {tunnel.line.data(), ::strnlen(tunnel.line.data(), tunnel.line.size())};
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
        forget_policy(entry);
    entry.id = id;
    entry.object = policy;
    line_census_.add(policy);
    digest_[kPolicies] += digest_of(policy_record(policy, id));
}

void Index::remove_policy(std::string_view name) {
    const auto at = policies_.find(name);
    if (at == policies_.end()) return;
    forget_policy(at->second);
    policies_.erase(at);
    --rows_[row(southbound::Table::Policies)];
}

void Index::forget_policy(const PolicyEntry& entry) {
    line_census_.remove(entry.object);
    digest_[kPolicies] -= digest_of(policy_record(entry.object, entry.id));
}

void Index::count(std::string_view policy_name, const Record& record, bool add) {
    const std::uint64_t one = add ? 1 : ~std::uint64_t{0};
    PolicyEntry& policy = policies_.find(policy_name)->second;
    policy.subscribers += one;
    rows_[row(southbound::Table::Subscribers)] += one;
    const SubscriberView view(record);
    for (std::size_t i = 0; i < view.prefixes(); ++i)
        rows_[row(view.prefix(i).family == 4 ? southbound::Table::Prefixes4
                                             : southbound::Table::Prefixes6)] += one;
    for (std::size_t i = 0; i < view.tunnels(); ++i) {
        const southbound::TunnelRecord tunnel = view.tunnel(i);
        const std::string_view line = line_of(tunnel);
        auto at = policy.lines.find(line);
        if (at == policy.lines.end()) at = policy.lines.emplace(line, 0).first;
        if ((at->second += one) == 0) policy.lines.erase(at);
        rows_[row(southbound::Table::Tunnels)] += one;
    }
}

void Index::add_end(const IpAddress& end, std::uint32_t subscriber) {
    if (end.bytes == IpAddress{}.bytes) return;  // to be learned
    EndCount& entry = ends_[end];
    ++entry.count;
    entry.subscriber = subscriber;
}

void Index::remove_end(const IpAddress& end, std::uint32_t subscriber) {
    const auto at = ends_.find(end);
    if (at == ends_.end()) return;
    if (--at->second.count == 0)
        ends_.erase(at);
    else if (at->second.subscriber == subscriber)
        at->second.subscriber = 0;
}

void Index::put_subscriber(std::string_view name, std::string_view policy, const Record& record) {
    const SubscriberView view(record);
    const std::uint64_t digest = digest_of(record);
    subscribers_[std::string(name)] = {view.id(), view.policy(), digest};
    digest_[kSubscribers] += digest;
    lower_prefixes(record);
    for (std::size_t i = 0; i < view.tunnels(); ++i)
        for (const IpAddress& end : ends_of(view.tunnel(i))) add_end(end, view.id());
    count(policy, record, true);
}

void Index::remove_subscriber(std::string_view name, std::string_view policy,
                              const Record& record) {
    const auto at = subscribers_.find(name);
    if (at == subscribers_.end()) return;
    digest_[kSubscribers] -= at->second.digest;
    subscribers_.erase(at);
    const SubscriberView view(record);
    lift_prefixes(record);
    for (std::size_t i = 0; i < view.tunnels(); ++i)
        for (const IpAddress& end : ends_of(view.tunnel(i))) remove_end(end, view.id());
    count(policy, record, false);
}

void Index::lift_prefixes(const Record& record) {
    const SubscriberView view(record);
    for (std::size_t i = 0; i < view.prefixes(); ++i) {
        const southbound::PrefixRecord prefix = view.prefix(i);
        const auto at = ranges_.find(IpAddress{prefix.family, prefix.address});
        if (at != ranges_.end() && at->second.subscriber == view.id()) ranges_.erase(at);
    }
}

void Index::lower_prefixes(const Record& record) {
    const SubscriberView view(record);
    for (std::size_t i = 0; i < view.prefixes(); ++i) {
        const southbound::PrefixRecord prefix = view.prefix(i);
        ranges_.insert_or_assign(IpAddress{prefix.family, prefix.address},
                                 Range{view.id(), prefix.length});
    }
}

std::optional<Index::End> Index::end_inside(const IpPrefix& prefix) const {
    const auto at = ends_.lower_bound(prefix.address);
    if (at == ends_.end() || !prefix.contains(at->first)) return std::nullopt;
    return End{at->first, at->second.count, at->second.subscriber};
}

std::optional<Index::End> Index::end_inside(const IpPrefix& prefix,
                                            const std::vector<IpAddress>& own) const {
    for (auto at = ends_.lower_bound(prefix.address);
         at != ends_.end() && prefix.contains(at->first); ++at)
        if (at->second.count > std::count(own.begin(), own.end(), at->first))
            return End{at->first, at->second.count, at->second.subscriber};
    return std::nullopt;
}

const PoolEntry* Index::pool_containing(const IpPrefix& prefix) const {
    auto at = pools_by_address_.upper_bound(prefix.address);
    if (at == pools_by_address_.begin()) return nullptr;
    const PoolEntry& pool = pools_.find((--at)->second)->second;
    return pool.prefix.contains(prefix) ? &pool : nullptr;
}

const PoolEntry* Index::pool_overlapping(const IpPrefix& prefix, std::string_view except) const {
    const auto other = [&](const std::string& name) -> const PoolEntry* {
        const PoolEntry& pool = pools_.find(name)->second;
        return name != except && pool.prefix.overlaps(prefix) ? &pool : nullptr;
    };
    auto at = pools_by_address_.upper_bound(prefix.address);
    if (at != pools_by_address_.begin()) --at;
    const IpAddress last = prefix.last();
    for (; at != pools_by_address_.end() && at->first <= last; ++at)
        if (const PoolEntry* pool = other(at->second)) return pool;
    return nullptr;
}

std::optional<Index::Owner> Index::overlapping(const IpPrefix& prefix, std::uint32_t except) const {
    auto at = ranges_.upper_bound(prefix.address);
    if (at != ranges_.begin()) --at;
    const IpAddress last = prefix.last();
    for (; at != ranges_.end() && at->first <= last; ++at) {
        const IpPrefix other{at->first, at->second.length};
        if (at->second.subscriber != except && other.overlaps(prefix))
            return Owner{other, at->second.subscriber};
    }
    return std::nullopt;
}

std::optional<Index::Owner> Index::inside_but_not(const IpPrefix& outer,
                                                  const IpPrefix* inner) const {
    const IpAddress last = outer.last();
    auto at = ranges_.lower_bound(outer.address);
    while (at != ranges_.end() && at->first <= last) {
        const IpPrefix found{at->first, at->second.length};
        if (inner == nullptr || !inner->contains(found)) return Owner{found, at->second.subscriber};
        at = ranges_.upper_bound(inner->last());
    }
    return std::nullopt;
}

}  // namespace dr::control
