// When silence means something: the two stages of detection, and how they adapt to the path.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "dataplane/liveness/profile.h"

namespace dr::liveness {

struct Detection {
    std::uint32_t detection_us = 0;  // T, adapted; the profile's at least
    // Silences of this path, near the largest of 1000: at the active interval; at a longer one.
    std::array<std::uint32_t, 2> gap_us{};
    Time decayed = 0;  // T's decay is accounted for until then

    struct Limits {
        Time suspect;
        Time down;
    };
    // How long after the newest message a direction is suspect, and down, at an agreed interval.
    // suspect == down: there is no first stage. T begins with suspicion where the interval is
    // longer than the active one: the suspicious end then polls at the active interval, so that few
    // lost messages of a line that stands by are no failure.
    [[nodiscard]] Limits limits(const Profile& profile, const Tuning& tuning,
                                std::uint32_t interval_us) const;

    // A message came `gap` after the one before, in a tunnel that is Up. Only silences at the
    // active interval teach T.
    void arrived(const Profile& profile, const Tuning& tuning, std::uint32_t interval_us, Time gap);
    // A message showed that a down was none. True when T changed.
    bool false_down(const Profile& profile, const Tuning& tuning);
    // T returns toward the profile's by some percent each hour.
    void decay(const Profile& profile, const Tuning& tuning, Time now);
};

}  // namespace dr::liveness
