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
    if (type == "TYPE_UINT32") {
        return value + " is no whole number of 0 to 4294967295";
    }
    if (type.starts_with("TYPE_UINT")) {
        return value + " is no whole number of 0 or more";
    }
    return type.starts_with("TYPE_INT") ? value + " is no whole number" : value + " is not valid";
}

void append(std::string& field, std::string_view name) {
    name.remove_prefix(std::min(name.find_first_not_of(' '), name.size()));
    if (!name.empty()) field.append(field.empty() ? "" : ".").append(name);
}

// Of a syntax error, for which the library shows 20 bytes to both sides on a line of its own and a
// mark under the byte: its line and column, in bytes. Empty: there is no excerpt, or it stands in
// the text more than once.
std::string syntax_error_place(std::string_view text, std::string_view message) {
    const auto first = message.find('\n');
    const auto last = message.rfind('\n');
    if (first == last) return {};
    const auto excerpt = message.substr(first + 1, last - first - 1);
    if (excerpt.empty()) return "at the end";
    const auto found = text.find(excerpt);
    if (found == std::string_view::npos || text.find(excerpt, found + 1) != std::string_view::npos)
        return {};
    const auto before = text.substr(0, found + (message.size() - last - 2));
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    const auto column = before.size() - (before.rfind('\n') + 1) + 1;
    return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

// The library says "(subscriber.tunnels[0]) remote_port: Cannot find field." or
// "(pool.announce): invalid value ..."; syntax errors come with an excerpt on lines of their own.
JsonError error_from(std::string_view text, std::string_view message) {
    JsonError error;
    std::string_view rest = message.substr(0, message.find('\n'));
    if (rest.starts_with("Message too deep")) return {"", "is nested too deep"};
    if (rest.starts_with("Root element")) return {"", "is no object"};
    std::string field;
    if (rest.starts_with("(")) {
        const auto end = rest.find(')');
        field = rest.substr(1, end - 1);
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    constexpr std::string_view kObject = ": invalid value Starting an object";
    constexpr std::string_view kForField = " for type ";
    if (rest.starts_with(kObject)) {
        const auto at = rest.rfind(kForField);
        if (at != std::string_view::npos) append(field, rest.substr(at + kForField.size()));
        return {as_in_json(field), "is an object; must be one value"};
    }
    // The name of an unknown field is whatever stands in the text.
    const auto colon = rest.ends_with(kUnknownField) && rest.size() > kUnknownField.size() + 2
                           ? rest.size() - kUnknownField.size() - 2
                           : rest.find(": ");
    if (colon != std::string_view::npos) {
        append(field, rest.substr(0, colon));
        rest.remove_prefix(colon + 2);
    }
    error.field = as_in_json(field);
    error.description = rest == kUnknownField ? "unknown field"
                        : rest.starts_with("Proto field is not repeating")
                            ? "is a list; must be one value"
                            : in_own_words(rest);
    if (error.description.empty()) error.description = "not valid JSON";
    const std::string place = syntax_error_place(text, message);
    if (!place.empty()) error.description += " (" + place + ")";
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
    return error_from(text, {status.message().data(), status.message().size()});
}

}  // namespace dr
