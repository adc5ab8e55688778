#include "dataplane/config/config_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/join.h"
#include "base/printable.h"

namespace dr {

using nlohmann::json;

ObjectReader::ObjectReader(const json& value, std::string path, Errors& errors)
    : value_(value), path_(std::move(path)), errors_(errors) {
    if (!value_.is_object())
        errors_.push_back(fmt::format("{}: must be an object, not {}",
                                      path_.empty() ? "the file" : path_, value_.type_name()));
}

std::string ObjectReader::path_of(const char* key) const {
    return path_.empty() ? key : path_ + "." + key;
}

void ObjectReader::fail(const char* key, const std::string& message) {
    errors_.push_back(path_of(key) + ": " + message);
}

bool ObjectReader::has(const char* key) const {
    if (!value_.is_object()) return false;
    const auto at = value_.find(key);
    return at != value_.end() && !at->is_null();
}

const json* ObjectReader::find(const char* key) {
    known_.emplace_back(key);
    return has(key) ? &*value_.find(key) : nullptr;
}

void ObjectReader::read(const char* key, std::string* out) {
    const json* field = find(key);
    if (field == nullptr) return;
    if (!field->is_string())
        return fail(key, fmt::format("must be a string, not {}", field->type_name()));
    *out = field->get_ref<const std::string&>();
}

void ObjectReader::read(const char* key, bool* out) {
    const json* field = find(key);
    if (field == nullptr) return;
    if (!field->is_boolean())
        return fail(key, fmt::format("must be true or false, not {}", field->type_name()));
    *out = field->get<bool>();
}

void ObjectReader::read(const char* key, std::vector<std::string>* out) {
    each(key, [&](const json& element, const std::string& path) {
        if (element.is_string())
            out->push_back(element.get_ref<const std::string&>());
        else
            errors_.push_back(
                fmt::format("{}: must be a string, not {}", path, element.type_name()));
    });
}

namespace {

// Takes anything and remembers where the parser gave up.
struct ErrorFinder final : nlohmann::json_sax<json> {
    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(number_integer_t) override { return true; }
    bool number_unsigned(number_unsigned_t) override { return true; }
    bool number_float(number_float_t, const string_t&) override { return true; }
    bool string(string_t&) override { return true; }
    bool binary(binary_t&) override { return true; }
    bool start_object(std::size_t) override { return true; }
    bool key(string_t&) override { return true; }
    bool end_object() override { return true; }
    bool start_array(std::size_t) override { return true; }
    bool end_array() override { return true; }
    bool parse_error(std::size_t at, const std::string& token,
                     const nlohmann::detail::exception&) override {
        position = at;
        last_token = token;
        return false;
    }
    std::size_t position{};
    std::string last_token;
};

}  // namespace

std::string value_text(const json& value) {
    return value.is_structured() ? value.type_name() : shown(value.dump());
}

std::string syntax_error(std::string_view text) {
    ErrorFinder finder;
    json::sax_parse(text, &finder);
    const std::string_view before = text.substr(0, finder.position);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 is 0
    return fmt::format(
        "line {}, column {}: not valid JSON at {}; a comma, quote or bracket is "
        "missing or too much (comments are not allowed)",
        line, std::max<std::size_t>(before.size() - start, 1), dr::quoted(finder.last_token));
}

bool ObjectReader::read_number(const char* key, std::uint64_t* out, std::uint64_t minimum,
                               std::uint64_t maximum) {
    const json* field = find(key);
    if (field == nullptr) return false;
    const bool good = field->is_number_unsigned() && field->get<std::uint64_t>() >= minimum &&
                      field->get<std::uint64_t>() <= maximum;
    if (!good) {
        fail(key, fmt::format("must be a whole number from {} to {}, not {}", minimum, maximum,
                              value_text(*field)));
        return false;
    }
    *out = field->get<std::uint64_t>();
    return true;
}

void ObjectReader::finish() {
    if (!value_.is_object()) return;
    for (const auto& [key, unused] : value_.items()) {
        if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
        fail(key.c_str(), fmt::format("unknown key; known here: {}", join(known_)));
    }
}

}  // namespace dr
