// The bucket maps: who shares which, and when one is free again.
//
// Subscribers of one policy with the same eligible lines share a run of consecutive maps, one map
// for each class of the policy. A run is named by its map of class 0. It stays while somebody holds
// it; then it goes into a batch and is given back after the grace period.
//
// One thread: the writer.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "dataplane/liveness/engine.h"
#include "dataplane/tables/bucket_map.h"
#include "dataplane/tables/tables.h"
#include "dataplane/writer/graveyard.h"
#include "dataplane/writer/map_runs.h"
#include "dataplane/writer/policy_shape.h"

namespace dr::southbound {

class MapPool final {
  public:
    // Writes Tables::maps; `tables` outlives it.
    explicit MapPool(Tables& tables);
    MapPool(const MapPool&) = delete;
    MapPool& operator=(const MapPool&) = delete;

    // The run of an installed policy for these lines, which are not none: the one that there is, or
    // a new one that is filled and that nobody holds yet. kNoRow: there is no room.
    std::uint32_t get(std::uint32_t policy, const PolicyShape& shape, const ClassMasks& masks);
    // The run of an installed policy for these lines; kNoRow: there is none.
    [[nodiscard]] std::uint32_t find(std::uint32_t policy, const ClassMasks& masks) const;
    // A run of one subscriber's own, which get() and find() do not see: the buckets in `moved` go
    // where the map of `after` says, the others where that of `before` says. kNoRow: no room.
    std::uint32_t make_mixed(std::uint32_t policy, const PolicyShape& shape,
                             const ClassMasks& before, const ClassMasks& after,
                             const std::array<std::uint64_t, liveness::kBuckets / 64>& moved);

    void hold(std::uint32_t map) { ++groups_[map].holders; }
    // The last holder's release puts the run into the batch.
    void release(std::uint32_t map, Batch& batch);
    void give_back(std::uint32_t map, unsigned classes) { runs_.give_back(map, classes); }
    // The policy is deleted.
    void forget(std::uint32_t policy) { sets_.erase(policy); }

    [[nodiscard]] std::uint32_t in_use() const { return runs_.in_use(); }
    [[nodiscard]] std::uint32_t high_water() const { return runs_.high_water(); }
    // Of the pool's own bookkeeping.
    [[nodiscard]] std::size_t bytes() const {
        return runs_.bytes() + groups_.capacity() * sizeof(Group);
    }

    class Draft;

  private:
    struct MasksHash {
        std::size_t operator()(const ClassMasks& masks) const {
            std::uint64_t h = 0;
            for (const std::uint16_t mask : masks) h = (h ^ mask) * 0x9e3779b97f4a7c15ULL;
            return h ^ h >> 32;
        }
    };
    // Runs of one policy.
    struct Set {
        std::unordered_map<ClassMasks, std::uint32_t, MasksHash> runs;
        std::vector<BucketMaps> makers;  // by class, once one is needed
    };
    // By map of class 0.
    struct Group {
        std::uint32_t policy{};
        std::uint32_t holders{};
        ClassMasks masks{};
        std::uint8_t classes{};
    };

    std::uint32_t find_or_make(Set& set, std::uint32_t policy, const PolicyShape& shape,
                               const ClassMasks& masks);
    // A run that is not filled yet, and makers for it.
    std::uint32_t take(Set& set, std::uint32_t policy, const PolicyShape& shape,
                       const ClassMasks& masks);

    Tables& tables_;
    MapRuns runs_;
    std::vector<Group> groups_;
    std::unordered_map<std::uint32_t, Set> sets_;  // by policy
};

// The maps that a plan needs. Nobody sees them before adopt(); what was not adopted goes back
// to the pool with the draft.
class MapPool::Draft final {
  public:
    explicit Draft(MapPool& pool) : pool_(pool) {}
    ~Draft();
    Draft(const Draft&) = delete;
    Draft& operator=(const Draft&) = delete;

    // The policy will have a run for these lines: one that it has already, which then stays
    // until settle(), or a new one. `changes`: the plan gives the policy another shape, so that
    // no installed run will do. false: there is no room.
    bool want(std::uint32_t policy, const PolicyShape& shape, bool changes,
              const ClassMasks& masks);
    // The plan is carried out: the new runs of this policy are the policy's, beside those that
    // it has, or, when its shape changes, instead of them. They stay until settle().
    void adopt(std::uint32_t policy, bool changes);
    // Lets go of the runs: each subscriber of the plan holds its own by now.
    void settle(Batch& batch);

  private:
    MapPool& pool_;
    std::unordered_map<std::uint32_t, Set> made_;  // by policy
    std::vector<std::uint32_t> held_;
};

}  // namespace dr::southbound
