// Asks drd for the state of a site's credentials.
#pragma once

#include <optional>
#include <string>

#include "cli/context.h"
#include "dr/v1/api.pb.h"

namespace dr::cli {

// Nothing when there is no such subscriber, or drd cannot say.
[[nodiscard]] std::optional<dr::v1::SubscriberCredentials> credentials_of(
    Context& context, const std::string& subscriber);

// "2 accepted, in use", "none: all were revoked at 2026-11-30 14:00:00.000; drcli subscriber enroll
// NAME gives new ones", "none issued".
[[nodiscard]] std::string credentials_text(const dr::v1::SubscriberCredentials& credentials);

}  // namespace dr::cli
