// Limits on ICMP errors and echo replies (RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)): a host that
// provokes many of them leaves everybody else theirs. A worker's own, see rate_limit.h.
#pragma once

#include "dataplane/worker/rate_limit.h"

namespace dr {

// Messages of one kind. `whom`: the subscriber that the
// packet is of, or for; 0: none. `back`: the network or the host that the error goes to.
template <std::uint64_t PerSecond>
struct IcmpKindLimiter {
    RateLimiter<PerSecond, PerSecond / 5> all;
    LimiterArray<RateLimiter<400, 200>, 2'048> by_subscriber;
    LimiterArray<RateLimiter<100, 100>, 2'048> by_source;

    bool take(std::uint32_t whom, std::uint64_t back, std::uint64_t secret, std::uint64_t now,
              std::uint64_t hz) {
        auto& subscriber = by_subscriber.of(whom, secret);
        auto& source = by_source.of(back, secret);
        if (!source.has(now, hz) || !subscriber.has(now, hz) || !all.take(now, hz)) return false;
        source.spend(now, hz);
        if (whom != 0) subscriber.spend(now, hz);
        return true;
    }
};

// A host that provokes errors of one kind takes none of another: without *too big*, connections
// hang.
struct IcmpLimiter {
    IcmpKindLimiter<5'000> too_big;
    IcmpKindLimiter<1'000> time_exceeded;
    IcmpKindLimiter<1'000> unreachable;
    IcmpKindLimiter<1'000> echo;
};

}  // namespace dr
