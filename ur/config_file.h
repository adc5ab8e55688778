// The configuration of a site as a file: the protobuf-JSON of dr.v1.UserRouterConfig
// (proto/dr/v1/api.proto) as `drcli subscriber ur-config NAME` writes it.
//
// As proto3 JSON has it: a field may be lowerCamelCase or as in the .proto, null means absent,
// numbers may be strings; of a field that stands twice the last value counts, lists are joined.
// UTF-8, with a byte order mark or without. Any thread; no I/O.
#pragma once

#include <string>

#include "ur/config.h"

namespace dr::ur {

// Throws ConfigError: all that is wrong, or, where it is no such message, the first such mistake.
Config parse_config(const std::string& text);

}  // namespace dr::ur
