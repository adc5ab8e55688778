// Events of the liveness engine as lines of the log.
#pragma once

#include <string>

#include "dataplane/liveness/engine.h"

namespace dr::ur {

// `event=state line=a from=up to=down cause="this end's link is down"`: words of key=value, those
// that say something of this kind of event. `line` empty: of the whole site.
std::string event_line(const liveness::Event& event, const std::string& line);

}  // namespace dr::ur
