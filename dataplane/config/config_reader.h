// Reading a JSON object field by field, with errors that say where and what would be right.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace dr {

using Errors = std::vector<std::string>;

// One object of the file. Each field is asked for by name; finish() reports those that nobody asked
// for. A field that is absent or null leaves `out` as it was.
class ObjectReader final {
  public:
    // path: of the object, "" for the whole file.
    ObjectReader(const nlohmann::json& value, std::string path, Errors& errors);

    void read(const char* key, std::string* out);
    void read(const char* key, bool* out);
    void read(const char* key, std::vector<std::string>* out);
    // minimum..maximum inclusive. true: present and good.
    template <typename T>
    bool read(const char* key, T* out, std::uint64_t minimum, std::uint64_t maximum) {
        std::uint64_t number{};
        if (!read_number(key, &number, minimum, maximum)) return false;
        *out = static_cast<T>(number);
        return true;
    }
    // The field's value, null when absent.
    const nlohmann::json* find(const char* key);
    // As find(), for a field that must be an array: calls back with element and its path.
    template <typename F>
    void each(const char* key, F&& f) {
        const nlohmann::json* list = find(key);
        if (list == nullptr) return;
        if (!list->is_array()) return fail(key, "must be an array");
        for (std::size_t i = 0; i < list->size(); ++i)
            f((*list)[i], path_of(key) + "[" + std::to_string(i) + "]");
    }
    [[nodiscard]] bool has(const char* key) const;

    void fail(const char* key, const std::string& message);
    // Reports unknown keys.
    void finish();
    [[nodiscard]] std::string path_of(const char* key) const;

  private:
    bool read_number(const char* key, std::uint64_t* out, std::uint64_t minimum,
                     std::uint64_t maximum);

    const nlohmann::json& value_;
    std::string path_;
    Errors& errors_;
    std::vector<std::string> known_;
};

// Where and why a text is not JSON: "line 3, column 7: ...".
std::string syntax_error(std::string_view text);
// A value for a message: the beginning of what is written, of an array or an object only that it is
// one.
std::string value_text(const nlohmann::json& value);

}  // namespace dr
