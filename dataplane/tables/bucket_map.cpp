#include "dataplane/tables/bucket_map.h"

#include <unordered_map>

namespace dr {

namespace {

constexpr unsigned kBuckets = 256;
using Owners = std::array<std::uint8_t, kBuckets>;

// One tier; lines are named by their position in it.
class Apportionment final {
  public:
    explicit Apportionment(std::span<const WeightedLine> lines) : lines_(lines) {}

    // Position of the line that owns each bucket when only `eligible` positions may be used.
    const Owners& owners(std::uint32_t eligible) {
        const auto known = memo_.find(eligible);
        if (known != memo_.end()) return known->second;
        const std::uint32_t all = (1U << lines_.size()) - 1;
        Owners result;
        std::array<std::uint32_t, kMaxLines> awarded{};
        std::array<bool, kBuckets> orphan{};
        for (unsigned b = 0; b < kBuckets; ++b) {
            orphan[b] = true;
            for (std::uint32_t set = all; set != eligible;) {
                const std::uint8_t owner = owners(set)[b];
                if ((eligible >> owner & 1U) != 0) {
                    result[b] = owner;
                    ++awarded[owner];
                    orphan[b] = false;
                    break;
                }
                set &= ~(1U << owner);
            }
        }
        for (unsigned b = 0; b < kBuckets; ++b) {
            if (!orphan[b]) continue;
            result[b] = next(eligible, awarded);
            ++awarded[result[b]];
        }
        return memo_.emplace(eligible, result).first->second;
    }

  private:
    // Webster: the greatest weight / (2 * awarded + 1); the lower position when equal.
    [[nodiscard]] std::uint8_t next(std::uint32_t eligible,
                                    const std::array<std::uint32_t, kMaxLines>& awarded) const {
        unsigned best = kMaxLines;
        for (unsigned i = 0; i < lines_.size(); ++i) {
            if ((eligible >> i & 1U) == 0) continue;
            if (best == kMaxLines || lines_[i].weight * (2 * awarded[best] + 1) >
                                         lines_[best].weight * (2 * awarded[i] + 1))
                best = i;
        }
        return static_cast<std::uint8_t>(best);
    }

    std::span<const WeightedLine> lines_;
    std::unordered_map<std::uint32_t, Owners> memo_;
};

}  // namespace

BucketMap make_bucket_map(const Tiers& tiers, std::uint16_t eligible) {
    BucketMap map;
    map.line.fill(BucketMap::kNone);
    for (const std::vector<WeightedLine>& tier : tiers) {
        std::uint32_t usable = 0;
        for (unsigned i = 0; i < tier.size(); ++i)
            if ((eligible >> tier[i].line & 1U) != 0) usable |= 1U << i;
        if (usable == 0) continue;
        Apportionment apportionment(tier);
        const Owners& owners = apportionment.owners(usable);
        for (unsigned b = 0; b < kBuckets; ++b) map.line[b] = tier[owners[b]].line;
        return map;
    }
    return map;
}

}  // namespace dr
