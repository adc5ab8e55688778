// The numbers by which keepalives name a policy's lines (proto/TUNNEL.md §8).
//
// The liveness engine identifies a session by its line number, and the two ends of a tunnel do not
// learn of a new policy at the same moment. So a number means the same line for as long as the
// policy names the line. Policies use the same number for a line where they can, so that a
// subscriber's tunnels stay up when its policy is replaced.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "dr/v1/resource.pb.h"

namespace dr::control {

// How many policies give each number to each line name.
class LineCensus {
  public:
    static constexpr unsigned kNumbers = 16;

    void add(const v1::Policy& policy) { count(policy, 1); }
    void remove(const v1::Policy& policy) { count(policy, -1); }

    // The number that most policies have for the line, the lowest among equals; none: no policy has
    // it.
    [[nodiscard]] std::optional<unsigned> usual(std::string_view line) const;
    // Whether some policy has the number for any line.
    [[nodiscard]] bool taken(unsigned number) const { return total_[number] != 0; }

  private:
    void count(const v1::Policy& policy, int by);

    std::map<std::string, std::array<std::int64_t, kNumbers>, std::less<>> lines_;
    std::array<std::int64_t, kNumbers> total_{};
};

// The line's number; none: the policy has no such line.
std::optional<unsigned> line_number(const v1::Policy& policy, std::string_view line);

// Numbers every line of a policy that has passed check_policy(), and removes numbers of lines that
// it does not name. `before`: the policy that it replaces, or null.
void number_lines(v1::Policy& policy, const v1::Policy* before, const LineCensus& census);

// Numbers the lines of a policy that was stored without numbers: in order of first appearance over
// classes and tiers, as both ends counted then.
void complete_line_numbers(v1::Policy& policy);

}  // namespace dr::control
