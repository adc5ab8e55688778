// The bucket map: which line each of the 256 buckets of the flow hash goes to.
// Defined exactly in proto/TUNNEL.md §4; pure functions, used by dr-dataplane, urd and tests.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "dataplane/tables/rows.h"

namespace dr {

struct WeightedLine {
    std::uint8_t line;    // line number, 0-15
    std::uint8_t weight;  // 1-255
};

// One class of a policy: tiers in priority order.
using Tiers = std::vector<std::vector<WeightedLine>>;

// The map of a class for a set of eligible lines (bit n: line n): shares of the first tier that
// has an eligible line. Weights are met exactly, as Webster's method apportions 256 buckets; a line
// that leaves the set moves only its own buckets. Every bucket is BucketMap::kNone when no line is
// eligible.
BucketMap make_bucket_map(const Tiers& tiers, std::uint16_t eligible);

// Each bucket's order of preference of the lines of one tier (TUNNEL.md §4), computed as far as
// needed. Lines are named by their position in the tier.
class PreferenceOrders final {
  public:
    static constexpr unsigned kBuckets = 256;

    explicit PreferenceOrders(std::vector<WeightedLine> lines);
    ~PreferenceOrders();
    PreferenceOrders(PreferenceOrders&&) noexcept;

    [[nodiscard]] std::span<const WeightedLine> lines() const { return lines_; }
    // The line number of the first line in the bucket's order whose position is in `usable`;
    // `usable` must have at least one line of the tier.
    [[nodiscard]] std::uint8_t first(unsigned bucket, std::uint32_t usable);

  private:
    using Orders = std::array<std::array<std::uint8_t, kMaxLines>, kBuckets>;
    class Groups;

    std::vector<WeightedLine> lines_;
    Orders orders_{};
    unsigned ranks_{};  // of orders_ that are known
    std::unique_ptr<Groups> groups_;
};

// The maps of one class for many sets of eligible lines: the expensive part is computed once for
// all of them.
class BucketMaps final {
  public:
    explicit BucketMaps(const Tiers& tiers);
    // As make_bucket_map().
    [[nodiscard]] BucketMap make(std::uint16_t eligible);

  private:
    std::vector<PreferenceOrders> tiers_;
};

}  // namespace dr
