// Records which buckets of a subscriber are in use while it moves from one set of lines to another,
// so that idle buckets can be moved first (proto/TUNNEL.md §11). At most kMoves subscribers at a
// time have a place here; SubscriberRow::map names it.
//
// Workers stamp only packets of such subscribers, with a millisecond counter that liveness threads
// advance.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace dr {

inline constexpr unsigned kMoves = 64;

struct MoveBoard {
    struct Place {
        // Buckets that have the same line before and after the move, in every class. Set by the
        // writer before a row names the place.
        std::array<std::atomic<std::uint64_t>, 4> settled;
        // Choice::epoch of the move to which `settled` belongs; written after it.
        std::atomic<std::uint16_t> epoch;
    };
    std::array<Place, kMoves> places{};
    // Milliseconds modulo 2^32; 0: not started. Liveness threads advance it, and never set it back.
    alignas(64) std::atomic<std::uint32_t> clock{};

    void turn(std::uint32_t now_ms) {
        const std::uint32_t now = now_ms == 0 ? 1 : now_ms;
        std::uint32_t at = clock.load(std::memory_order_relaxed);
        while (at == 0 || static_cast<std::int32_t>(now - at) > 0) {
            if (clock.compare_exchange_weak(at, now, std::memory_order_relaxed)) return;
        }
    }

    // Milliseconds from `at` to `now`; 0 if `at` was read slightly after `now`.
    static std::uint32_t age(std::uint32_t now, std::uint32_t at) {
        const std::uint32_t age = now - at;
        return static_cast<std::int32_t>(age) < 0 ? 0 : age;
    }
};

// Time (MoveBoard::clock) at which a worker last saw a packet of each bucket. A stamp of the
// place's previous user may survive. Each worker has one row for each place.
struct alignas(64) MoveStamps {
    std::array<std::atomic<std::uint32_t>, 256> at;
};

}  // namespace dr
