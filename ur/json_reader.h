// Reading protobuf-JSON with errors that name the place: every message starts with the JSON path.
//
// As proto3 JSON has it: a field may be lowerCamelCase or as in the .proto; null means absent;
// integers may be strings. Unknown fields are errors. Errors are collected, not thrown, so that
// one run shows them all.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace dr::ur {

// A value for a message: as it is written, but of an array or an object only that it is one, since
// those may be long, and deeper than a stack.
std::string shown(const nlohmann::json& value);

class JsonObject final {
  public:
    // `path`: "" for the root. When `value` is not an object, that is reported and all is absent.
    JsonObject(const nlohmann::json& value, std::string path, std::vector<std::string>& errors);

    // Path of a field, for messages.
    [[nodiscard]] std::string at(const std::string& name) const;
    // The value, null when absent.
    const nlohmann::json* find(const std::string& name);
    // Empty when absent or wrong.
    std::string text(const std::string& name);
    // 0 when absent or wrong.
    std::uint64_t number(const std::string& name, std::uint64_t max);
    // false when absent or wrong.
    bool truth(const std::string& name);
    // Elements with their paths; none when absent or wrong.
    std::vector<std::pair<const nlohmann::json*, std::string>> list(const std::string& name);

    void error(const std::string& name, const std::string& message);
    // Reports fields that nothing asked for. Call when all known ones have been.
    void finish();

  private:
    const nlohmann::json& value_;
    std::string path_;
    std::vector<std::string>& errors_;
    std::set<std::string> known_;
};

}  // namespace dr::ur
