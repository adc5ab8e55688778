// Whether packets in another guise than keepalives pass towards the peer: a trial by probes in that
// guise. The guises: native GRE, the flows' source ports, UDP checksums of 0. No clock, no I/O.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dataplane/liveness/profile.h"

namespace dr::liveness {

struct Passage {
    struct Rules {
        unsigned probes;       // that must be acknowledged
        unsigned may_be_lost;  // one more ends the trial
        Time first_hold;       // before the next trial, after the first that failed
        bool spaced;           // the next probe waits for its time, also after an answer
    };
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
    bool probe(Time now, Time gap, std::uint64_t new_token, const Rules& rules) {
        if (token != 0 && ++lost > rules.may_be_lost) {
            rest(now, rules.first_hold);
            return false;
        }
        token = new_token;
        next = now + gap;
        return true;
    }

    // True: it was the last one that was needed.
    bool answered(Time now, std::uint64_t which, const Rules& rules) {
        if (token == 0 || which != token) return false;
        token = 0;
        if (!rules.spaced) next = now;
        if (++passed < rules.probes) return false;
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
