// The protobuf-JSON of dr.v1.Resource, unknown fields being errors.
#pragma once

#include <string>

#include "dr/v1/api.pb.h"

namespace dr::cli {

struct ParsedResource {
    dr::v1::Resource resource;
    // "subscriber/site-42", as far as the text shows it, also with an error.
    std::string name;
    // Which field and why. Description empty: parsed.
    dr::v1::FieldViolation violation;

    [[nodiscard]] bool ok() const { return violation.description().empty(); }
};

// An object as `get -o json` prints it, without {"subscriber": ...} around it, is read as well.
[[nodiscard]] ParsedResource parse_resource(const std::string& text);

// "pool/tokyo-v4"; empty for a resource without a kind.
[[nodiscard]] std::string resource_name(const dr::v1::Resource& resource);

}  // namespace dr::cli
