// When silence means something: the two stages of detection, and how they adapt to the path.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dataplane/liveness/profile.h"

namespace dr::liveness {

struct Detection {
    std::uint32_t detection_us = 0;  // T, adapted; the profile's at least
    std::uint32_t gap_us = 0;        // silences of this path: near the largest of 1000
    Time decayed = 0;                // T's decay is accounted for until then

    struct Limits {
        Time suspect;
        Time down;
    };
    // How long after the newest message a direction is suspect, and down, at an agreed interval.
    // suspect == down: there is no first stage.
    [[nodiscard]] Limits limits(const Profile& profile, const Tuning& tuning,
                                std::uint32_t interval_us) const;

    // A message came `gap` after the one before, in a tunnel that is Up.
    void arrived(const Profile& profile, const Tuning& tuning, Time gap);
    // A message showed that a down was none. True when T changed.
    bool false_down(const Profile& profile, const Tuning& tuning);
    // T returns toward the profile's by some percent each hour.
    void decay(const Profile& profile, const Tuning& tuning, Time now);
};

}  // namespace dr::liveness
