// Whether what goes out in another guise than keepalives passes towards the peer: a trial of probes
// in that guise. No clock, no I/O.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dataplane/liveness/profile.h"

namespace dr::liveness {

struct Passage {
    // So many probes must be acknowledged before one more than so many is not. A path that loses
    // one packet in ten passes.
    static constexpr unsigned kProbes = 4;
    static constexpr unsigned kMayBeLost = 2;
    static constexpr Time kLongestHold = 3600 * kSecond;

    Time next;            // probe, or the start of a trial
    Time hold;            // before the trial after the next failure: twice this; 0: the first
    std::uint64_t token;  // of the probe under way; 0: none
    std::uint8_t passed, lost;

    // Nothing is under way any more.
    void stop() {
        passed = lost = 0;
        token = 0;
    }

    // When `next` has come. False: the probe under way was one too many that got no answer, and the
    // trial rests. True: a probe with this token goes out, and has `gap` to be acknowledged.
    bool probe(Time now, Time gap, std::uint64_t new_token, Time first_hold) {
        if (token != 0 && ++lost > kMayBeLost) {
            rest(now, first_hold);
            return false;
        }
        token = new_token;
        next = now + gap;
        return true;
    }

    // True: it was the last one that was needed.
    bool answered(Time now, std::uint64_t which) {
        if (token == 0 || which != token) return false;
        token = 0;
        next = now;
        if (++passed < kProbes) return false;
        stop();
        return true;
    }

    // The next trial begins after `first`, twice as long each time.
    void rest(Time now, Time first) {
        hold = std::min(std::max(2 * hold, first), kLongestHold);
        next = now + hold;
        stop();
    }
};

}  // namespace dr::liveness
