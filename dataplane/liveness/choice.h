// Which lines may carry a class, and the planned move of buckets from one set to another.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "dataplane/liveness/engine.h"

namespace dr::liveness {

// What is known of a group's lines, as masks (bit n: line n).
struct Lines {
    std::uint16_t up = 0;       // sessions that are Up
    std::uint16_t suspect = 0;  // the rest only weighs on lines that are up
    std::uint16_t degraded = 0;
    std::uint16_t losing = 0;    // of them, all but those that lose least
    std::uint16_t silent = 0;    // stand by, and have not answered in time
    std::uint16_t doubtful = 0;  // data does not arrive, for a moment only
    std::uint16_t damped = 0;
    std::uint16_t waiting = 0;  // to be restored
    std::uint16_t draining = 0;
    std::array<std::uint16_t, kClasses> violating{};  // the class's quality
};

// Losses of data (permille) that differ less are the same.
inline constexpr unsigned kSameLoss = 50;

// Lines of a class.
std::uint16_t members(const ClassPolicy& policy);
// The lines of `eligible` that carry the class: its first tier that has one.
std::uint16_t in_use(const ClassPolicy& policy, std::uint16_t eligible);

// The eligible lines of class `number`: Up, and with nothing against them. When there is none and
// the class is not strict: the lines that are Up and have the least against them, in the order
// waiting; violating or draining; damped; degraded; degraded and losing more than another; silent.
// Suspicion is not held against a line.
std::uint16_t eligible_lines(const ClassPolicy& policy, unsigned number, const Lines& lines);

using BucketSet = std::array<std::uint64_t, kBuckets / 64>;

// A planned move.
struct Move {
    bool used = false;
    Time started = 0;
    std::uint32_t forced = 0;  // buckets that were not idle
    std::array<std::uint16_t, kClasses> from{};
    BucketSet moved{};

    // Moves the idle buckets, and when it is time some busy ones. `ages` as of Host::bucket_ages.
    // True when all are moved.
    bool step(const Tuning& tuning, Time now, std::uint32_t idle_ms,
              std::span<const std::uint32_t, kBuckets> ages);
};

}  // namespace dr::liveness
