#include "tests/linkem/settings.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

namespace dr::linkem {
namespace {

using nlohmann::json;

constexpr double kNanosecondsPerMillisecond = 1e6;
constexpr double kMostMilliseconds = 3'600'000;

[[noreturn]] void refuse(const std::string& where, const std::string& what) {
    throw SettingsError(where + ": " + what);
}

double number(const json& object, const char* name, const std::string& where, double least,
              double most) {
    if (!object.contains(name)) refuse(where, std::string("needs \"") + name + "\"");
    const json& value = object[name];
    const bool good =
        value.is_number() && value.get<double>() >= least && value.get<double>() <= most;
    if (!good)
        refuse(where + "." + name, "must be a number from " + json(least).dump() + " to " +
                                       json(most).dump() + ", not " + value.dump());
    return value.get<double>();
}

double number_or(const json& object, const char* name, const std::string& where, double least,
                 double most, double otherwise) {
    return object.contains(name) ? number(object, name, where, least, most) : otherwise;
}

bool boolean_or(const json& object, const char* name, const std::string& where, bool otherwise) {
    if (!object.contains(name)) return otherwise;
    if (!object[name].is_boolean()) refuse(where + "." + name, "must be true or false");
    return object[name].get<bool>();
}

std::string string_of(const json& object, const char* name, const std::string& where) {
    if (!object.contains(name) || !object[name].is_string())
        refuse(where, std::string("needs the string \"") + name + "\"");
    return object[name].get<std::string>();
}

Nanoseconds nanoseconds(double milliseconds) {
    return std::llround(milliseconds * kNanosecondsPerMillisecond);
}

Nanoseconds milliseconds(const json& object, const char* name, const std::string& where) {
    return nanoseconds(number(object, name, where, 0, kMostMilliseconds));
}

double in_milliseconds(Nanoseconds time) {
    return static_cast<double>(time) / kNanosecondsPerMillisecond;
}

std::shared_ptr<const std::vector<Nanoseconds>> read_trace(const std::string& path) {
    std::ifstream file(path);
    if (!file) refuse("delay.file", "cannot read " + path);
    auto values = std::make_shared<std::vector<Nanoseconds>>();
    std::string line;
    for (std::size_t at = 1; std::getline(file, line); ++at) {
        line.resize(std::min(line.find('#'), line.size()));
        if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
        std::size_t end = 0;
        double value = -1;
        try {
            value = std::stod(line, &end);
        } catch (const std::exception&) {
        }
        if (!(value >= 0 && value <= kMostMilliseconds) ||
            line.find_first_not_of(" \t\r", end) != std::string::npos)
            refuse("delay.file",
                   path + " line " + std::to_string(at) + ": must be one delay in milliseconds");
        values->push_back(nanoseconds(value));
    }
    if (values->empty()) refuse("delay.file", path + " holds no delay");
    return values;
}

Delay delay_of(const json& object) {
    const std::string where = "delay";
    Delay d;
    if (object.is_number()) {
        d.first = milliseconds(json{{"delay", object}}, "delay", "impairments");
        return d;
    }
    if (!object.is_object()) refuse(where, "must be milliseconds, or an object with \"kind\"");
    const auto kind = string_of(object, "kind", where);
    if (kind == "fixed") {
        only_members(object, where, {"kind", "ms"});
        d.first = milliseconds(object, "ms", where);
    } else if (kind == "uniform") {
        only_members(object, where, {"kind", "min_ms", "max_ms"});
        d.kind = Delay::Kind::Uniform;
        d.first = milliseconds(object, "min_ms", where);
        d.second = milliseconds(object, "max_ms", where);
        if (d.second < d.first) refuse(where, "max_ms is less than min_ms");
    } else if (kind == "normal") {
        only_members(object, where, {"kind", "mean_ms", "sigma_ms", "cap_ms"});
        d.kind = Delay::Kind::Normal;
        d.first = milliseconds(object, "mean_ms", where);
        d.second = milliseconds(object, "sigma_ms", where);
    } else if (kind == "lognormal") {
        only_members(object, where, {"kind", "median_ms", "sigma", "cap_ms"});
        d.kind = Delay::Kind::Lognormal;
        d.first = milliseconds(object, "median_ms", where);
        d.spread = number(object, "sigma", where, 0, 10);
    } else if (kind == "trace") {
        only_members(object, where, {"kind", "file", "interval_ms", "cap_ms"});
        d.kind = Delay::Kind::Trace;
        d.trace = read_trace(string_of(object, "file", where));
        if (object.contains("interval_ms"))
            d.trace_interval =
                nanoseconds(number(object, "interval_ms", where, 0.001, kMostMilliseconds));
    } else {
        refuse("delay.kind", "must be fixed, uniform, normal, lognormal or trace, not " + kind);
    }
    if (object.contains("cap_ms")) d.most = milliseconds(object, "cap_ms", where);
    return d;
}

json delay_json(const Delay& d) {
    json j;
    switch (d.kind) {
        case Delay::Kind::Fixed:
            return {{"kind", "fixed"}, {"ms", in_milliseconds(d.first)}};
        case Delay::Kind::Uniform:
            return {{"kind", "uniform"},
                    {"min_ms", in_milliseconds(d.first)},
                    {"max_ms", in_milliseconds(d.second)}};
        case Delay::Kind::Normal:
            j = {{"kind", "normal"},
                 {"mean_ms", in_milliseconds(d.first)},
                 {"sigma_ms", in_milliseconds(d.second)}};
            break;
        case Delay::Kind::Lognormal:
            j = {{"kind", "lognormal"},
                 {"median_ms", in_milliseconds(d.first)},
                 {"sigma", d.spread}};
            break;
        case Delay::Kind::Trace:
            j = {{"kind", "trace"}, {"values", d.trace->size()}};
            if (d.trace_interval > 0) j["interval_ms"] = in_milliseconds(d.trace_interval);
            break;
    }
    if (d.most) j["cap_ms"] = in_milliseconds(*d.most);
    return j;
}

GilbertElliott gilbert_elliott_of(const json& object) {
    const std::string where = "gilbert_elliott";
    only_members(object, where, {"enter", "leave", "loss_good", "loss_bad"});
    return {.enter = number(object, "enter", where, 0, 1),
            .leave = number(object, "leave", where, 0, 1),
            .loss_good = number_or(object, "loss_good", where, 0, 1, 0),
            .loss_bad = number_or(object, "loss_bad", where, 0, 1, 1)};
}

Rate rate_of(const json& object) {
    only_members(object, "rate", {"bit_s", "queue_bytes"});
    return {
        .bits_per_second = static_cast<std::uint64_t>(number(object, "bit_s", "rate", 1000, 1e12)),
        .queue_bytes = static_cast<std::uint64_t>(number(object, "queue_bytes", "rate", 0, 1e12))};
}

Reorder reorder_of(const json& object) {
    only_members(object, "reorder", {"probability", "hold_ms"});
    return {.probability = number(object, "probability", "reorder", 0, 1),
            .hold = milliseconds(object, "hold_ms", "reorder")};
}

Mtu mtu_of(const json& object) {
    only_members(object, "mtu", {"bytes", "icmp", "ignore_df"});
    return {.bytes = static_cast<std::uint32_t>(number(object, "bytes", "mtu", 68, 65535)),
            .icmp = boolean_or(object, "icmp", "mtu", true),
            .ignore_df = boolean_or(object, "ignore_df", "mtu", false)};
}

Cut cut_of(const json& value) {
    if (value == false) return Cut::None;
    if (value == true) return Cut::Path;
    if (value == "all") return Cut::All;
    refuse("cut", "must be true, false or \"all\", not " + value.dump());
}

BlackHole black_hole_of(const json& value) {
    if (value == "keepalives") return BlackHole::Keepalives;
    if (value == "data") return BlackHole::Data;
    refuse("black_hole", "must be \"keepalives\", \"data\" or null, not " + value.dump());
}

using Setter = void (*)(Impairments&, const json& value, const Impairments& defaults);

// How each member is read; `defaults` when it is null.
const std::map<std::string, Setter>& setters() {
    static const std::map<std::string, Setter> table{
        {"delay", [](auto& i, auto& v, auto& d) { i.delay = v.is_null() ? d.delay : delay_of(v); }},
        {"jitter_ms",
         [](auto& i, auto& v, auto&) {
             i.jitter =
                 v.is_null() ? 0 : milliseconds(json{{"jitter_ms", v}}, "jitter_ms", "impairments");
         }},
        {"keep_order",
         [](auto& i, auto& v, auto& d) {
             i.keep_order = v.is_null() ? d.keep_order
                                        : boolean_or(json{{"keep_order", v}}, "keep_order",
                                                     "impairments", d.keep_order);
         }},
        {"reorder",
         [](auto& i, auto& v, auto& d) { i.reorder = v.is_null() ? d.reorder : reorder_of(v); }},
        {"loss",
         [](auto& i, auto& v, auto&) {
             i.loss = v.is_null() ? 0 : number(json{{"loss", v}}, "loss", "impairments", 0, 1);
         }},
        {"gilbert_elliott",
         [](auto& i, auto& v, auto& d) {
             i.gilbert_elliott = v.is_null() ? d.gilbert_elliott : gilbert_elliott_of(v);
         }},
        {"rate", [](auto& i, auto& v, auto& d) { i.rate = v.is_null() ? d.rate : rate_of(v); }},
        {"mtu", [](auto& i, auto& v, auto& d) { i.mtu = v.is_null() ? d.mtu : mtu_of(v); }},
        {"cut", [](auto& i, auto& v, auto& d) { i.cut = v.is_null() ? d.cut : cut_of(v); }},
        {"black_hole",
         [](auto& i, auto& v, auto& d) {
             i.black_hole = v.is_null() ? d.black_hole : black_hole_of(v);
         }},
        {"duplicate",
         [](auto& i, auto& v, auto&) {
             i.duplicate =
                 v.is_null() ? 0 : number(json{{"duplicate", v}}, "duplicate", "impairments", 0, 1);
         }},
    };
    return table;
}

}  // namespace

void only_members(const json& object, const std::string& where,
                  std::initializer_list<const char*> names) {
    if (!object.is_object()) refuse(where, "must be an object, not " + object.dump());
    for (const auto& [name, value] : object.items()) {
        if (std::find(names.begin(), names.end(), name) != names.end()) continue;
        std::string known;
        for (const char* each : names) known += std::string(known.empty() ? "" : ", ") + each;
        refuse(where, "has no member \"" + name + "\"; there are: " + known);
    }
}

Impairments merge(const Impairments& old, const json& object) {
    if (!object.is_object()) refuse("impairments", "must be an object, not " + object.dump());
    static const Impairments defaults;
    Impairments result = old;
    for (const auto& [name, value] : object.items()) {
        const auto setter = setters().find(name);
        if (setter == setters().end()) {
            std::string known;
            for (const auto& each : setters()) known += " " + each.first;
            refuse("impairments", "there is no \"" + name + "\"; there are:" + known);
        }
        setter->second(result, value, defaults);
    }
    return result;
}

json to_json(const Impairments& i) {
    json j = json::object();
    if (i.delay.kind != Delay::Kind::Fixed || i.delay.first != 0) j["delay"] = delay_json(i.delay);
    if (i.jitter != 0) j["jitter_ms"] = in_milliseconds(i.jitter);
    if (!i.keep_order) j["keep_order"] = false;
    if (i.reorder)
        j["reorder"] = {{"probability", i.reorder->probability},
                        {"hold_ms", in_milliseconds(i.reorder->hold)}};
    if (i.loss != 0) j["loss"] = i.loss;
    if (i.gilbert_elliott)
        j["gilbert_elliott"] = {{"enter", i.gilbert_elliott->enter},
                                {"leave", i.gilbert_elliott->leave},
                                {"loss_good", i.gilbert_elliott->loss_good},
                                {"loss_bad", i.gilbert_elliott->loss_bad}};
    if (i.rate)
        j["rate"] = {{"bit_s", i.rate->bits_per_second}, {"queue_bytes", i.rate->queue_bytes}};
    if (i.mtu) {
        j["mtu"] = {{"bytes", i.mtu->bytes}, {"icmp", i.mtu->icmp}};
        if (i.mtu->ignore_df) j["mtu"]["ignore_df"] = true;
    }
    if (i.cut == Cut::Path) j["cut"] = true;
    if (i.cut == Cut::All) j["cut"] = "all";
    if (i.black_hole == BlackHole::Keepalives) j["black_hole"] = "keepalives";
    if (i.black_hole == BlackHole::Data) j["black_hole"] = "data";
    if (i.duplicate != 0) j["duplicate"] = i.duplicate;
    return j;
}

NatSettings nat_settings(const json& object) {
    const std::string where = "nat";
    only_members(object, where, {"inside", "outside", "first_port", "symmetric", "gre"});
    NatSettings s;
    try {
        s.inside = Address::parse(string_of(object, "inside", where));
        s.outside = object.contains("outside") ? Address::parse(string_of(object, "outside", where))
                                               : s.inside;
    } catch (const std::invalid_argument& error) {
        refuse(where, error.what());
    }
    if (s.inside.family != s.outside.family)
        refuse(where, "inside and outside are of two families");
    s.first_port = static_cast<std::uint16_t>(
        number_or(object, "first_port", where, 1024, 65535, s.first_port));
    s.symmetric = boolean_or(object, "symmetric", where, false);
    s.gre = boolean_or(object, "gre", where, true);
    return s;
}

json to_json(const Nat& nat) {
    const auto& s = nat.settings();
    return {{"inside", s.inside.text()},
            {"outside", s.outside.text()},
            {"first_port", s.first_port},
            {"symmetric", s.symmetric},
            {"gre", s.gre},
            {"mappings", nat.mappings()}};
}

}  // namespace dr::linkem
