// Checks the counts and sizes of an object before it is copied.
#include "control/model/counts.h"

#include <fmt/format.h>

#include "control/model/check.h"

namespace dr::control {
namespace {

// Longer than any name or address; a longer text gets an error with its beginning.
constexpr std::size_t kMostNameBytes = 4096;

void limit(int count, int most, const std::string& field, const char* what, Findings& findings) {
    if (count > most) findings.add(Findings::Kind::Limit, field, fmt::format("{} {}", count, what));
}

void check_name_size(const std::string& name, const char* field, Findings& findings) {
    if (name.size() > kMostNameBytes)
        findings.invalid(field,
                         fmt::format("{}, of {} bytes, is no name", quoted(name), name.size()));
}

}  // namespace

Failure check_counts(const v1::Pool& pool) {
    Findings findings;
    check_name_size(pool.name(), "pool.name", findings);
    check_name_size(pool.prefix(), "pool.prefix", findings);
    return findings.failure();
}

Failure check_counts(const v1::Policy& policy) {
    Findings findings;
    check_name_size(policy.name(), "policy.name", findings);
    limit(policy.classes_size(), kMaxClasses, "policy.classes",
          "classes; the limit is 8 classes a policy", findings);
    // An output field: in a request it comes from an earlier answer.
    limit(policy.line_numbers_size(), kMaxLines, "policy.lineNumbers",
          "numbers; the limit is 16 lines a policy", findings);
    for (int i = 0; i < policy.classes_size() && findings.empty(); ++i) {
        const auto& c = policy.classes(i);
        limit(c.tiers_size(), kMaxLines, fmt::format("policy.classes[{}].tiers", i),
              "tiers; the limit is 16, one for each line", findings);
        for (int t = 0; t < c.tiers_size() && findings.empty(); ++t)
            limit(c.tiers(t).lines_size(), kMaxLines,
                  fmt::format("policy.classes[{}].tiers[{}].lines", i, t),
                  "lines; the limit is 16 lines a policy", findings);
    }
    return findings.failure();
}

Failure check_counts(const v1::Subscriber& subscriber) {
    Findings findings;
    check_name_size(subscriber.name(), "subscriber.name", findings);
    check_name_size(subscriber.policy(), "subscriber.policy", findings);
    limit(subscriber.prefixes_size(), kMaxPrefixes, "subscriber.prefixes",
          "prefixes; the limit is 64 prefixes a subscriber", findings);
    limit(subscriber.tunnels_size(), kMaxLines, "subscriber.tunnels",
          "tunnels; the limit is 16 lines a subscriber, one tunnel each", findings);
    return findings.failure();
}

Failure check_counts(const Object& object) {
    return std::visit([](const auto& o) { return check_counts(o); }, object);
}

static_assert(kMaxClasses == 8 && kMaxLines == 16 && kMaxPrefixes == 64, "as the texts say");

}  // namespace dr::control
