// Parses one object of `drcli apply` and explains what is wrong with it.
#include "cli/resource_json.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "cli/fast_json.h"
#include "proto/json.h"

namespace dr::cli {
namespace {

constexpr std::array<const char*, 3> kKinds{"pool", "policy", "subscriber"};

std::string name_in(const nlohmann::ordered_json& object) {
    const auto name = object.is_object() ? object.find("name") : object.end();
    return name != object.end() && name->is_string() ? name->get<std::string>() : std::string();
}

// The kind of an object as `get -o json` prints it, without its kind; empty if it is not one.
std::string bare_kind(const nlohmann::ordered_json& json) {
    if (!json.is_object() || !json.contains("name")) {
        return {};
    }
    const auto has = [&](const char* field) { return json.contains(field); };
    return has("prefixes") || has("tunnels") ? "subscriber"
           : has("classes")                  ? "policy"
           : has("prefix")                   ? "pool"
                                             : "";
}

// An object of two kinds: named by the first, the second is what is wrong with it. Otherwise the
// name of an object that cannot be read.
bool find_second_kind(const nlohmann::ordered_json& json, ParsedResource& parsed) {
    if (!json.is_object()) {
        return false;
    }
    std::string first;
    for (const auto& [kind, value] : json.items()) {
        if (std::find(kKinds.begin(), kKinds.end(), kind) == kKinds.end()) {
            continue;
        }
        if (first.empty()) {
            first = kind;
            parsed.name = kind + "/" + name_in(value);
            continue;
        }
        parsed.violation.set_field(kind);
        parsed.violation.set_description("an object holds one kind: this one has a " + first +
                                         " already");
        return true;
    }
    return false;
}

ParsedResource parse_wrapped(const std::string& text) {
    ParsedResource parsed;
    if (const auto error = parse_json(text, &parsed.resource)) {
        if (!find_second_kind(nlohmann::ordered_json::parse(text, nullptr, false), parsed)) {
            parsed.violation.set_field(error->field);
            parsed.violation.set_description(error->description);
        }
        return parsed;
    }
    parsed.name = resource_name(parsed.resource);
    if (parsed.resource.kind_case() == dr::v1::Resource::KIND_NOT_SET) {
        parsed.violation.set_description("the object must hold a pool, a policy or a subscriber");
    }
    return parsed;
}

}  // namespace

std::string resource_name(const dr::v1::Resource& resource) {
    switch (resource.kind_case()) {
        case dr::v1::Resource::kPool:
            return "pool/" + resource.pool().name();
        case dr::v1::Resource::kPolicy:
            return "policy/" + resource.policy().name();
        case dr::v1::Resource::kSubscriber:
            return "subscriber/" + resource.subscriber().name();
        case dr::v1::Resource::KIND_NOT_SET:
            break;
    }
    return {};
}

ParsedResource parse_resource(const std::string& text) {
    ParsedResource parsed;
    if (read_plain_json(text, parsed.resource) &&
        parsed.resource.kind_case() != dr::v1::Resource::KIND_NOT_SET) {
        parsed.name = resource_name(parsed.resource);
        return parsed;
    }
    const auto kind = bare_kind(nlohmann::ordered_json::parse(text, nullptr, false));
    return parse_wrapped(kind.empty() ? text : "{\"" + kind + "\": " + text + "}");
}

}  // namespace dr::cli
