#include "cli/resource_json.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/fast_json.h"

namespace dr::cli {
namespace {

using google::protobuf::util::JsonParseOptions;
using google::protobuf::util::JsonStringToMessage;

constexpr std::string_view kUnknownField = "Cannot find field.";

// The library says "(subscriber.tunnels[0]) remote_port: Cannot find field." or
// "(pool.announce): invalid value ..."; syntax errors come with an excerpt on lines of their own.
dr::v1::FieldViolation violation_from(std::string_view message) {
    dr::v1::FieldViolation violation;
    std::string_view rest = message.substr(0, message.find('\n'));
    std::string field;
    if (rest.starts_with("(")) {
        const auto end = rest.find(')');
        field = rest.substr(1, end - 1);
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    const auto colon = rest.find(": ");
    if (colon != std::string_view::npos) {
        auto last = rest.substr(0, colon);
        last.remove_prefix(std::min(last.find_first_not_of(' '), last.size()));
        if (!last.empty()) {
            if (!field.empty()) {
                field += '.';
            }
            field += last;
        }
        rest.remove_prefix(colon + 2);
    }
    violation.set_field(field);
    violation.set_description(rest == kUnknownField ? "unknown field" : std::string(rest));
    if (violation.description().empty()) {
        violation.set_description("not valid JSON");
    }
    return violation;
}

// An object of two kinds: named by the first, the second is what is wrong with it.
bool find_second_kind(const std::string& text, ParsedResource& parsed) {
    const auto json = nlohmann::ordered_json::parse(text, nullptr, false);
    if (!json.is_object()) {
        return false;
    }
    std::string first;
    for (const auto& [kind, value] : json.items()) {
        if (kind != "pool" && kind != "policy" && kind != "subscriber") {
            continue;
        }
        if (first.empty()) {
            first = kind;
            const auto name = value.is_object() ? value.find("name") : value.end();
            const bool named = name != value.end() && name->is_string();
            parsed.name = kind + "/" + (named ? name->get<std::string>() : std::string());
            continue;
        }
        parsed.violation.set_field(kind);
        parsed.violation.set_description("an object holds one kind: this one has a " + first +
                                         " already");
        return true;
    }
    return false;
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
    parsed.resource.Clear();
    const auto status = JsonStringToMessage(text, &parsed.resource, JsonParseOptions{});
    if (!status.ok() && find_second_kind(text, parsed)) {
        return parsed;
    }
    if (!status.ok()) {
        parsed.violation = violation_from({status.message().data(), status.message().size()});
        JsonParseOptions lenient;
        lenient.ignore_unknown_fields = true;
        dr::v1::Resource again;
        // Whether it succeeds or not: the name may have been read.
        (void)JsonStringToMessage(text, &again, lenient);
        parsed.name = resource_name(again);
        return parsed;
    }
    parsed.name = resource_name(parsed.resource);
    if (parsed.resource.kind_case() == dr::v1::Resource::KIND_NOT_SET) {
        parsed.violation.set_description("the object must hold a pool, a policy or a subscriber");
    }
    return parsed;
}

}  // namespace dr::cli
