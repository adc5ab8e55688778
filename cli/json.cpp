// Writes protobuf messages as JSON.
#include "cli/json.h"

#include <fmt/format.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/time_util.h>

namespace dr::cli {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string dump(const Json& json, int indent) {
    return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json enum_name(const google::protobuf::EnumValueDescriptor* value) {
    return value->name();
}

Json single(const Message& message, const Reflection& reflection, const FieldDescriptor* field) {
    switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32:
            return reflection.GetInt32(message, field);
        case FieldDescriptor::CPPTYPE_INT64:
            return reflection.GetInt64(message, field);
        case FieldDescriptor::CPPTYPE_UINT32:
            return reflection.GetUInt32(message, field);
        case FieldDescriptor::CPPTYPE_UINT64:
            return reflection.GetUInt64(message, field);
        case FieldDescriptor::CPPTYPE_DOUBLE:
            return reflection.GetDouble(message, field);
        case FieldDescriptor::CPPTYPE_FLOAT:
            return reflection.GetFloat(message, field);
        case FieldDescriptor::CPPTYPE_BOOL:
            return reflection.GetBool(message, field);
        case FieldDescriptor::CPPTYPE_ENUM:
            return enum_name(reflection.GetEnum(message, field));
        case FieldDescriptor::CPPTYPE_STRING:
            return reflection.GetString(message, field);
        case FieldDescriptor::CPPTYPE_MESSAGE:
            return to_json(reflection.GetMessage(message, field));
    }
    return nullptr;
}

Json element(const Message& message, const Reflection& reflection, const FieldDescriptor* field,
             int i) {
    switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32:
            return reflection.GetRepeatedInt32(message, field, i);
        case FieldDescriptor::CPPTYPE_INT64:
            return reflection.GetRepeatedInt64(message, field, i);
        case FieldDescriptor::CPPTYPE_UINT32:
            return reflection.GetRepeatedUInt32(message, field, i);
        case FieldDescriptor::CPPTYPE_UINT64:
            return reflection.GetRepeatedUInt64(message, field, i);
        case FieldDescriptor::CPPTYPE_DOUBLE:
            return reflection.GetRepeatedDouble(message, field, i);
        case FieldDescriptor::CPPTYPE_FLOAT:
            return reflection.GetRepeatedFloat(message, field, i);
        case FieldDescriptor::CPPTYPE_BOOL:
            return reflection.GetRepeatedBool(message, field, i);
        case FieldDescriptor::CPPTYPE_ENUM:
            return enum_name(reflection.GetRepeatedEnum(message, field, i));
        case FieldDescriptor::CPPTYPE_STRING:
            return reflection.GetRepeatedString(message, field, i);
        case FieldDescriptor::CPPTYPE_MESSAGE:
            return to_json(reflection.GetRepeatedMessage(message, field, i));
    }
    return nullptr;
}

// The API's maps have string keys.
Json map_of(const Message& message, const Reflection& reflection, const FieldDescriptor* field) {
    std::map<std::string, Json> sorted;
    const auto* entry = field->message_type();
    for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
        const Message& pair = reflection.GetRepeatedMessage(message, field, i);
        const Reflection& inner = *pair.GetReflection();
        sorted[inner.GetString(pair, entry->map_key())] = single(pair, inner, entry->map_value());
    }
    Json object = Json::object();
    for (auto& [key, value] : sorted) {
        object[key] = std::move(value);
    }
    return object;
}

}  // namespace

Json to_json(const Message& message) {
    if (const auto* time = dynamic_cast<const google::protobuf::Timestamp*>(&message)) {
        return google::protobuf::util::TimeUtil::ToString(*time);
    }
    Json object = Json::object();
    const Reflection& reflection = *message.GetReflection();
    const auto* type = message.GetDescriptor();
    for (int f = 0; f < type->field_count(); ++f) {
        const FieldDescriptor* field = type->field(f);
        if (field->is_map()) {
            object[field->json_name()] = map_of(message, reflection, field);
        } else if (field->is_repeated()) {
            Json array = Json::array();
            for (int i = 0; i < reflection.FieldSize(message, field); ++i) {
                array.push_back(element(message, reflection, field, i));
            }
            object[field->json_name()] = std::move(array);
        } else if (!field->has_presence() || reflection.HasField(message, field)) {
            object[field->json_name()] = single(message, reflection, field);
        }
    }
    return object;
}

void write_line(std::FILE* out, const Json& json) {
    fmt::print(out, "{}\n", dump(json, -1));
}

void write_pretty(std::FILE* out, const Json& json) {
    fmt::print(out, "{}\n", dump(json, 2));
}

void JsonArrayWriter::add(const Json& element) {
    fmt::print(out_, "{}{}", empty_ ? "[\n" : ",\n", dump(element, -1));
    empty_ = false;
}

void JsonArrayWriter::end() {
    fmt::print(out_, "{}", empty_ ? "[]\n" : "\n]\n");
}

}  // namespace dr::cli
