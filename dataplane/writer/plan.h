// What a transaction would do, as judged by planner.h, for applier.h to carry out.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/ip.h"
#include "dataplane/writer/books.h"
#include "dataplane/writer/changes.h"
#include "dataplane/writer/map_pool.h"

namespace dr::southbound {

struct PlannedPolicy {
    const Policy* installed{};     // null: it is new
    const PolicyChange* change{};  // null: the policy stays as it is
    PolicyShape shape;             // when it changes

    [[nodiscard]] const PolicyShape& final_shape() const {
        return change != nullptr ? shape : installed->shape;
    }
};

struct PrefixHash {
    std::size_t operator()(const IpPrefix& prefix) const { return prefix_tag(prefix); }
};

struct Plan {
    // `pool` outlives the plan.
    explicit Plan(MapPool& pool) : maps(pool) {}

    Changes changes;
    std::unordered_map<std::uint32_t, PlannedPolicy> policies;
    // Subscribers that no record names but whose policy changes, with their new masks.
    struct Follower {
        std::uint32_t index;
        std::uint16_t mask;
        ClassMasks masks;
    };
    std::vector<Follower> followers;
    MapPool::Draft maps;
    // Indices of installed subscribers that the transaction changes or deletes.
    std::unordered_set<std::uint32_t> touched;
    // What upserted subscribers of this transaction hold in the end, and the record that says so.
    std::unordered_map<IpPrefix, std::uint32_t, PrefixHash> prefixes;
    std::unordered_map<std::uint32_t, std::uint32_t> tunnel_slots;
    std::uint32_t new_subscribers{};
    std::uint32_t deleted_subscribers{};
    std::uint32_t new_rows{};
    std::int64_t new_keyed{};  // tunnels with keys, less those that go
    // While a sync runs: tunnels that appear, and that go.
    std::uint32_t new_tunnels{};
    std::uint32_t gone_tunnels{};
    std::array<std::uint32_t, 2> new_prefixes{};  // IPv4, IPv6
    std::array<std::uint32_t, 2> old_prefixes{};  // that go away
    std::vector<IpPrefix> inserted;               // prefixes that may need new groups
};

}  // namespace dr::southbound
