// Inside of the catalog: changes judged but not committed yet.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "control/model/catalog.h"

namespace dr::control {

struct Catalog::Change {
    Kind kind{};
    std::uint32_t id = 0;
    std::size_t request = 0;
    std::shared_ptr<const Object> before;  // null: created
    std::shared_ptr<const Object> after;   // null: deleted
    // The record of the subscriber in `after`, without its keys.
    Record record;
    // Tunnel ids that the change takes: of slots never used before, and of slots that rested.
    std::vector<std::uint32_t> taken;
    std::vector<std::uint32_t> reused;
    std::vector<std::uint32_t> freed;
    // The new secrets of the subscriber in `after`. Absent: they stay.
    std::optional<store::Secrets> secrets;
};

// The changes of one batch in order. They are in the index already, so that each is judged against
// the result of the previous ones; undo() takes them out again.
struct Catalog::Plan {
    Meta before;  // to go back to
    std::vector<Change> changes;
    std::unordered_map<std::string, std::size_t> latest;  // "0/name" -> its last change
    std::size_t request = 0;                              // in hand
    const Plan* earlier = nullptr;  // changes before these, entered but not committed either

    static std::string key(Kind kind, const std::string& name) {
        return std::to_string(static_cast<int>(kind)) + "/" + name;
    }
    [[nodiscard]] const Change* find(Kind kind, const std::string& name) const {
        const auto at = latest.find(key(kind, name));
        if (at != latest.end()) return &changes[at->second];
        return earlier != nullptr ? earlier->find(kind, name) : nullptr;
    }
};

inline Kind kind_of(const Object& object) {
    return static_cast<Kind>(object.index());
}

inline const v1::Subscriber& subscriber_in(const Object& object) {
    return std::get<v1::Subscriber>(object);
}

inline Failure make_failure(Code code, std::string message) {
    return {code, std::move(message), {}, false};
}

inline const std::string& name_of_object(const Object& object) {
    return std::visit([](const auto& o) -> const std::string& { return o.name(); }, object);
}

// "pool", "policy", "subscriber".
const char* kind_name(Kind kind);

// Whether the mode and the asked-for revision (0: any) agree with what is stored (null: nothing).
Failure check_presence(Request::Mode mode, Kind kind, const std::string& name, std::int64_t asked,
                       const std::int64_t* stored);

// Whether two objects in canonical form are the same.
bool same_bytes(const google::protobuf::MessageLite& a, const google::protobuf::MessageLite& b);

// Read a serialized object of `kind`. Throw StoreError if the bytes are not such an object.
void parse_into(google::protobuf::MessageLite& message, Kind kind, std::string_view bytes);
Object parse_object(Kind kind, std::string_view bytes);

}  // namespace dr::control
