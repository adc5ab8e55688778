// Parses plain protobuf-JSON objects without the library.
#include "cli/fast_json.h"

#include <google/protobuf/descriptor.h>

#include <charconv>
#include <cstdint>
#include <unordered_map>

namespace dr::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr int kMaxDepth = 32;

// The fields of a message by the names that JSON may give them: lowerCamelCase and as declared.
class Fields {
  public:
    explicit Fields(const Descriptor* type) {
        for (int i = 0; i < type->field_count(); ++i) {
            by_name_[type->field(i)->json_name()] = type->field(i);
            by_name_[type->field(i)->name()] = type->field(i);
        }
    }
    [[nodiscard]] const FieldDescriptor* find(std::string_view name) const {
        const auto at = by_name_.find(name);
        return at == by_name_.end() ? nullptr : at->second;
    }
    static const Fields& of(const Descriptor* type) {
        thread_local std::unordered_map<const Descriptor*, Fields> cache;
        return cache.try_emplace(type, type).first->second;
    }

  private:
    std::unordered_map<std::string_view, const FieldDescriptor*> by_name_;  // of the descriptor's
};

// Printable ASCII needs no check as UTF-8.
bool is_plain(char c) {
    return c >= ' ' && c < 0x7f && c != '\\';
}

class Reader {
  public:
    explicit Reader(std::string_view text) : at_(text.data()), end_(text.data() + text.size()) {}

    bool whole(Message& message) {
        if (!object(message, 0)) return false;
        skip_blanks();
        return at_ == end_;
    }

  private:
    void skip_blanks() {
        while (at_ != end_ && (*at_ == ' ' || *at_ == '\t' || *at_ == '\n' || *at_ == '\r')) ++at_;
    }
    bool take(char c) {
        skip_blanks();
        if (at_ == end_ || *at_ != c) return false;
        ++at_;
        return true;
    }
    bool string(std::string_view& out) {
        if (!take('"')) return false;
        const char* begin = at_;
        while (at_ != end_ && *at_ != '"') {
            if (!is_plain(*at_)) return false;
            ++at_;
        }
        if (at_ == end_) return false;
        out = {begin, static_cast<std::size_t>(at_ - begin)};
        ++at_;
        return true;
    }
    bool word(std::string_view expected) {
        if (!std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(expected))
            return false;
        at_ += expected.size();
        return true;
    }
    bool boolean(bool& out) {
        skip_blanks();
        out = word("true");
        return out || word("false");
    }
    // Decimal digits alone, without leading zeros.
    template <typename T>
    bool integer(T& out) {
        skip_blanks();
        const char* begin = at_;
        while (at_ != end_ && *at_ >= '0' && *at_ <= '9') ++at_;
        if (at_ == begin || (*begin == '0' && at_ - begin > 1)) return false;
        if (at_ != end_ && (*at_ == '.' || *at_ == 'e' || *at_ == 'E')) return false;
        const auto parsed = std::from_chars(begin, at_, out);
        return parsed.ec == std::errc{} && parsed.ptr == at_;
    }

    bool object(Message& message, int depth);
    bool field(Message& message, const FieldDescriptor* field, int depth);
    bool array(Message& message, const FieldDescriptor* field, int depth);

    const char* at_;
    const char* end_;
};

bool Reader::array(Message& message, const FieldDescriptor* field, int depth) {
    if (!take('[')) return false;
    if (take(']')) return true;
    const Reflection& reflection = *message.GetReflection();
    do {
        if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
            if (!object(*reflection.AddMessage(&message, field), depth)) return false;
        } else if (field->type() == FieldDescriptor::TYPE_STRING) {
            std::string_view value;
            if (!string(value)) return false;
            reflection.AddString(&message, field, std::string(value));
        } else {
            return false;
        }
    } while (take(','));
    return take(']');
}

bool Reader::field(Message& message, const FieldDescriptor* field, int depth) {
    const Reflection& reflection = *message.GetReflection();
    const auto number = [&](auto zero, auto set) {
        auto value = zero;
        if (!integer(value)) return false;
        set(value);
        return true;
    };
    switch (field->type()) {
        case FieldDescriptor::TYPE_MESSAGE:
            return object(*reflection.MutableMessage(&message, field), depth);
        case FieldDescriptor::TYPE_STRING: {
            std::string_view value;
            if (!string(value)) return false;
            reflection.SetString(&message, field, std::string(value));
            return true;
        }
        case FieldDescriptor::TYPE_BOOL: {
            bool value = false;
            if (!boolean(value)) return false;
            reflection.SetBool(&message, field, value);
            return true;
        }
        case FieldDescriptor::TYPE_ENUM: {
            std::string_view name;
            if (!string(name)) return false;
            const auto* value = field->enum_type()->FindValueByName(std::string(name));
            if (value == nullptr) return false;
            reflection.SetEnum(&message, field, value);
            return true;
        }
        case FieldDescriptor::TYPE_UINT32:
            return number(std::uint32_t{0},
                          [&](auto v) { reflection.SetUInt32(&message, field, v); });
        case FieldDescriptor::TYPE_UINT64:
            return number(std::uint64_t{0},
                          [&](auto v) { reflection.SetUInt64(&message, field, v); });
        case FieldDescriptor::TYPE_INT32:
            return number(std::int32_t{0},
                          [&](auto v) { reflection.SetInt32(&message, field, v); });
        case FieldDescriptor::TYPE_INT64:
            return number(std::int64_t{0},
                          [&](auto v) { reflection.SetInt64(&message, field, v); });
        default:
            return false;
    }
}

bool Reader::object(Message& message, int depth) {
    // Well-known types have forms of their own.
    if (depth > kMaxDepth || message.GetDescriptor()->file()->package() == "google.protobuf" ||
        !take('{'))
        return false;
    if (take('}')) return true;
    const Fields& fields = Fields::of(message.GetDescriptor());
    std::uint64_t seen = 0;
    do {
        std::string_view name;
        if (!string(name) || !take(':')) return false;
        const FieldDescriptor* found = fields.find(name);
        if (found == nullptr || found->is_map() || found->index() >= 64) return false;
        // A oneof has at most one member.
        const auto* group = found->real_containing_oneof();
        const int index = group != nullptr ? group->field(0)->index() : found->index();
        const std::uint64_t bit = std::uint64_t{1} << index;
        if ((seen & bit) != 0) return false;
        seen |= bit;
        const bool read = found->is_repeated() ? array(message, found, depth + 1)
                                               : field(message, found, depth + 1);
        if (!read) return false;
    } while (take(','));
    return take('}');
}

}  // namespace

bool read_plain_json(std::string_view text, Message& message) {
    message.Clear();
    return Reader(text).whole(message);
}

}  // namespace dr::cli
