// Reports the results of `drcli apply` in the order of the input.
#include "cli/apply_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/printable.h"
#include "cli/json.h"

namespace dr::cli {
namespace {

// Bytes that a line of a refusal quotes at most.
constexpr std::size_t kMostName = 128;
constexpr std::size_t kMostText = 1000;

std::string place_text(const ApplyReport::Place& place) {
    return place.in_array ? fmt::format("element {} (line {})", place.number, place.line)
                          : fmt::format("line {}", place.line);
}

}  // namespace

void ApplyReport::sent(const Place& place, std::string name) {
    const std::lock_guard lock(mutex_);
    entries_.push_back({place, std::move(name), std::nullopt});
}

void ApplyReport::refused_here(const Place& place, const std::string& name,
                               const dr::v1::FieldViolation& violation) {
    dr::v1::ApplyResult result;
    result.set_ordinal(place.number);
    result.set_resource(name);
    result.set_outcome(dr::v1::ApplyResult::REFUSED);
    *result.add_violations() = violation;
    const std::lock_guard lock(mutex_);
    entries_.push_back({place, {}, std::move(result)});
    drain();
}

bool ApplyReport::answered(const dr::v1::ApplyResult& result) {
    const std::lock_guard lock(mutex_);
    const auto entry = std::lower_bound(
        entries_.begin(), entries_.end(), result.ordinal(),
        [](const Entry& e, std::uint64_t ordinal) { return e.place.number < ordinal; });
    if (entry == entries_.end() || entry->place.number != result.ordinal() || entry->result) {
        return false;
    }
    entry->result = result;
    drain();
    return true;
}

void ApplyReport::conclude(const std::string& description) {
    const std::lock_guard lock(mutex_);
    for (auto& entry : entries_) {
        if (entry.result) {
            continue;
        }
        auto& result = entry.result.emplace();
        result.set_ordinal(entry.place.number);
        result.set_resource(entry.name);
        if (!description.empty()) {
            result.set_outcome(dr::v1::ApplyResult::REFUSED);
            auto* violation = result.add_violations();
            violation->set_field("resource");
            violation->set_description(description);
        }
    }
    drain();
}

ApplyCounts ApplyReport::counts() const {
    const std::lock_guard lock(mutex_);
    return counts_;
}

void ApplyReport::drain() {
    while (!entries_.empty() && entries_.front().result) {
        write(entries_.front());
        entries_.pop_front();
    }
}

void ApplyReport::write(const Entry& entry) {
    const auto& result = *entry.result;
    switch (result.outcome()) {
        case dr::v1::ApplyResult::CREATED:
            ++counts_.created;
            break;
        case dr::v1::ApplyResult::UPDATED:
            ++counts_.updated;
            break;
        case dr::v1::ApplyResult::UNCHANGED:
            ++counts_.unchanged;
            break;
        case dr::v1::ApplyResult::REFUSED:
            ++counts_.refused;
            break;
        default:
            ++counts_.unanswered;
            break;
    }
    if (result.outcome() == dr::v1::ApplyResult::REFUSED) {
        write_refusal(entry);
    }
    for (const auto& warning : result.warnings()) {
        write_line_of(entry, "warning: ", warning);
    }
    if (options_.json) {
        Json json = Json::object();
        json["line"] = entry.place.line;
        if (entry.place.in_array) {
            json["element"] = entry.place.number;
        }
        json.update(to_json(result));
        write_line(options_.out, json);
    }
}

void ApplyReport::write_refusal(const Entry& entry) {
    const auto& violations = entry.result->violations();
    if (violations.empty()) {
        dr::v1::FieldViolation unknown;
        unknown.set_description("refused");
        write_line_of(entry, "", unknown);
    }
    for (const auto& violation : violations) {
        write_line_of(entry, "", violation);
    }
}

void ApplyReport::write_line_of(const Entry& entry, const char* kind,
                                const dr::v1::FieldViolation& what) {
    if (options_.before_error) {
        options_.before_error();
    }
    std::string prefix = place_text(entry.place) + ": ";
    const std::string& resource = entry.result->resource();
    if (!resource.empty()) {
        prefix += shown(resource, kMostName) + ": ";
    }
    fmt::print(options_.err, "{}{}{}{}{}\n", printable(prefix), kind,
               shown(what.field(), kMostName), what.field().empty() ? "" : ": ",
               shown(what.description(), kMostText));
}

}  // namespace dr::cli
