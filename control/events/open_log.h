// Opens the event log, whatever state its file is in.
#pragma once

#include <memory>
#include <string>

#include "control/events/event_log.h"

namespace dr::control {

// A file that is damaged is set aside as PATH.damaged, in place of one that was, and a new one is
// made: nothing else waits for the log. Throws StoreError.
std::unique_ptr<EventLog> open_event_log(const std::string& path, EventLog::Bounds bounds);

}  // namespace dr::control
