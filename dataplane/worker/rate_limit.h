// Limits on what a worker does because of packets that anybody may send. Times are of the TSC; a
// worker's own, so without atomics, and without a division by what only the machine knows.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

namespace dr {

// AtOnce in a row, then PerSecond: GCRA (ITU-T I.371), which is a token bucket that keeps one time.
template <std::uint64_t PerSecond, std::uint64_t AtOnce>
struct RateLimiter {
    static constexpr std::uint64_t kPerSecond = PerSecond;
    static constexpr std::uint64_t kAtOnce = AtOnce;
    std::uint64_t whole_at = 0;  // when the allowance was, or will be, whole again

    [[nodiscard]] bool has(std::uint64_t now, std::uint64_t hz) const {
        return whole_at <= now + hz / PerSecond * (AtOnce - 1);
    }
    void spend(std::uint64_t now, std::uint64_t hz) {
        whole_at = std::max(whole_at, now) + hz / PerSecond;
    }
    bool take(std::uint64_t now, std::uint64_t hz) {
        if (!has(now, hz)) return false;
        spend(now, hz);
        return true;
    }
};

// ICMP errors (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)).
using IcmpLimiter = RateLimiter<1000, 100>;
// Of keepalives that look genuine beyond their tunnel's pace. Who has seen one message can make
// such, without the key, and must not so take the tunnel's own messages' place: the engine tells
// them apart, which costs it little, up to this.
using GenuineLimiter = RateLimiter<50'000, 256>;

// Limits keepalives that anybody could have sent: a few at once for a handshake, then one in 5 ms
// for each tunnel, and 20,000 a second on this worker. Slots that fall together share an allowance.
struct KeepaliveLimiter {
    static constexpr std::uint32_t kSlots = 4'096;
    RateLimiter<20'000, 2'000> all;
    std::array<RateLimiter<200, 8>, kSlots> by_slot;

    bool take(std::uint32_t slot, std::uint64_t now, std::uint64_t hz) {
        if (!all.has(now, hz) || !by_slot[slot % kSlots].take(now, hz)) return false;
        all.spend(now, hz);
        return true;
    }
};

}  // namespace dr
