// The format of an object in a file for `drcli apply`: its fields and an example.
#pragma once

#include <string>

namespace dr::cli {

// Of "pool", "policy" or "subscriber"; of all with "".
[[nodiscard]] std::string object_help(const std::string& kind);

}  // namespace dr::cli
