// Which of a line's own addresses a tunnel is sent from. Pure; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ip.h"
#include "dataplane/liveness/profile.h"

namespace dr::ur {

// A global address of a line's device.
struct SourceAddress {
    IpAddress address;
    bool ready{};             // it may be sent from: no duplicate detection under way or failed
    bool deprecated{};        // RFC 4862 §5.5.4
    std::uint32_t valid_s{};  // how long the device has it; UINT32_MAX: for ever
    bool routed{};            // a route leads from it to the remote end over the device
};

// An address that expires within this many seconds is not used any more.
inline constexpr std::uint32_t kExpiresS = 5;

// The addresses that are ready, best first: one that stays (not deprecated, not about to expire)
// and is not of 169.254/16, then one with a route, then the one that the DR last answered
// (`answered`; family 0: none), then the kernel's own choice (`kernel`, RFC 6724; family 0 or
// another device's address: none), then one of the remote end's kind, unique local or not.
std::vector<IpAddress> rank_sources(std::span<const SourceAddress> own, const IpAddress& answered,
                                    const IpAddress& kernel, const IpAddress& remote);
// Which of `count` ranked addresses is tried when none has been answered for so long. The first one
// has most of the time: it is nearly always the right one, and the line or the DR is away. Each of
// the others has a short turn in between.
std::size_t source_turn(std::size_t count, liveness::Time unanswered);
// Whether an address that is in use stays in use: the device has it and will have it, be it under
// duplicate detection again after it was put on again.
bool keeps_source(std::span<const SourceAddress> own, const IpAddress& used);

}  // namespace dr::ur
