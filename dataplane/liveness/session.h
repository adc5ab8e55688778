// The session's state machine and timer negotiation (RFC 5880 §6.2, §6.8), as pure functions.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dataplane/liveness/engine.h"

namespace dr::liveness {

// The state after a keepalive that says `received` (RFC 5880 §6.8.6).
constexpr State next_state(State own, State received) {
    if (own == State::AdminDown) return own;
    if (received == State::AdminDown) return State::Down;
    switch (own) {
        case State::Down:
            if (received == State::Down) return State::Init;
            return received == State::Init ? State::Up : State::Down;
        case State::Init:
            return received == State::Down ? State::Init : State::Up;
        default:
            return received == State::Down ? State::Down : State::Up;
    }
}

// What one end wants and what it has been told, microseconds.
struct Intervals {
    std::uint32_t desired_tx = 0;    // in effect
    std::uint32_t required_rx = 0;   // in effect
    std::uint32_t wanted = 0;        // both, announced; not in effect where that waits for a Final
    std::uint32_t peer_desired = 0;  // as last received
    std::uint32_t peer_required = 0;
    std::uint32_t sent_at = 0;    // tx time of the newest keepalive that was sent
    std::uint32_t wished_at = 0;  // ... when `wanted` changed: later ones announce it
    bool polling = false;

    [[nodiscard]] std::uint32_t tx() const { return std::max(desired_tx, peer_required); }
    [[nodiscard]] std::uint32_t rx() const { return std::max(required_rx, peer_desired); }

    // A new wish. Sending faster and expecting less take effect at once; sending slower and
    // expecting more only when the peer has confirmed that it knows (RFC 5880 §6.8.3).
    void want(std::uint32_t interval, bool up) {
        if (!up) {
            wanted = desired_tx = required_rx = interval;
            polling = false;
            return;
        }
        if (interval == wanted) return;
        wanted = interval;
        wished_at = sent_at;
        polling = true;
        desired_tx = std::min(desired_tx, interval);
        required_rx = std::max(required_rx, interval);
    }
    // A Final that echoes the keepalive sent at `echo`. One that was on its way when the wish
    // changed confirms the wish before: the peer does not know this one.
    void final_received(std::uint32_t echo) {
        if (!polling || static_cast<std::int32_t>(echo - wished_at) <= 0) return;
        polling = false;
        desired_tx = required_rx = wanted;
    }
};

// The interval before the next message: 75-100 % of it, 75-90 % when the peer gives up after one
// (RFC 5880 §6.8.7). `random`: 16 random bits.
constexpr Time jittered(std::uint32_t interval_us, std::uint8_t multiplier, std::uint16_t random) {
    const Time span = multiplier == 1 ? 15 : 25;
    const Time base = Time{interval_us} * 75 / 100;
    return (base + Time{interval_us} * span * random / (100 * 65535ULL)) * kMicrosecond;
}

}  // namespace dr::liveness
