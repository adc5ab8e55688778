// Impairments and NATs as the JSON of the control socket. README.md of this folder describes it.
#pragma once

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "tests/linkem/impair.h"
#include "tests/linkem/nat.h"

namespace dr::linkem {

// What was wrong, where, and what would be right.
class SettingsError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// `old` with the members of `json` in place of its own; null sets a member back. Reads the file of
// a delay trace. Throws SettingsError, which names the member.
Impairments merge(const Impairments& old, const nlohmann::json& json);

// The members that are not at their defaults, as merge() takes them. A trace shows its length.
nlohmann::json to_json(const Impairments& impairments);

NatSettings nat_settings(const nlohmann::json& json);
nlohmann::json to_json(const Nat& nat);

// Throws when `json` is no object or has a member that is not among `names`.
void only_members(const nlohmann::json& json, const std::string& where,
                  std::initializer_list<const char*> names);

}  // namespace dr::linkem
