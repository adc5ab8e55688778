// What the simulator runs: lines and how they behave, profile, duration, seed. A scenario file is
// JSON; README.md lists its members.
#pragma once

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/liveness/engine.h"

namespace dr::sim {

using liveness::kMillisecond;
using liveness::kNever;
using liveness::kSecond;
using liveness::ProfileId;
using liveness::Time;

// Says which file or member is wrong, and what would be right.
struct ScenarioError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// "a, b, c"
template <typename Names>
std::string joined(const Names& names) {
    std::string text;
    for (const auto& name : names) {
        if (!text.empty()) text += ", ";
        text += name;
    }
    return text;
}

// Probabilities of losing a message. Gilbert-Elliott with two states whose lengths are exponential
// in time, not in messages: detectors that send at different rates meet the same bursts.
struct Loss {
    double good = 0;
    double bad = 0;
    Time mean_good = 0;  // ns; 0: always good
    Time mean_bad = 0;
    bool exact = false;  // each state lasts just its mean; the seed chooses where it starts
};

// One sample of a recorded line, in effect from `at` until the next.
struct Sample {
    Time at;
    Time delay;
    bool lost;
};
using Trace = std::vector<Sample>;

// One-way delay: fixed; or drawn from quantiles; or replayed, from a point that the seed chooses.
struct Delay {
    Time fixed = 10 * kMillisecond;
    std::vector<std::pair<double, Time>> quantiles;  // rising, from 0 to 1; linear in between
    Time hold = 0;  // mean time that a drawn delay lasts; 0: each message draws its own
    std::shared_ptr<const Trace> trace;
};

enum class Direction { Both, ToUr, ToDr };

// The line is dead for `length`, each `every` (0: once) from `from`, until `until`; each start is
// later by up to `spread`, by chance.
struct Cuts {
    Time from = 0;
    Time every = 0;
    Time length = 0;
    Time spread = 0;
    Time until = kNever;
    Direction direction = Direction::Both;
};

struct Line {
    Loss loss;
    Delay delay;
    bool reorders = false;  // else a message never overtakes another
    std::vector<Cuts> cuts;
};

struct Scenario {
    std::string name;
    std::vector<Line> lines;  // of each subscriber; the first is the preferred one
    ProfileId profile = ProfileId::Fixed;
    unsigned tunnels = 0;
    double hours = 0;
    std::uint64_t seed = 1;
    unsigned restore_s = 60;
    Time warmup = 0;  // path changes are also counted from here on
    std::vector<std::string> detectors;

    [[nodiscard]] unsigned subscribers() const {
        const auto n = static_cast<unsigned>(lines.size());
        return (tunnels + n - 1) / n;
    }
};

Scenario parse_scenario(const std::string& text, const std::string& name);
Scenario load_scenario(const std::string& path);
// Lines of `seconds delay_ms` or `seconds lost` (# starts a comment), or what ping -D prints; times
// rise, and become times since the first sample.
Trace parse_trace(const std::string& text, const std::string& name);
Trace load_trace(const std::string& path);
// Two lines that both behave as the trace says, each from a point of its own.
Scenario scenario_of_trace(Trace trace, const std::string& name);
// The whole file.
std::string read_file(const std::string& path);
ProfileId parse_profile(const std::string& name);

}  // namespace dr::sim
