// Why a request is refused, in the terms of the API's error model (proto/dr/v1/api.proto).
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace dr::control {

// A subset of the gRPC codes; control/api translates.
enum class Code {
    Ok,
    InvalidArgument,
    NotFound,
    AlreadyExists,
    Aborted,
    FailedPrecondition,
    ResourceExhausted,
    Unavailable,
    Internal,
};

struct Violation {
    std::string field;  // "subscriber.prefixes[1]"
    std::string description;
};

struct Failure {
    Code code = Code::Ok;
    std::string message;
    std::vector<Violation> violations;
    // Only references are missing (an unknown policy, a line that the policy lacks): the
    // same object may be accepted once a later object of the same stream has brought them.
    bool only_references = false;

    [[nodiscard]] bool ok() const { return code == Code::Ok; }
};

// Collects what is wrong with one object.
class Findings {
  public:
    enum class Kind {
        Invalid,    // the field itself
        Limit,      // one of the product's limits
        Reference,  // what the field names does not exist (yet)
        InUse,      // something else depends on the object as it is
    };

    void add(Kind kind, std::string field, std::string description) {
        worst_ = violations_.empty() ? kind : std::min(worst_, kind);
        only_references_ = only_references_ && kind == Kind::Reference;
        violations_.push_back({std::move(field), std::move(description)});
    }
    void invalid(std::string field, std::string description) {
        add(Kind::Invalid, std::move(field), std::move(description));
    }

    [[nodiscard]] bool empty() const { return violations_.empty(); }

    // The failure that these findings make; its message is the first of them.
    [[nodiscard]] Failure failure() const {
        if (violations_.empty()) return {};
        const Code code = worst_ == Kind::Invalid ? Code::InvalidArgument
                          : worst_ == Kind::Limit ? Code::ResourceExhausted
                                                  : Code::FailedPrecondition;
        const auto& first = violations_.front();
        return {code, first.field + ": " + first.description, violations_, only_references_};
    }

  private:
    std::vector<Violation> violations_;
    Kind worst_ = Kind::Invalid;
    bool only_references_ = true;
};

}  // namespace dr::control
