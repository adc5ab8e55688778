// Texts for people about the liveness of a tunnel.
#pragma once

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "dr/v1/api.pb.h"

namespace dr::cli {

// "0.85ms", "12.3ms", "120ms"; "-" for 0.
[[nodiscard]] std::string rtt_text(std::uint32_t us);
// "0%", "0.3%", "12%"; "-" when not known.
[[nodiscard]] std::string loss_text(bool known, std::uint32_t permille);
// A duration: "0s", "59s", "5m07s", "3h02m", "12d4h".
[[nodiscard]] std::string age_text(std::chrono::milliseconds age);
// Local time: "2026-11-23 09:15:44.123".
[[nodiscard]] std::string time_text(const google::protobuf::Timestamp& time);

// The window of the last 10 s; an empty one if there is none.
[[nodiscard]] const dr::v1::LivenessWindow& recent(const dr::v1::TunnelLiveness& liveness);

// In a few words, never empty: why it is not up; or whether it carries traffic, or why it may not,
// what is wrong with it, and when it is used again.
[[nodiscard]] std::string why_text(const dr::v1::TunnelStatus& status);

// Everything, for key_values().
[[nodiscard]] std::vector<std::pair<std::string, std::string>> liveness_entries(
    const dr::v1::TunnelLiveness& liveness);

}  // namespace dr::cli
