// The catalog's memory, which judges a request without reading the store. For each subscriber its
// name, id, policy and digest; for each prefix its owner, in an ordered map over address ranges;
// each tunnel end, counted; pools and policies whole; counts of what refers to what; row counts and
// digests as the data plane computes them. Large sets are B-trees, which take a third of the memory
// of one node for each entry. A change invalidates pointers to entries.
//
// Not thread-safe: the catalog locks.
#pragma once

#include <absl/container/btree_map.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ip.h"
#include "control/model/line_numbers.h"
#include "control/model/records.h"
#include "control/store/store.h"
#include "dataplane/southbound/protocol.h"
#include "dr/v1/resource.pb.h"

namespace dr::control {

struct PoolEntry {
    std::uint32_t id = 0;
    IpPrefix prefix;
    v1::Pool object;
};

struct PolicyEntry {
    std::uint32_t id = 0;
    v1::Policy object;
    std::uint64_t subscribers = 0;  // that name this policy
    std::map<std::string, std::uint64_t, std::less<>>
        lines;  // line -> tunnels that use it under this policy
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
    using Subscribers = absl::btree_map<std::string, SubscriberEntry, std::less<>>;

    [[nodiscard]] const ByName<PoolEntry>& pools() const { return pools_; }
    [[nodiscard]] const ByName<PolicyEntry>& policies() const { return policies_; }
    [[nodiscard]] const Subscribers& subscribers() const { return subscribers_; }
    [[nodiscard]] const LineCensus& line_census() const { return line_census_; }

    template <typename Map>
    static const typename Map::mapped_type* find(const Map& map, std::string_view name) {
        const auto at = map.find(name);
        return at == map.end() ? nullptr : &at->second;
    }

    void put_pool(std::uint32_t id, const v1::Pool& pool);
    void remove_pool(std::string_view name);
    // A policy that exists keeps its counts.
    void put_policy(std::uint32_t id, const v1::Policy& policy);
    void remove_policy(std::string_view name);
    // The policy exists, the record names its id, and the record's prefixes are free.
    void put_subscriber(std::string_view name, std::string_view policy, const Record& record);
    // `policy` and `record` as given to put_subscriber().
    void remove_subscriber(std::string_view name, std::string_view policy, const Record& record);
    // Frees the prefixes of a subscriber that is judged together with others, except those that
    // another owns meanwhile; and takes them again. Nothing else changes.
    void lift_prefixes(const Record& record);
    void lower_prefixes(const Record& record);

    // The pool that contains / overlaps the prefix, other than the one named `except`.
    [[nodiscard]] const PoolEntry* pool_containing(const IpPrefix& prefix) const;
    [[nodiscard]] const PoolEntry* pool_overlapping(const IpPrefix& prefix,
                                                    std::string_view except) const;

    // A subscriber's prefix that overlaps `prefix` and belongs to another than `except`.
    struct Owner {
        IpPrefix prefix;
        std::uint32_t subscriber;
    };
    [[nodiscard]] std::optional<Owner> overlapping(const IpPrefix& prefix,
                                                   std::uint32_t except = 0) const;
    // A subscriber's prefix inside `outer` but not inside `inner`.
    [[nodiscard]] std::optional<Owner> inside_but_not(const IpPrefix& outer,
                                                      const IpPrefix* inner) const;
    // The subscribers' prefixes that overlap `prefix`, in order of address, from the first one
    // whose address is `from` or above, until `visit` returns false.
    template <typename Visit>
    void each_within(const IpPrefix& prefix, const IpAddress& from, const Visit& visit) const {
        auto at = ranges_.upper_bound(prefix.address);
        if (at != ranges_.begin() && !overlaps(*--at, prefix)) ++at;
        if (at != ranges_.end() && at->first < from) at = ranges_.lower_bound(from);
        for (; at != ranges_.end() && overlaps(*at, prefix); ++at)
            if (!visit(Owner{{at->first, at->second.length}, at->second.subscriber})) return;
    }
    // A tunnel end inside `prefix`.
    struct End {
        IpAddress address;
        std::uint32_t count;       // tunnel ends that have it
        std::uint32_t subscriber;  // one of theirs; 0 when that is not known any more
    };
    [[nodiscard]] std::optional<End> end_inside(const IpPrefix& prefix) const;
    // Likewise, but none that only the tunnels in `own` have: each end counts once in `own` for
    // each tunnel that has it.
    [[nodiscard]] std::optional<End> end_inside(const IpPrefix& prefix,
                                                const std::vector<IpAddress>& own) const;

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
    struct EndCount {
        std::uint32_t count = 0;
        std::uint32_t subscriber = 0;
    };
    using Ranges = absl::btree_map<IpAddress, Range>;

    static bool overlaps(const Ranges::value_type& range, const IpPrefix& prefix) {
        return IpPrefix{range.first, range.second.length}.overlaps(prefix);
    }
    void count(std::string_view policy, const Record& record, bool add);
    void forget_policy(const PolicyEntry& entry);
    void add_end(const IpAddress& end, std::uint32_t subscriber);
    void remove_end(const IpAddress& end, std::uint32_t subscriber);

    ByName<PoolEntry> pools_;
    std::map<IpAddress, std::string> pools_by_address_;
    ByName<PolicyEntry> policies_;
    LineCensus line_census_;
    Subscribers subscribers_;
    Ranges ranges_;  // by first address; disjoint
    absl::btree_map<IpAddress, EndCount> ends_;
    std::array<std::uint64_t, southbound::kTables> rows_{};
    std::array<std::uint64_t, kKinds> digest_{};
};

}  // namespace dr::control
