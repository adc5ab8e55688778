// What urd has put back in the kernel, as events of its log. Somebody who takes the same thing away
// again and again gets one line a minute. One thread.
#pragma once

#include <map>
#include <string>

#include "dataplane/liveness/profile.h"

namespace dr::ur {

class Repairs final {
  public:
    using Time = liveness::Time;

    // `kind` names what was put back, `text` says what was wrong with it. The first of a kind is
    // told at once, further ones within a minute are counted and told together.
    void note(const std::string& kind, const std::string& text);
    // Tells the repairs that have been counted for a minute; `now` by CLOCK_MONOTONIC.
    void tell(Time now);
    // Whether something was put back since the last call.
    bool take();

  private:
    struct Kind {
        std::string text;
        unsigned untold = 0;
        Time told_at = 0;  // 0: never
    };
    std::map<std::string, Kind> kinds_;
    bool any_ = false;
};

}  // namespace dr::ur
