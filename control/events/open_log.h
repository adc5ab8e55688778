// Opens the event log, also if its file is damaged.
#pragma once

#include <memory>
#include <string>

#include "control/events/event_log.h"

namespace dr::control {

// A damaged file is renamed to PATH.damaged, which replaces an earlier one, and a new file is
// created: nothing else waits for the log. Throws StoreError.
std::unique_ptr<EventLog> open_event_log(const std::string& path, EventLog::Bounds bounds);

}  // namespace dr::control
