// Why a request is refused, in the terms of the API's error model (proto/dr/v1/api.proto).
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/printable.h"

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

// Collects what is wrong with one object: the first findings in words, the rest as a count, so that
// an answer is small and cheap for every object.
class Findings {
  public:
    static constexpr std::size_t kMostViolations = 16;
    static constexpr std::size_t kMostText = 3000;  // bytes, in all; one has at most a third
    enum class Kind {
        Invalid,    // the field itself
        Limit,      // one of the product's limits
        Reference,  // what the field names does not exist (yet)
        InUse,      // something else depends on the object as it is
    };

    void add(Kind kind, std::string field, std::string description) {
        worst_ = violations_.empty() ? kind : std::min(worst_, kind);
        only_references_ = only_references_ && kind == Kind::Reference;
        if (full()) {
            ++more_;
            return;
        }
        if (description.size() > kMostText / 3) description = shown(description, kMostText / 3);
        text_ += field.size() + description.size();
        violations_.push_back({std::move(field), std::move(description)});
    }
    void invalid(std::string field, std::string description) {
        add(Kind::Invalid, std::move(field), std::move(description));
    }

    [[nodiscard]] bool empty() const { return violations_.empty(); }
    // Further findings are only counted, so they need no text.
    [[nodiscard]] bool full() const {
        return violations_.size() >= kMostViolations || text_ >= kMostText;
    }

    // The failure that these findings make; its message is the first of them.
    [[nodiscard]] Failure failure() const {
        if (violations_.empty()) return {};
        const Code code = worst_ == Kind::Invalid ? Code::InvalidArgument
                          : worst_ == Kind::Limit ? Code::ResourceExhausted
                                                  : Code::FailedPrecondition;
        const auto& first = violations_.front();
        Failure failure{code, first.field + ": " + first.description, violations_,
                        only_references_};
        if (more_ != 0)
            failure.violations.push_back({first.field.substr(0, first.field.find('.')),
                                          "and more of this kind: " + std::to_string(more_)});
        return failure;
    }

  private:
    std::vector<Violation> violations_;
    std::size_t text_ = 0;  // bytes in them
    std::size_t more_ = 0;  // found beyond them
    Kind worst_ = Kind::Invalid;
    bool only_references_ = true;
};

}  // namespace dr::control
