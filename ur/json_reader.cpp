#include "ur/json_reader.h"

#include <charconv>

#include "base/printable.h"

namespace dr::ur {

namespace {

std::string camel(const std::string& name) {
    std::string out;
    for (std::size_t i = 0; i < name.size(); ++i) {
        if (name[i] == '_' && i + 1 < name.size())
            out += static_cast<char>(std::toupper(static_cast<unsigned char>(name[++i])));
        else
            out += name[i];
    }
    return out;
}

bool as_number(const nlohmann::json& value, std::uint64_t* out) {
    if (value.is_number_unsigned()) {
        *out = value.get<std::uint64_t>();
        return true;
    }
    if (value.is_number_float()) {
        const double d = value.get<double>();
        if (d < 0 || d >= 9e15 || d != static_cast<double>(static_cast<std::uint64_t>(d)))
            return false;
        *out = static_cast<std::uint64_t>(d);
        return true;
    }
    if (!value.is_string()) return false;
    const auto& text = value.get_ref<const std::string&>();
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), *out);
    return failed == std::errc{} && end == text.data() + text.size();
}

}  // namespace

std::string shown(const nlohmann::json& value) {
    return value.is_structured() ? value.type_name() : dr::shown(value.dump());
}

JsonObject::JsonObject(const nlohmann::json& value, std::string path,
                       std::vector<std::string>& errors)
    : value_(value), path_(std::move(path)), errors_(errors) {
    if (!value_.is_object())
        errors_.push_back((path_.empty() ? "the file" : path_) + ": is " + value_.type_name() +
                          "; must be an object");
}

std::string JsonObject::at(const std::string& name) const {
    return path_.empty() ? camel(name) : path_ + "." + camel(name);
}

const nlohmann::json* JsonObject::find(const std::string& name) {
    known_.insert(name);
    known_.insert(camel(name));
    if (!value_.is_object()) return nullptr;
    auto it = value_.find(camel(name));
    if (it == value_.end()) it = value_.find(name);
    return it == value_.end() || it->is_null() ? nullptr : &*it;
}

std::string JsonObject::text(const std::string& name) {
    const auto* value = find(name);
    if (value == nullptr) return {};
    if (value->is_string()) return value->get<std::string>();
    error(name, std::string("is ") + value->type_name() + "; must be a string");
    return {};
}

std::uint64_t JsonObject::number(const std::string& name, std::uint64_t max) {
    const auto* value = find(name);
    if (value == nullptr) return 0;
    std::uint64_t n = 0;
    if (as_number(*value, &n) && n <= max) return n;
    error(name, "is " + shown(*value) + "; must be an integer from 0 to " + std::to_string(max));
    return 0;
}

bool JsonObject::truth(const std::string& name) {
    const auto* value = find(name);
    if (value == nullptr) return false;
    if (value->is_boolean()) return value->get<bool>();
    error(name, "is " + shown(*value) + "; must be true or false");
    return false;
}

std::vector<std::pair<const nlohmann::json*, std::string>> JsonObject::list(
    const std::string& name) {
    std::vector<std::pair<const nlohmann::json*, std::string>> out;
    const auto* value = find(name);
    if (value == nullptr) return out;
    if (!value->is_array()) {
        error(name, std::string("is ") + value->type_name() + "; must be an array");
        return out;
    }
    for (std::size_t i = 0; i < value->size(); ++i)
        out.emplace_back(&(*value)[i], at(name) + "[" + std::to_string(i) + "]");
    return out;
}

void JsonObject::error(const std::string& name, const std::string& message) {
    errors_.push_back(at(name) + ": " + message);
}

void JsonObject::finish() {
    if (!value_.is_object()) return;
    for (const auto& [key, value] : value_.items())
        if (!known_.contains(key))
            errors_.push_back((path_.empty() ? key : path_ + "." + key) +
                              ": unknown field; remove it or correct its name");
}

}  // namespace dr::ur
