// Computes the bucket map of a tier for each set of eligible lines.
#include "dataplane/tables/bucket_map.h"

#include <algorithm>
#include <utility>

namespace dr {

namespace {

constexpr std::uint8_t kPending = 0xff;

}  // namespace

// The orders are found rank by rank, for all buckets at once. At rank k buckets form groups by the
// lines that remain after the first k lines of each bucket's order. There are at most 256 groups at
// each rank, however many sets of lines the tier has. The map for a group's lines differs from the
// map of its group of the previous rank, which has one line more, only in the buckets of that line.
class PreferenceOrders::Groups final {
  public:
    struct Group {
        std::uint32_t left;  // bit n: the line at position n
        std::array<std::uint8_t, kBuckets> owners;
        std::array<std::uint32_t, kMaxLines> awarded;
    };

    explicit Groups(std::uint32_t all) { left_.fill(all); }

    // Fills rank `rank` of `orders`.
    void advance(std::span<const WeightedLine> lines, unsigned rank, Orders* orders) {
        std::vector<Group> next;
        for (unsigned b = 0; b < kBuckets; ++b) {
            if (find(next, left_[b]) != nullptr) continue;
            next.push_back(rank == 0 ? whole(left_[b]) : without_last(b, rank, *orders));
            settle(lines, rank, &next.back(), orders);
        }
        for (unsigned b = 0; b < kBuckets; ++b) left_[b] &= ~(1U << (*orders)[b][rank]);
        groups_ = std::move(next);
    }

  private:
    static const Group* find(const std::vector<Group>& groups, std::uint32_t left) {
        const auto found = std::find_if(groups.rbegin(), groups.rend(),
                                        [left](const Group& g) { return g.left == left; });
        return found == groups.rend() ? nullptr : &*found;
    }
    static Group whole(std::uint32_t all) {
        Group group{all, {}, {}};
        group.owners.fill(kPending);
        return group;
    }
    // The group of bucket b: its group of the previous rank, without the line that the bucket took
    // there.
    [[nodiscard]] Group without_last(unsigned b, unsigned rank, const Orders& orders) const {
        const std::uint8_t last = orders[b][rank - 1];
        Group group = *find(groups_, left_[b] | 1U << last);
        group.left = left_[b];
        group.awarded[last] = 0;
        for (unsigned c = 0; c < kBuckets; ++c) {
            if (group.owners[c] != last) continue;
            group.owners[c] = kPending;
            for (unsigned r = 0; r < rank; ++r) {
                const std::uint8_t line = orders[c][r];
                if ((group.left >> line & 1U) == 0) continue;
                group.owners[c] = line;
                ++group.awarded[line];
                break;
            }
        }
        return group;
    }
    // Gives the group's own buckets their next line.
    static void settle(std::span<const WeightedLine> lines, unsigned rank, Group* group,
                       Orders* orders) {
        for (unsigned b = 0; b < kBuckets; ++b) {
            if (group->owners[b] != kPending) continue;
            const std::uint8_t line = neediest(lines, *group);
            group->owners[b] = line;
            ++group->awarded[line];
            (*orders)[b][rank] = line;
        }
    }
    // Webster: the greatest weight / (2 * awarded + 1); the lower position when equal.
    static std::uint8_t neediest(std::span<const WeightedLine> lines, const Group& group) {
        unsigned best = kMaxLines;
        for (unsigned i = 0; i < lines.size(); ++i) {
            if ((group.left >> i & 1U) == 0) continue;
            if (best == kMaxLines || lines[i].weight * (2 * group.awarded[best] + 1) >
                                         lines[best].weight * (2 * group.awarded[i] + 1))
                best = i;
        }
        return static_cast<std::uint8_t>(best);
    }

    std::array<std::uint32_t, kBuckets> left_{};  // of the tier, by bucket
    std::vector<Group> groups_;                   // of the latest rank
};

PreferenceOrders::PreferenceOrders(std::vector<WeightedLine> lines)
    : lines_(std::move(lines)), groups_(std::make_unique<Groups>((1U << lines_.size()) - 1)) {}

PreferenceOrders::~PreferenceOrders() = default;
PreferenceOrders::PreferenceOrders(PreferenceOrders&&) noexcept = default;

std::uint8_t PreferenceOrders::first(unsigned bucket, std::uint32_t usable) {
    for (unsigned rank = 0;; ++rank) {
        if (rank == ranks_) groups_->advance(lines_, ranks_++, &orders_);
        const std::uint8_t position = orders_[bucket][rank];
        if ((usable >> position & 1U) != 0) return lines_[position].line;
    }
}

BucketMaps::BucketMaps(const Tiers& tiers) {
    tiers_.reserve(tiers.size());
    for (const std::vector<WeightedLine>& tier : tiers) tiers_.emplace_back(tier);
}

BucketMap BucketMaps::make(std::uint16_t eligible) {
    BucketMap map;
    map.line.fill(BucketMap::kNone);
    for (PreferenceOrders& tier : tiers_) {
        const std::span<const WeightedLine> lines = tier.lines();
        std::uint32_t usable = 0;
        for (unsigned i = 0; i < lines.size(); ++i)
            if ((eligible >> lines[i].line & 1U) != 0) usable |= 1U << i;
        if (usable == 0) continue;
        for (unsigned b = 0; b < PreferenceOrders::kBuckets; ++b)
            map.line[b] = tier.first(b, usable);
        return map;
    }
    return map;
}

BucketMap make_bucket_map(const Tiers& tiers, std::uint16_t eligible) {
    return BucketMaps(tiers).make(eligible);
}

}  // namespace dr
