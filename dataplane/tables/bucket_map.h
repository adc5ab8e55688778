// The bucket map: which line each of the 256 buckets of the flow hash goes to.
// Defined exactly in proto/TUNNEL.md §4; pure functions, used by dr-dataplane, urd and tests.
#pragma once

#include <cstdint>
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

}  // namespace dr
