// Reads protobuf-JSON, with errors in our own words that name the field. Any thread; no I/O.
#pragma once

#include <google/protobuf/message.h>

#include <optional>
#include <string>

namespace dr {

struct JsonError {
    std::string field;        // "policy.classes[0].maxRttMs"; empty: the whole
    std::string description;  // "70000x is no whole number of 0 or more"
};

// The first mistake; none: `message` holds what the text says. As proto3 JSON has it, a field may
// be lowerCamelCase or as in the .proto, null means absent, and numbers may be strings; of two
// fields of one name the last one counts. Unknown fields are mistakes.
std::optional<JsonError> parse_json(const std::string& text, google::protobuf::Message* message);

// "policy.waitToRestoreS" of "policy.wait_to_restore_s".
std::string as_in_json(const std::string& field);

}  // namespace dr
