// A policy's lines and classes, in terms of the numbers that drd gives to the lines. These are the
// numbers in keepalives (proto/TUNNEL.md §8), in bucket maps and in subscribers' slots.
//
// drd keeps a line's number while the policy names the line, and gives a number that has just
// become free last. A worker that still holds a map made before a number changed its meaning finds
// the slot of the new line: a tunnel of the same subscriber, never an empty slot or another's.
//
// Plain values; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "dataplane/southbound/codec.h"
#include "dataplane/tables/bucket_map.h"
#include "dataplane/tables/types.h"

namespace dr::southbound {

using LineName = std::array<char, 32>;

// Eligible lines by class, bit n: line number n; 0 beyond the policy's classes.
using ClassMasks = std::array<std::uint16_t, kMaxClasses>;

struct PolicyShape {
    PolicyShape() = default;
    // `view` was accepted by decode().
    explicit PolicyShape(const PolicyView& view);

    std::array<LineName, kMaxLines> names{};  // by number; empty: no line has it
    std::vector<Tiers> classes;

    // The number of a line; -1: the policy does not name it. `name` is not empty.
    [[nodiscard]] int number_of(const LineName& name) const;
    // Bits of the lines on which this subscriber has a tunnel.
    [[nodiscard]] std::uint16_t mask_of(const SubscriberView& subscriber) const;
    // The subscriber's lines that may carry traffic: of its tunnels with keys those of `eligible`,
    // and all of its tunnels without.
    [[nodiscard]] ClassMasks usable(const SubscriberView& subscriber,
                                    const ClassMasks& eligible) const;
};

}  // namespace dr::southbound
