// Parses one object of `drcli apply` and explains what is wrong with it.
#include "cli/resource_json.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <string_view>

#include "cli/fast_json.h"

namespace dr::cli {
namespace {

using google::protobuf::util::JsonParseOptions;
using google::protobuf::util::JsonStringToMessage;

constexpr std::string_view kUnknownField = "Cannot find field.";

// "policy.waitToRestoreS" of "policy.wait_to_restore_s".
std::string as_in_file(const std::string& field) {
    std::string out;
    for (std::size_t i = 0; i < field.size(); ++i) {
        const bool joint =
            field[i] == '_' && i + 1 < field.size() && field[i + 1] >= 'a' && field[i + 1] <= 'z';
        out += joint ? static_cast<char>(field[++i] - 'a' + 'A') : field[i];
    }
    return out;
}

std::string names_of(const google::protobuf::EnumDescriptor& type) {
    std::string names;
    for (int i = 0; i < type.value_count(); ++i) {
        if (type.value(i)->number() != 0) {
            names += (names.empty() ? "" : ", ") + type.value(i)->name();
        }
    }
    return names;
}

// The library says "invalid value X for type Y", with Y of protobuf.
std::string in_own_words(std::string_view text) {
    constexpr std::string_view kBegin = "invalid value ";
    constexpr std::string_view kType = " for type ";
    const auto at = text.rfind(kType);
    if (!text.starts_with(kBegin) || at == std::string_view::npos) {
        return std::string(text);
    }
    const std::string value(text.substr(kBegin.size(), at - kBegin.size()));
    const std::string type(text.substr(at + kType.size()));
    const auto slash = type.rfind('/');
    const auto* listed = google::protobuf::DescriptorPool::generated_pool()->FindEnumTypeByName(
        slash == std::string::npos ? type : type.substr(slash + 1));
    if (listed != nullptr) {
        return value + " is none of " + names_of(*listed);
    }
    if (type == "TYPE_BOOL") {
        return value + " is neither true nor false";
    }
    if (type == "TYPE_STRING") {
        return value + " is no text in quotes";
    }
    if (type.starts_with("TYPE_UINT")) {
        return value + " is no whole number of 0 or more";
    }
    return type.starts_with("TYPE_INT") ? value + " is no whole number" : value + " is not valid";
}

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
    violation.set_field(as_in_file(field));
    violation.set_description(rest == kUnknownField ? "unknown field" : in_own_words(rest));
    if (violation.description().empty()) {
        violation.set_description("not valid JSON");
    }
    return violation;
}

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
    const auto status = JsonStringToMessage(text, &parsed.resource, JsonParseOptions{});
    if (!status.ok()) {
        if (!find_second_kind(nlohmann::ordered_json::parse(text, nullptr, false), parsed)) {
            parsed.violation = violation_from({status.message().data(), status.message().size()});
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
