// The one JSON writer: protobuf messages in protobuf-JSON's names, 64-bit integers as numbers.
#pragma once

#include <google/protobuf/message.h>

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace dr::cli {

using Json = nlohmann::ordered_json;

// lowerCamelCase names, enum values by name, fields without presence are always written (so a
// script finds `"count": 0`), absent optional fields and messages left out, times as
// "2026-11-23T00:15:44.123Z". Where protobuf-JSON writes 64-bit integers as strings this writes
// numbers, which every protobuf-JSON reader accepts, and with which jq can compare.
[[nodiscard]] Json to_json(const google::protobuf::Message& message);

// One line, with the newline.
void write_line(std::FILE* out, const Json& json);
// Indented by two, with the newline.
void write_pretty(std::FILE* out, const Json& json);

// A JSON array of any length, one element a line, written as the elements come.
class JsonArrayWriter {
  public:
    explicit JsonArrayWriter(std::FILE* out) : out_(out) {}
    void add(const Json& element);
    void end();

  private:
    std::FILE* out_;
    bool empty_ = true;
};

}  // namespace dr::cli
