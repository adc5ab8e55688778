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

// Where something stands in an array of limiters. `secret` is the worker's: who does not know it
// cannot choose packets that share the place of somebody else's.
template <std::uint64_t Places>
std::size_t place_of(std::uint64_t what, std::uint64_t secret) {
    static_assert((Places & (Places - 1)) == 0);
    std::uint64_t h = (what ^ secret) * 0x9e3779b97f4a7c15ULL;
    h = (h ^ h >> 32) * 0xbf58476d1ce4e5b9ULL;
    return static_cast<std::size_t>(h >> 40 & (Places - 1));
}

// One limiter for each of many; those whose places fall together share.
template <typename Limiter, std::uint64_t Places = 4'096>
struct LimiterArray {
    std::array<Limiter, Places> at;
    Limiter& of(std::uint64_t what, std::uint64_t secret) {
        return at[place_of<Places>(what, secret)];
    }
};

// Tags of keepalives that are verified for anybody. Each source network, /24 or /48, has a share
// that nobody else can take, and all have together what is over. Long messages (probes) cost more,
// and have no more than their network's share and a smaller rest.
struct CheckLimiter {
    LimiterArray<RateLimiter<100, 32>> by_network;
    RateLimiter<200'000, 4'000> rest;
    RateLimiter<20'000, 400> long_rest;

    bool take(std::uint64_t network, bool is_long, std::uint64_t secret, std::uint64_t now,
              std::uint64_t hz) {
        if (by_network.of(network, secret).take(now, hz)) return true;
        return is_long ? long_rest.take(now, hz) : rest.take(now, hz);
    }
};

// Genuine keepalives that may have been seen and sent again: a few at once for a handshake, then
// one in 5 ms for each of whatever `what` names.
template <std::uint64_t PerSecond>
struct RepeatedLimiter {
    RateLimiter<PerSecond, PerSecond / 10> all;
    LimiterArray<RateLimiter<200, 8>> each;

    bool take(std::uint64_t what, std::uint64_t secret, std::uint64_t now, std::uint64_t hz) {
        auto& one = each.of(what, secret);
        if (!one.has(now, hz) || !all.take(now, hz)) return false;
        one.spend(now, hz);
        return true;
    }
};
// By tunnel: messages that look like its next one, but not from where it is bound to, or not for
// the first time. A roaming UR's first one is among them; somebody who has seen a message makes
// more.
using StrayLimiter = LimiterArray<RateLimiter<50, 16>>;
// By tunnel, salt and source: the first messages of a start, or from a new address, are of a place
// that no message sent before is of.
using StartLimiter = RepeatedLimiter<50'000>;
// By tunnel: messages that were overtaken, or replayed.
using LateLimiter = RepeatedLimiter<20'000>;

// What ICMP errors say of the path MTU. The liveness thread takes one a second of a tunnel.
struct HintLimiter {
    RateLimiter<2'000, 200> all;
    LimiterArray<RateLimiter<1, 2>, 1'024> by_tunnel;

    bool take(std::uint32_t slot, std::uint64_t secret, std::uint64_t now, std::uint64_t hz) {
        auto& one = by_tunnel.of(slot, secret);
        if (!one.has(now, hz) || !all.take(now, hz)) return false;
        one.spend(now, hz);
        return true;
    }
};

}  // namespace dr
