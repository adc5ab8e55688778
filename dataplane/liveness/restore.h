// Return of a line that was in trouble: wait-to-restore (ITU-T G.808.1) that restarts on trouble
// and grows with flaps, and damping (RFC 2439 §4).
#pragma once

#include <cstdint>

#include "dataplane/liveness/profile.h"

namespace dr::liveness {

struct Restore {
    float penalty = 0;        // at penalty_at
    std::uint32_t flaps = 0;  // since the tunnel was added
    Time penalty_at = 0;
    Time suppressed_since = 0;  // kNever: not suppressed
    Time flap_at = 0;           // the latest
    std::uint32_t wait_us = 0;  // wait-to-restore as of flap_at; 0: never flapped
    bool pending = false;       // not back yet
    bool was_pending = false;   // before the latest flap
    Time clean_since = 0;       // Up and without suspicion since

    Restore() { suppressed_since = kNever; }

    // A down or a degradation that counts.
    void flap(const Tuning& tuning, std::uint32_t base_us, Time now);
    // The last flap has found its cause, and the cause is gone: as if it had not been.
    void forgive(const Tuning& tuning, Time now);
    // The wait that a line has to do now: grown by flaps, shrinking linearly to `base_us` over an
    // hour without one.
    [[nodiscard]] std::uint32_t wait(const Tuning& tuning, std::uint32_t base_us, Time now) const;
    // When the line is back, if all stays well; kNever: not by itself. 0: not pending.
    [[nodiscard]] Time due(const Tuning& tuning, std::uint32_t base_us, Time now) const;

    [[nodiscard]] float penalty_now(const Tuning& tuning, Time now) const;
    // Looks at the damping state; true while suppressed.
    bool update_damping(const Tuning& tuning, Time now);
    // When update_damping() may find something new; kNever: not by itself.
    [[nodiscard]] Time damping_ends(const Tuning& tuning, Time now) const;
};

}  // namespace dr::liveness
