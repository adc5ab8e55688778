// A tunnel as a row of a table.
#pragma once

#include <string>
#include <vector>

#include "cli/table.h"
#include "dr/v1/api.pb.h"

namespace dr::cli {

// State and quality.
[[nodiscard]] std::vector<Column> liveness_columns();
[[nodiscard]] std::vector<std::string> liveness_row(const dr::v1::TunnelStatus& status);
// Addresses and counters.
[[nodiscard]] std::vector<Column> counter_columns();
[[nodiscard]] std::vector<std::string> counter_row(const dr::v1::TunnelStatus& status);

}  // namespace dr::cli
