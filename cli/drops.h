// Dropped packets: the latest of a reason, and how many of a tunnel.
#pragma once

#include <cstdint>
#include <string>

#include "cli/context.h"
#include "dr/v1/api.pb.h"

namespace dr::cli {

// Lists the latest `limit` packets (0: 16) that were dropped for this reason; the name may be given
// without its "drop.".
int list_drops(Context& context, const std::string& exit, std::uint32_t limit);

// "1200 packets: drop.encap_mismatch 1199, drop.ecn 1".
[[nodiscard]] std::string drops_text(const dr::v1::TunnelStatus& status);

}  // namespace dr::cli
