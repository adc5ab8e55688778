// scripts/sim: runs scenarios and prints a JSON line for each detector.
#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "tests/sim/detector.h"
#include "tests/sim/world.h"

namespace {

using namespace dr::sim;

constexpr const char* kUsage =
    "usage: scripts/sim SCENARIO [OPTION...]\n"
    "       scripts/sim --trace FILE [OPTION...]\n"
    "       scripts/sim plot RESULTS...\n"
    "SCENARIO is a file, or the name of one in tests/sim/scenarios.\n"
    "FILE: what `ping -D -i 0.2` printed, or lines of `seconds delay_ms` or `seconds lost`.\n"
    "RESULTS: files of the JSON lines that this prints; makes docs/keepalive.svg and the tables\n"
    "of docs/keepalive.md.\n"
    "  --profile NAME     fixed, mobile, satellite or metered, instead of the scenario's; a trace\n"
    "                     is tried with each when not given\n"
    "  --tunnels N        how many tunnels, in pairs or as the scenario's lines say\n"
    "  --hours N          of virtual time\n"
    "  --seed N\n"
    "  --detector NAME    only this one: ours, frr-300x3, bird-100x5, plain-1000x3 or another\n"
    "                     NAME-MILLISECONDSxMULTIPLIER; may be repeated\n"
    "  --jobs N           threads; as many as there are processors when not given\n";

struct Options {
    std::string scenario, trace;
    std::optional<std::string> profile;
    std::optional<double> tunnels, hours, seed;
    std::vector<std::string> detectors;
    double jobs = 0;
};

double positive(const std::string& option, const std::string& value) {
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (*end != 0 || value.empty() || !(number > 0) || number > 1e9) {
        throw ScenarioError(fmt::format("{}: expected a number above 0, not '{}'", option, value));
    }
    return number;
}

Options parse(const std::vector<std::string>& args) {
    Options o;
    for (std::size_t i = 0; i < args.size(); ++i) {
        const std::string& name = args[i];
        if (name.empty() || name[0] != '-') {
            if (!o.scenario.empty()) throw ScenarioError("one scenario at a time");
            o.scenario = name;
            continue;
        }
        if (i + 1 == args.size()) throw ScenarioError(name + ": no such option, or no value");
        const std::string& value = args[++i];
        if (name == "--trace") {
            o.trace = value;
        } else if (name == "--profile") {
            o.profile = value;
        } else if (name == "--detector") {
            o.detectors.push_back(value);
        } else if (name == "--tunnels") {
            o.tunnels = positive(name, value);
        } else if (name == "--hours") {
            o.hours = positive(name, value);
        } else if (name == "--seed") {
            o.seed = positive(name, value);
        } else if (name == "--jobs") {
            o.jobs = positive(name, value);
        } else {
            throw ScenarioError(name + ": no such option");
        }
    }
    if (o.scenario.empty() == o.trace.empty()) throw ScenarioError("expected SCENARIO or --trace");
    return o;
}

Scenario scenario_of(const Options& o) {
    Scenario s = o.trace.empty() ? load_scenario(o.scenario)
                                 : scenario_of_trace(load_trace(o.trace), o.trace);
    if (o.profile) s.profile = parse_profile(*o.profile);
    if (o.tunnels) s.tunnels = static_cast<unsigned>(*o.tunnels);
    if (s.tunnels == 0) throw ScenarioError("--tunnels: expected 1 or more");
    if (o.hours) s.hours = *o.hours;
    if (s.hours > 8784) throw ScenarioError("--hours: expected at most 8784, a year");
    if (o.seed) s.seed = static_cast<std::uint64_t>(*o.seed);
    if (!o.detectors.empty()) s.detectors = o.detectors;
    if (s.detectors.empty()) s.detectors = all_detectors();
    return s;
}

void print(const Scenario& s, const std::string& detector, Result& r, double seconds) {
    nlohmann::ordered_json line;
    line["name"] = "sim";
    line["scenario"] = s.name;
    line["detector"] = detector;
    if (detector == "ours") line["profile"] = dr::liveness::profile(s.profile).name;
    line["tunnels"] = s.subscribers() * s.lines.size();
    line["subscribers"] = s.subscribers();
    line["hours"] = s.hours;
    line["warmup_minutes"] = s.warmup / (60 * kSecond);
    line["seed"] = s.seed;
    line["false_down"] = r.false_downs;
    line["false_down_of_first_lines"] = r.false_downs_first;
    line["downs"] = r.downs;
    line["detections"] = r.detected_ms.size();
    line["undetected"] = r.undetected;
    const auto ms = [&r](double p) -> nlohmann::ordered_json {
        if (r.detected_ms.empty()) return nullptr;
        return std::round(r.detection_ms(p) * 10) / 10;
    };
    line["detect_p50_ms"] = ms(0.5);
    line["detect_p99_ms"] = ms(0.99);
    line["detect_max_ms"] = ms(1);
    line["path_changes"] = r.path_changes;
    line["path_changes_after_warmup"] = r.late_changes;
    line["most_path_changes_in_an_hour"] = r.most_in_hour;
    line["most_after_warmup_in_an_hour"] = r.most_late_in_hour;
    line["last_usable_removed"] = r.last_removed;
    line["without_path_s"] = std::round(r.without_path_s * 1000) / 1000;
    line["messages"] = r.messages;
    line["seconds"] = std::round(seconds * 10) / 10;
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
}

void run_one(const Scenario& s, const std::string& detector, unsigned jobs) {
    const auto started = std::chrono::steady_clock::now();
    Result r = simulate(s, detector, jobs);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - started;
    print(s, detector, r, taken.count());
}

void run(const Options& o) {
    Scenario s = scenario_of(o);
    const unsigned processors = std::max(std::thread::hardware_concurrency(), 1U);
    const unsigned jobs = o.jobs >= 1 ? static_cast<unsigned>(std::min(o.jobs, 256.0)) : processors;
    const bool try_profiles = !o.trace.empty() && !o.profile;
    for (const std::string& detector : s.detectors) {
        if (detector != "ours" || !try_profiles) {
            run_one(s, detector, jobs);
            continue;
        }
        for (std::size_t p = 0; p < dr::liveness::kProfiles.size(); ++p) {
            s.profile = static_cast<ProfileId>(p);
            run_one(s, detector, jobs);
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> args(argv + 1, argv + argc);
    if (args.empty() || args[0] == "-h" || args[0] == "--help") {
        std::fputs(kUsage, args.empty() ? stderr : stdout);
        return args.empty() ? 2 : 0;
    }
    try {
        run(parse(args));
    } catch (const ScenarioError& error) {
        std::fprintf(stderr, "sim: error: %s\n", error.what());
        return 2;
    }
    return 0;
}
