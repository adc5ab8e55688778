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
        // Choice::epoch of the move that `settled` is of; after it.
        std::atomic<std::uint16_t> epoch;
    };
    std::array<Place, kMoves> places{};
    // Milliseconds modulo 2^32; 0: not turned yet. Liveness threads, forwards only: to one that
    // comes late it has been turned already.
    alignas(64) std::atomic<std::uint32_t> clock{};

    void turn(std::uint32_t now_ms) {
        const std::uint32_t now = now_ms == 0 ? 1 : now_ms;
        std::uint32_t at = clock.load(std::memory_order_relaxed);
        while (at == 0 || static_cast<std::int32_t>(now - at) > 0) {
            if (clock.compare_exchange_weak(at, now, std::memory_order_relaxed)) return;
        }
    }

    // Since `at`, by a clock that read `now` before, or a little after, `at` was taken from it.
    static std::uint32_t age(std::uint32_t now, std::uint32_t at) {
        const std::uint32_t age = now - at;
        return static_cast<std::int32_t>(age) < 0 ? 0 : age;
    }
};

// When a worker met a bucket of a place last, by MoveBoard::clock; whoever had the place before may
// have left its own. One worker's row for each place.
struct alignas(64) MoveStamps {
    std::array<std::atomic<std::uint32_t>, 256> at;
};

}  // namespace dr
