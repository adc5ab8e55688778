// Does a receive queue of an AF_XDP port live? From what its rings and counters show over time;
// knows no socket and no clock.
//
// A burst may empty the fill ring for a moment, an idle queue moves nothing, and a sender of
// overlong packets makes the kernel drop: none of these is a fault. What is, lasts.
//
// Thread: main.
#pragma once

#include <cstdint>
#include <optional>

#include "dataplane/ports/xsk_rings.h"
#include "dataplane/southbound/counters.h"

namespace dr {

class QueueJudge final {
  public:
    // How long the same must be seen before it is a fault, ms.
    static constexpr std::uint64_t kDryMs = 1'000;
    static constexpr std::uint64_t kDeafMs = 2'000;
    static constexpr std::uint64_t kStuckMs = 2'000;

    // arrived: packets that the steering program had for this queue. running: the interface is up
    // with carrier, so what is to be sent can leave. None: nothing is wrong, or not for long.
    southbound::Fault look(std::uint64_t now_ms, const XskRings::Sample& sample,
                           std::uint64_t arrived, bool zero_copy, bool running);
    // That the kernel dropped between the last two looks, for any reason.
    [[nodiscard]] std::uint64_t missed() const { return missed_; }
    // A packet waits to be sent for a while: the kernel may only need to be asked again.
    [[nodiscard]] bool wants_kick() const { return tx_since_.has_value(); }
    // As if nothing had been seen so far: the process itself was stopped, or the device is new.
    void forget() { *this = {}; }

  private:
    using Since = std::optional<std::uint64_t>;
    static bool lasts(Since& since, bool holds, std::uint64_t now_ms, std::uint64_t limit_ms);

    bool seen_ = false;
    XskRings::Sample before_;
    // Arrived since something was received, less what was dropped for a reason of its own. Below 0
    // for a moment where a drop was seen before the arrival.
    std::int64_t lost_ = 0;
    std::uint64_t arrived_ = 0;
    std::uint64_t missed_ = 0;
    Since dry_since_, deaf_since_, unread_since_, tx_since_;
};

}  // namespace dr
