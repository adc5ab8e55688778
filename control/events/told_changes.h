// Which committed changes are told of: those that may move traffic of a site that was there.
#pragma once

#include <vector>

#include "control/events/journal.h"
#include "control/model/catalog.h"

namespace dr::control {

// A bulk load tells of the first 100 sites, and of how many more there are.
void tell_changes(Journal& journal, const std::vector<CommittedChange>& changes);

}  // namespace dr::control
