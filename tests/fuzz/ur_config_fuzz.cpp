// The configuration of a UR that comes as a file: protobuf-JSON.
//
// What is refused is refused by ConfigError, and each message begins with a place, but for the last
// of many, which counts the rest. What is accepted
// is within all bounds, is read the same again after it was written, and fits the memory that the
// programs read it from.
#include <memory>
#include <nlohmann/json.hpp>
#include <set>

#include "base/printable.h"
#include "base/unicast.h"
#include "tests/fuzz/fuzz.h"
#include "ur/config_file.h"
#include "ur/site.h"

using namespace dr;
using namespace dr::ur;
using fuzz::require;
using nlohmann::json;

namespace {

json written(const Class& klass, const Config& config) {
    json out{{"tiers", json::array()}, {"strict", klass.strict}};
    out["maxLossPermille"] = klass.max_loss_permille;
    out["maxRttMs"] = klass.max_rtt_ms;
    out["maxJitterMs"] = klass.max_jitter_ms;
    for (const auto& tier : klass.tiers) {
        json lines = json::array();
        for (const auto& line : tier)
            lines.push_back({{"line", config.lines.at(line.line)}, {"weight", line.weight}});
        out["tiers"].push_back({{"lines", lines}});
    }
    return out;
}

json written(const Tunnel& t) {
    json out{{"line", t.line}, {"device", t.device}, {"id", t.id}, {"mtu", t.mtu}};
    out["encapsulation"] = t.automatic ? "AUTO" : t.udp ? "GRE_UDP" : "GRE";
    if (t.local.family != 0) out["local"] = to_string(t.local);
    out["remote"] = to_string(t.remote);
    out["localPort"] = t.local_port;
    return out;
}

json written(const Config& config) {
    json out{{"subscriber", config.subscriber}, {"hashSeed", config.seed}};
    for (const auto& prefix : config.prefixes) out["prefixes"].push_back(to_string(prefix));
    json& policy = out["policy"];
    for (std::size_t n = 0; n < config.lines.size(); ++n)
        if (!config.lines[n].empty())
            policy["lineNumbers"].push_back({{"line", config.lines[n]}, {"number", n}});
    for (const auto& klass : config.classes) policy["classes"].push_back(written(klass, config));
    for (const auto& tunnel : config.tunnels) out["tunnels"].push_back(written(tunnel));
    return out;
}

void check_bounds(const Config& config) {
    require(!config.prefixes.empty() && config.prefixes.size() <= kMaxPrefixes, "prefixes");
    require(!config.classes.empty() && config.classes.size() <= kMaxClasses, "classes");
    require(!config.tunnels.empty() && config.tunnels.size() <= kMaxLines, "tunnels");
    for (const auto& prefix : config.prefixes)
        require(reserved_block(prefix).empty() && prefix.length >= 8,
                "a prefix that nobody can have");
    std::set<unsigned> numbers;
    std::set<unsigned> slots;
    for (const auto& t : config.tunnels) {
        for (const auto* end : {&t.local, &t.remote})
            require(end->family == 0 || not_unicast(*end).empty(), "an end");
        require(is_name(t.line, kMaxLineName), "a line's name");
        require(t.number < UR_SLOTS && t.slot < UR_SLOTS, "a tunnel's place");
        require(numbers.insert(t.number).second && slots.insert(t.slot).second,
                "two tunnels in one place");
        require(t.id != 0 && t.mtu >= kMinMtu && t.mtu <= kMaxMtu && t.remote.family != 0,
                "a tunnel");
    }
    for (const auto& klass : config.classes)
        for (const auto& tier : klass.tiers) {
            require(!tier.empty(), "an empty tier");
            for (const auto& line : tier)
                require(line.line < kMaxLines && line.weight != 0, "a line of a tier");
        }
}

void check_accepted(const Config& config) {
    check_bounds(config);
    const json text = written(config);
    try {
        const json again = written(parse_config(text.dump()));
        require(again == text, "read again: " + again.dump() + " of " + text.dump());
    } catch (const ConfigError& e) {
        fuzz::give_up(std::string("not read again: ") + e.what() + "\n" + text.dump());
    }
    const auto site = std::make_unique<ur_site>();
    fill_site(config, *site);
    publish_buckets(plan_buckets(config, everywhere(0xffff)), *site);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    try {
        check_accepted(parse_config(text));
    } catch (const ConfigError& e) {
        require(!e.messages().empty(), "refused without a word");
        for (const auto& message : e.messages()) {
            const bool last = &message == &e.messages().back();
            if (last && message.starts_with("and ") && message.ends_with(" more")) continue;
            require(message.find(": ") != std::string::npos && message == printable(message),
                    "no place, or not to be shown, in: " + message);
        }
    }
    return 0;
}
