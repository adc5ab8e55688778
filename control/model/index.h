// The catalog's memory: what is needed to judge a request without reading the store. For each
// subscriber its name, id, policy and digest; for each prefix its owner, in an ordered map over
// address ranges; pools and policies whole; counts of what refers to what; row counts and digests
// as the data plane computes them.
//
// Not thread-safe: the catalog locks.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "control/model/address.h"
#include "control/store/store.h"
#include "dataplane/southbound/protocol.h"
#include "dr/v1/resource.pb.h"

namespace dr::control {

struct PoolEntry {
    std::uint32_t id = 0;
    Prefix prefix;
    v1::Pool object;
};

struct PolicyEntry {
    std::uint32_t id = 0;
    v1::Policy object;
    std::uint64_t subscribers = 0;               // that name this policy
    std::map<std::string, std::uint64_t> lines;  // line -> tunnels that use it under this policy
    [[nodiscard]] bool has_line(std::string_view line) const;
};

struct SubscriberEntry {
    std::uint32_t id = 0;
    std::uint32_t policy = 0;
    std::uint64_t digest = 0;
};

class Index {
  public:
    template <typename Entry>
    using ByName = std::map<std::string, Entry, std::less<>>;

    [[nodiscard]] const ByName<PoolEntry>& pools() const { return pools_; }
    [[nodiscard]] const ByName<PolicyEntry>& policies() const { return policies_; }
    [[nodiscard]] const ByName<SubscriberEntry>& subscribers() const { return subscribers_; }

    template <typename Entry>
    static const Entry* find(const ByName<Entry>& map, std::string_view name) {
        const auto at = map.find(name);
        return at == map.end() ? nullptr : &at->second;
    }

    void put_pool(std::uint32_t id, const v1::Pool& pool);
    void remove_pool(std::string_view name);
    // A policy that exists keeps its counts.
    void put_policy(std::uint32_t id, const v1::Policy& policy);
    void remove_policy(std::string_view name);
    // The subscriber is canonical, its policy exists, its prefixes are free.

    void put_subscriber(const v1::Subscriber& subscriber);
    void remove_subscriber(const v1::Subscriber& subscriber);

    // The pool that contains / overlaps the prefix, other than the one named `except`.
    [[nodiscard]] const PoolEntry* pool_containing(const Prefix& prefix) const;
    [[nodiscard]] const PoolEntry* pool_overlapping(const Prefix& prefix,
                                                    std::string_view except) const;

    // A subscriber's prefix that overlaps `prefix` and belongs to another than `except`.
    struct Owner {
        Prefix prefix;
        std::uint32_t subscriber;
    };
    [[nodiscard]] std::optional<Owner> overlapping(const Prefix& prefix,
                                                   std::uint32_t except = 0) const;
    // A subscriber's prefix inside `outer` but not inside `inner`.
    [[nodiscard]] std::optional<Owner> inside_but_not(const Prefix& outer,
                                                      const Prefix* inner) const;
    // Ids of the subscribers that own something that overlaps `prefix`.
    [[nodiscard]] std::unordered_set<std::uint32_t> owners_within(const Prefix& prefix) const;

    // Desired rows of pools, policies, subscribers, tunnels, prefixes4, prefixes6.
    [[nodiscard]] const std::array<std::uint64_t, southbound::kTables>& rows() const {
        return rows_;
    }
    // Sums of record digests: pools, policies, subscribers.
    [[nodiscard]] const std::array<std::uint64_t, kKinds>& digest() const { return digest_; }

  private:
    struct Range {
        std::uint32_t subscriber;
        std::uint8_t length;
    };
    void count(const v1::Subscriber& subscriber, bool add);

    ByName<PoolEntry> pools_;
    std::map<Address, std::string> pools_by_address_;
    ByName<PolicyEntry> policies_;
    ByName<SubscriberEntry> subscribers_;
    std::map<Address, Range> ranges_;  // by first address; disjoint
    std::array<std::uint64_t, southbound::kTables> rows_{};
    std::array<std::uint64_t, kKinds> digest_{};
};

}  // namespace dr::control
