// What protobuf says of a JSON text, in our own words.
#include "proto/json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <string_view>

namespace dr {

namespace {

constexpr std::string_view kUnknownField = "Cannot find field.";

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
JsonError error_from(std::string_view message) {
    JsonError error;
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
    error.field = as_in_json(field);
    error.description = rest == kUnknownField ? "unknown field" : in_own_words(rest);
    if (error.description.empty()) {
        error.description = "not valid JSON";
    }
    return error;
}

}  // namespace

std::string as_in_json(const std::string& field) {
    std::string out;
    for (std::size_t i = 0; i < field.size(); ++i) {
        const bool joint =
            field[i] == '_' && i + 1 < field.size() && field[i + 1] >= 'a' && field[i + 1] <= 'z';
        out += joint ? static_cast<char>(field[++i] - 'a' + 'A') : field[i];
    }
    return out;
}

std::optional<JsonError> parse_json(const std::string& text, google::protobuf::Message* message) {
    const auto status = google::protobuf::util::JsonStringToMessage(text, message);
    if (status.ok()) {
        return std::nullopt;
    }
    return error_from({status.message().data(), status.message().size()});
}

}  // namespace dr
