// Sharing, making and giving back bucket maps.
#include "dataplane/writer/map_pool.h"

#include <utility>

namespace dr::southbound {

MapPool::MapPool(Tables& tables)
    : tables_(tables), runs_(tables.maps.size()), groups_(tables.maps.size()) {}

std::uint32_t MapPool::take(Set& set, std::uint32_t policy, const PolicyShape& shape,
                            const ClassMasks& masks) {
    const auto classes = static_cast<unsigned>(shape.classes.size());
    const std::uint32_t map = runs_.take(classes);
    if (map == kNoRow) return kNoRow;
    if (set.makers.empty()) {
        for (const Tiers& tiers : shape.classes) set.makers.emplace_back(tiers);
    }
    groups_[map] = {policy, 0, masks, static_cast<std::uint8_t>(classes)};
    return map;
}

std::uint32_t MapPool::find_or_make(Set& set, std::uint32_t policy, const PolicyShape& shape,
                                    const ClassMasks& masks) {
    if (const auto found = set.runs.find(masks); found != set.runs.end()) return found->second;
    const std::uint32_t map = take(set, policy, shape, masks);
    if (map == kNoRow) return kNoRow;
    for (std::size_t c = 0; c < shape.classes.size(); ++c)
        tables_.maps[map + static_cast<std::uint32_t>(c)] = set.makers[c].make(masks[c]);
    set.runs[masks] = map;
    return map;
}

std::uint32_t MapPool::get(std::uint32_t policy, const PolicyShape& shape,
                           const ClassMasks& masks) {
    return find_or_make(sets_[policy], policy, shape, masks);
}

std::uint32_t MapPool::find(std::uint32_t policy, const ClassMasks& masks) const {
    const auto set = sets_.find(policy);
    if (set == sets_.end()) return kNoRow;
    const auto run = set->second.runs.find(masks);
    return run == set->second.runs.end() ? kNoRow : run->second;
}

std::uint32_t MapPool::make_mixed(std::uint32_t policy, const PolicyShape& shape,
                                  const ClassMasks& before, const ClassMasks& after,
                                  const std::array<std::uint64_t, liveness::kBuckets / 64>& moved) {
    Set& set = sets_[policy];
    // Not among the policy's runs: nobody else takes it.
    const std::uint32_t map = take(set, policy, shape, {});
    if (map == kNoRow) return kNoRow;
    for (std::size_t c = 0; c < shape.classes.size(); ++c) {
        BucketMap& mixed = tables_.maps[map + static_cast<std::uint32_t>(c)];
        mixed = set.makers[c].make(before[c]);
        const BucketMap target = set.makers[c].make(after[c]);
        for (unsigned b = 0; b < liveness::kBuckets; ++b) {
            if ((moved[b / 64] >> (b % 64) & 1U) != 0) mixed.line[b] = target.line[b];
        }
    }
    return map;
}

void MapPool::release(std::uint32_t map, Batch& batch) {
    Group& group = groups_[map];
    if (--group.holders != 0) return;
    if (const auto set = sets_.find(group.policy); set != sets_.end()) {
        const auto run = set->second.runs.find(group.masks);
        if (run != set->second.runs.end() && run->second == map) set->second.runs.erase(run);
    }
    batch.maps.emplace_back(map, group.classes);
    group = {};
}

MapPool::Draft::~Draft() {
    for (const auto& [policy, set] : made_) {
        for (const auto& [masks, map] : set.runs) {
            pool_.runs_.give_back(map, pool_.groups_[map].classes);
            pool_.groups_[map] = {};
        }
    }
    // Those that were installed have their own holders still.
    for (const std::uint32_t map : held_) --pool_.groups_[map].holders;
}

bool MapPool::Draft::want(std::uint32_t policy, const PolicyShape& shape, bool changes,
                          const ClassMasks& masks) {
    if (masks == ClassMasks{}) return true;
    if (!changes) {
        if (const std::uint32_t map = pool_.find(policy, masks); map != kNoRow) {
            pool_.hold(map);
            held_.push_back(map);
            return true;
        }
    }
    return pool_.find_or_make(made_[policy], policy, shape, masks) != kNoRow;
}

void MapPool::Draft::adopt(std::uint32_t policy, bool changes) {
    // The runs of a shape that goes are given back when their last holders leave them.
    if (changes) pool_.sets_[policy] = {};
    const auto made = made_.find(policy);
    if (made == made_.end()) return;
    for (const auto& [masks, map] : made->second.runs) {
        pool_.hold(map);
        held_.push_back(map);
    }
    pool_.sets_[policy].runs.merge(made->second.runs);
    made_.erase(made);
}

void MapPool::Draft::settle(Batch& batch) {
    for (const std::uint32_t map : std::exchange(held_, {})) pool_.release(map, batch);
}

}  // namespace dr::southbound
