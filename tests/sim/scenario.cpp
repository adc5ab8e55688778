#include "tests/sim/scenario.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <nlohmann/json.hpp>

namespace dr::sim {

namespace {

using Json = nlohmann::json;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
    throw ScenarioError(fmt::format("{}: {}", where, what));
}

void only(const Json& object, std::initializer_list<std::string_view> names,
          const std::string& where) {
    if (!object.is_object()) fail(where, "expected an object");
    for (const auto& [key, value] : object.items()) {
        if (std::find(names.begin(), names.end(), key) == names.end()) {
            fail(where, fmt::format("no member '{}'; there are: {}", key, joined(names)));
        }
    }
}

double number(const Json& object, const char* name, double otherwise, double low, double high,
              const std::string& where) {
    if (!object.contains(name)) return otherwise;
    const Json& value = object[name];
    if (!value.is_number() || !(value.get<double>() >= low) || !(value.get<double>() <= high)) {
        fail(where, fmt::format("{}: expected a number from {} to {}", name, low, high));
    }
    return value.get<double>();
}

// A length of time of at most a year, in units of `unit`.
Time span(const Json& object, const char* name, Time unit, const std::string& where) {
    constexpr double kYear = 366.0 * 86400;
    const double most = kYear * static_cast<double>(kSecond) / static_cast<double>(unit);
    return static_cast<Time>(number(object, name, 0, 0, most, where) * static_cast<double>(unit));
}

bool boolean(const Json& object, const char* name, const std::string& where) {
    if (!object.contains(name)) return false;
    if (!object[name].is_boolean()) fail(where, fmt::format("{}: expected true or false", name));
    return object[name].get<bool>();
}

std::string text_of(const Json& object, const char* name, const std::string& where) {
    if (!object.contains(name) || !object[name].is_string()) {
        fail(where, fmt::format("{}: expected a string", name));
    }
    return object[name].get<std::string>();
}

Loss parse_loss(const Json& object, const std::string& where) {
    only(object, {"independent", "good", "bad", "mean_good_s", "mean_bad_s", "exact"}, where);
    Loss loss;
    loss.good = number(object, "independent", 0, 0, 1, where);
    if (!object.contains("bad")) {
        if (object.contains("good") || object.contains("mean_good_s") ||
            object.contains("mean_bad_s")) {
            fail(where, "bursts need 'bad', the loss within them");
        }
        return loss;
    }
    loss.good = number(object, "good", loss.good, 0, 1, where);
    loss.bad = number(object, "bad", 0, 0, 1, where);
    loss.mean_good = span(object, "mean_good_s", kSecond, where);
    loss.mean_bad = span(object, "mean_bad_s", kSecond, where);
    if (loss.mean_good == 0 || loss.mean_bad == 0) {
        fail(where, "mean_good_s and mean_bad_s: expected more than 0");
    }
    loss.exact = boolean(object, "exact", where);
    return loss;
}

std::vector<std::pair<double, Time>> parse_quantiles(const Json& list, const std::string& where) {
    const std::string form = "quantiles: expected [[0, ms], ..., [1, ms]], both rising";
    std::vector<std::pair<double, Time>> result;
    if (!list.is_array() || list.size() < 2) fail(where, form);
    for (const Json& pair : list) {
        if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number() || !pair[1].is_number() ||
            !(pair[1].get<double>() >= 0) || !(pair[1].get<double>() <= 3.6e6)) {
            fail(where, form);
        }
        const auto delay = static_cast<Time>(pair[1].get<double>() * double{kMillisecond});
        const bool rising = result.empty() || (pair[0].get<double>() > result.back().first &&
                                               delay >= result.back().second);
        if (!rising) fail(where, form);
        result.emplace_back(pair[0].get<double>(), delay);
    }
    if (result.front().first != 0 || result.back().first != 1) fail(where, form);
    return result;
}

Delay parse_delay(const Json& object, const std::string& where,
                  const std::filesystem::path& folder) {
    only(object, {"fixed_ms", "quantiles", "hold_ms", "trace"}, where);
    const bool many =
        object.contains("fixed_ms") + object.contains("quantiles") + object.contains("trace") != 1;
    if (many) fail(where, "expected one of fixed_ms, quantiles, trace");
    Delay delay;
    delay.fixed = span(object, "fixed_ms", kMillisecond, where);
    delay.hold = span(object, "hold_ms", kMillisecond, where);
    if (object.contains("quantiles")) {
        delay.quantiles = parse_quantiles(object["quantiles"], where);
    } else if (object.contains("hold_ms")) {
        fail(where, "hold_ms goes with quantiles");
    }
    if (object.contains("trace")) {
        delay.trace = std::make_shared<Trace>(
            load_trace((folder / text_of(object, "trace", where)).string()));
    }
    return delay;
}

Direction parse_direction(const Json& object, const std::string& where) {
    if (!object.contains("direction")) return Direction::Both;
    const std::string name = text_of(object, "direction", where);
    if (name == "both") return Direction::Both;
    if (name == "to-ur") return Direction::ToUr;
    if (name == "to-dr") return Direction::ToDr;
    fail(where, "direction: expected both, to-ur or to-dr");
}

Cuts parse_cuts(const Json& object, const std::string& where) {
    only(object, {"from_s", "every_s", "for_s", "spread_s", "until_s", "direction"}, where);
    Cuts cuts;
    cuts.from = span(object, "from_s", kSecond, where);
    cuts.every = span(object, "every_s", kSecond, where);
    cuts.length = span(object, "for_s", kSecond, where);
    cuts.spread = span(object, "spread_s", kSecond, where);
    if (object.contains("until_s")) cuts.until = span(object, "until_s", kSecond, where);
    cuts.direction = parse_direction(object, where);
    if (cuts.length == 0) fail(where, "for_s: expected more than 0");
    if (cuts.every != 0 && cuts.length + cuts.spread >= cuts.every) {
        fail(where, "every_s: expected more than for_s and spread_s together");
    }
    return cuts;
}

Line parse_line(const Json& object, const std::string& where, const std::filesystem::path& folder) {
    only(object, {"loss", "delay", "reorders", "cuts"}, where);
    Line line;
    if (object.contains("loss")) line.loss = parse_loss(object["loss"], where + ".loss");
    if (object.contains("delay")) {
        line.delay = parse_delay(object["delay"], where + ".delay", folder);
    }
    line.reorders = boolean(object, "reorders", where);
    if (!object.contains("cuts")) return line;
    if (!object["cuts"].is_array()) fail(where, "cuts: expected a list");
    for (const Json& cuts : object["cuts"]) line.cuts.push_back(parse_cuts(cuts, where + ".cuts"));
    return line;
}

void parse_lines(const Json& root, Scenario& s, const std::string& where,
                 const std::filesystem::path& folder) {
    if (!root.contains("lines") || !root["lines"].is_array() || root["lines"].empty() ||
        root["lines"].size() > liveness::kLines) {
        fail(where, fmt::format("lines: expected a list of 1 to {}", liveness::kLines));
    }
    for (const Json& line : root["lines"]) {
        s.lines.push_back(
            parse_line(line, fmt::format("{}: lines[{}]", where, s.lines.size()), folder));
    }
}

}  // namespace

ProfileId parse_profile(const std::string& name) {
    std::vector<std::string_view> names;
    for (std::size_t i = 0; i < liveness::kProfiles.size(); ++i) {
        if (liveness::kProfiles[i].name == name) return static_cast<ProfileId>(i);
        names.push_back(liveness::kProfiles[i].name);
    }
    fail("profile", fmt::format("'{}' is none; there are: {}", name, joined(names)));
}

Scenario parse_scenario(const std::string& text, const std::string& name) {
    const Json root = Json::parse(text, nullptr, false, true);
    if (root.is_discarded()) fail(name, "is not JSON");
    only(root,
         {"about", "profile", "tunnels", "hours", "seed", "restore_s", "warmup_minutes",
          "detectors", "lines"},
         name);
    Scenario s;
    s.name = std::filesystem::path(name).stem().string();
    s.profile = parse_profile(text_of(root, "profile", name));
    s.tunnels = static_cast<unsigned>(number(root, "tunnels", 100, 1, 1e6, name));
    s.hours = number(root, "hours", 1, 0.001, 8784, name);
    s.seed = static_cast<std::uint64_t>(number(root, "seed", 1, 0, 9e15, name));
    s.restore_s = static_cast<unsigned>(number(root, "restore_s", 60, 0, 86400, name));
    s.warmup = span(root, "warmup_minutes", 60 * kSecond, name);
    if (root.contains("detectors")) {
        if (!root["detectors"].is_array()) fail(name, "detectors: expected a list of names");
        for (const Json& d : root["detectors"]) {
            if (!d.is_string()) fail(name, "detectors: expected a list of names");
            s.detectors.push_back(d.get<std::string>());
        }
    }
    parse_lines(root, s, name, std::filesystem::path(name).parent_path());
    return s;
}

Scenario load_scenario(const std::string& path) {
    return parse_scenario(read_file(path), path);
}

}  // namespace dr::sim
