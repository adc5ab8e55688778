// Judges whether a receive queue of an AF_XDP port works, from samples of its rings and counters
// over time. Uses no socket and no clock.
//
// A burst may empty the fill ring for a moment, an idle queue moves nothing, and a sender of
// overlong packets makes the kernel drop: none of these is a fault. A fault lasts.
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
    // How long a symptom must last before it is a fault, ms.
    static constexpr std::uint64_t kDryMs = 1'000;
    static constexpr std::uint64_t kDeafMs = 2'000;
    static constexpr std::uint64_t kStuckMs = 2'000;

    // arrived: packets that the steering program had for this queue. running: the interface is up
    // with carrier, so packets can leave. None: nothing is wrong, or not for long enough.
    southbound::Fault look(std::uint64_t now_ms, const XskRings::Sample& sample,
                           std::uint64_t arrived, bool zero_copy, bool running);
    // That the kernel dropped between the last two looks, for any reason.
    [[nodiscard]] std::uint64_t missed() const { return missed_; }
    // A packet has waited to be sent for a while: asking the kernel again may suffice.
    [[nodiscard]] bool wants_kick() const { return tx_since_.has_value(); }
    // Starts over: the process itself was stopped, or the device is new.
    void forget() { *this = {}; }

  private:
    using Since = std::optional<std::uint64_t>;
    static bool lasts(Since& since, bool holds, std::uint64_t now_ms, std::uint64_t limit_ms);

    bool seen_ = false;
    XskRings::Sample before_;
    // Packets that arrived since the last one was received, less those dropped for other reasons.
    // Briefly below 0 when a drop was counted before its arrival.
    std::int64_t lost_ = 0;
    std::uint64_t arrived_ = 0;
    std::uint64_t missed_ = 0;
    Since dry_since_, deaf_since_, unread_since_, tx_since_;
};

}  // namespace dr
