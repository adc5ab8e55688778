// Which buckets of a subscriber that is moved from one set of lines to another are in use, so that
// the idle ones can be moved first (proto/TUNNEL.md §11). At most kMoves subscribers at a time have
// a place here; SubscriberRow::map names it.
//
// Workers stamp only packets of such subscribers, with a clock that liveness threads turn: all of
// it is one millisecond counter, whatever clock that follows.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace dr {

inline constexpr unsigned kMoves = 64;

struct MoveBoard {
    struct Place {
        // Buckets that go to the same line before and after, in every class; the writer, before the
        // place is named anywhere.
        std::array<std::atomic<std::uint64_t>, 4> settled;
    };
    std::array<Place, kMoves> places{};
    // Milliseconds, never 0; liveness threads, forwards only.
    alignas(64) std::atomic<std::uint32_t> clock{1};

    void turn(std::uint32_t now_ms) {
        if (clock.load(std::memory_order_relaxed) != now_ms)
            clock.store(now_ms == 0 ? 1 : now_ms, std::memory_order_relaxed);
    }
};

// When a worker met a bucket of a place last, by MoveBoard::clock; whoever had the place before may
// have left its own. One worker's row for each place.
struct alignas(64) MoveStamps {
    std::array<std::atomic<std::uint32_t>, 256> at;
};

}  // namespace dr
