// Assigns numbers to the lines of policies.
#include "control/model/line_numbers.h"

#include <algorithm>
#include <vector>

namespace dr::control {
namespace {

constexpr unsigned kNumbers = LineCensus::kNumbers;
using Used = std::array<bool, kNumbers>;

// Each once, in order of first appearance.
std::vector<std::string> lines_of(const v1::Policy& policy) {
    std::vector<std::string> lines;
    for (const auto& c : policy.classes())
        for (const auto& tier : c.tiers())
            for (const auto& weighted : tier.lines())
                if (std::find(lines.begin(), lines.end(), weighted.line()) == lines.end())
                    lines.push_back(weighted.line());
    return lines;
}

void set_number(v1::Policy& policy, const std::string& line, unsigned number) {
    auto& added = *policy.add_line_numbers();
    added.set_line(line);
    added.set_number(number);
}

// Chooses a free number. A number that another line has just left comes last: the two ends do not
// change at the same moment, and the end that is behind would confuse the two lines.
unsigned fresh_number(const Used& used, const Used& just_left, std::optional<unsigned> usual,
                      const LineCensus& census) {
    const auto cost = [&](unsigned n) {
        return (used[n] ? 8U : 0U) + (just_left[n] ? 4U : 0U) +
               (usual == n        ? 0U
                : census.taken(n) ? 2U
                                  : 1U);
    };
    unsigned best = 0;
    for (unsigned n = 1; n < kNumbers; ++n)
        if (cost(n) < cost(best)) best = n;
    return best;
}

}  // namespace

std::optional<unsigned> LineCensus::usual(std::string_view line) const {
    const auto at = lines_.find(line);
    if (at == lines_.end()) return {};
    const auto most = std::max_element(at->second.begin(), at->second.end());
    return static_cast<unsigned>(most - at->second.begin());
}

void LineCensus::count(const v1::Policy& policy, int by) {
    for (const auto& entry : policy.line_numbers()) {
        if (entry.number() >= kNumbers) continue;
        total_[entry.number()] += by;
        auto& counts = lines_[entry.line()];
        counts[entry.number()] += by;
        if (counts == std::array<std::int64_t, kNumbers>{}) lines_.erase(entry.line());
    }
}

std::optional<unsigned> line_number(const v1::Policy& policy, std::string_view line) {
    for (const auto& entry : policy.line_numbers())
        if (entry.line() == line) return entry.number();
    return {};
}

void number_lines(v1::Policy& policy, const v1::Policy* before, const LineCensus& census) {
    Used used{};
    Used just_left{};
    policy.clear_line_numbers();
    const std::vector<std::string> lines = lines_of(policy);
    std::map<std::string, unsigned> numbers;
    if (before != nullptr) {
        for (const auto& entry : before->line_numbers()) {
            if (entry.number() >= kNumbers) continue;
            const bool kept = std::find(lines.begin(), lines.end(), entry.line()) != lines.end();
            (kept ? used : just_left)[entry.number()] = true;
            if (kept) numbers[entry.line()] = entry.number();
        }
    }
    for (const auto& line : lines) {
        if (numbers.contains(line)) continue;
        const unsigned number = fresh_number(used, just_left, census.usual(line), census);
        used[number] = true;
        numbers[line] = number;
    }
    std::vector<const std::pair<const std::string, unsigned>*> ordered;
    ordered.reserve(numbers.size());
    for (const auto& entry : numbers) ordered.push_back(&entry);
    std::sort(ordered.begin(), ordered.end(),
              [](const auto* a, const auto* b) { return a->second < b->second; });
    for (const auto* entry : ordered) set_number(policy, entry->first, entry->second);
}

void complete_line_numbers(v1::Policy& policy) {
    if (!policy.line_numbers().empty()) return;
    unsigned number = 0;
    for (const auto& line : lines_of(policy)) set_number(policy, line, number++);
}

}  // namespace dr::control
