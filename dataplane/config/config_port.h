// The "ports" part of the configuration file.
#pragma once

#include <nlohmann/json.hpp>

#include "dataplane/config/config.h"
#include "dataplane/config/config_reader.h"

namespace dr {

// path: "ports[0]". What is wrong goes to `errors`.
PortConfig read_port(const nlohmann::json& value, const std::string& path, Errors& errors);

// "02:00:00:00:00:01". false and nothing written when malformed.
bool parse_mac(const std::string& text, wire::Mac* out);

}  // namespace dr
