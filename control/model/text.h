// Text that somebody else has chosen, as it may stand in messages, in logs and on terminals.
#pragma once

#include <string>
#include <string_view>

namespace dr::control {

inline constexpr std::size_t kShownBytes = 64;

// The text with '?' for control characters, and for bytes that are no UTF-8; of one of more than
// `most` bytes the beginning and "…". What it costs does not depend on how long the text is.
std::string shown(std::string_view text, std::size_t most = kShownBytes);

}  // namespace dr::control
