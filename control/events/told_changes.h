// Finds the committed changes that become events: those that may move traffic of an existing site.
#pragma once

#include <vector>

#include "control/events/journal.h"
#include "control/model/catalog.h"

namespace dr::control {

// For a bulk load it logs the first 100 sites, and the number of the others.
void tell_changes(Journal& journal, const std::vector<CommittedChange>& changes);

}  // namespace dr::control
