#include "ur/config.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/printable.h"
#include "base/unicast.h"
#include "dataplane/wire/flow_hash.h"
#include "ur/json_reader.h"

namespace dr::ur {

namespace {

using nlohmann::json;
using Errors = std::vector<std::string>;

std::string join(const Errors& messages) {
    std::string out;
    for (const auto& m : messages) out += (out.empty() ? "" : "\n") + m;
    return out;
}

void check_line_name(JsonObject& object, const std::string& name) {
    if (name.empty())
        object.error("line", "is missing; must be a line's name");
    else if (!is_name(name, kMaxLineName))
        object.error("line",
                     quoted(name) + " is no name of a line; it is [a-z0-9][a-z0-9.-]{0,30}");
}

void read_prefixes(JsonObject& root, Config& config, Errors& errors) {
    for (const auto& [value, path] : root.list("prefixes")) {
        const auto prefix =
            value->is_string() ? parse_prefix(value->get_ref<const std::string&>()) : std::nullopt;
        if (!prefix) {
            errors.push_back(path + ": " + shown(*value) +
                             " is not a prefix; must be like \"203.0.113.8/29\" or "
                             "\"2001:db8:5000::/48\", with no host bits set");
            continue;
        }
        if (const std::string wrong = check_prefix(*prefix); !wrong.empty())
            errors.push_back(path + ": " + wrong);
        for (const auto& other : config.prefixes)
            if (prefix->overlaps(other))
                errors.push_back(path + ": " + to_string(*prefix) + " overlaps " +
                                 to_string(other) + "; keep one of them");
        config.prefixes.push_back(*prefix);
    }
    if (config.prefixes.empty() && errors.empty())
        root.error("prefixes", "is empty; must name the site's prefixes, 1 to 64");
    if (config.prefixes.size() > kMaxPrefixes)
        root.error("prefixes", "has " + std::to_string(config.prefixes.size()) +
                                   " prefixes; must be at most " + std::to_string(kMaxPrefixes));
}

WeightedLine read_line(const json& value, const std::string& path, Config& config, Errors& errors) {
    JsonObject object(value, path, errors);
    const std::string name = object.text("line");
    check_line_name(object, name);
    const auto weight = object.number("weight", 255);
    object.finish();
    const unsigned number = name.empty() ? 0 : line_number(config, name);
    return {static_cast<std::uint8_t>(number),
            static_cast<std::uint8_t>(std::max<std::uint64_t>(weight, 1))};
}

Class read_class(const json& value, const std::string& path, Config& config, Errors& errors) {
    JsonObject object(value, path, errors);
    Class klass;
    Tiers& tiers = klass.tiers;
    object.text("name");
    const auto limit = [&](const char* name, std::uint16_t most) {
        return static_cast<std::uint16_t>(object.number(name, most));
    };
    klass.max_loss_permille = limit("max_loss_permille", kMaxLossPermille);
    klass.max_rtt_ms = limit("max_rtt_ms", kMaxDelayMs);
    klass.max_jitter_ms = limit("max_jitter_ms", kMaxDelayMs);
    klass.strict = object.truth("strict");
    for (const auto& [tier, tier_path] : object.list("tiers")) {
        JsonObject reader(*tier, tier_path, errors);
        auto& lines = tiers.emplace_back();
        for (const auto& [line, line_path] : reader.list("lines")) {
            const WeightedLine entry = read_line(*line, line_path, config, errors);
            for (const auto& earlier : tiers)
                for (const auto& used : earlier)
                    if (used.line == entry.line)
                        errors.push_back(line_path +
                                         ".line: stands twice in this class; a line "
                                         "belongs to one tier");
            lines.push_back(entry);
        }
        if (lines.empty()) reader.error("lines", "is empty; a tier needs at least one line");
        reader.finish();
    }
    if (tiers.empty()) object.error("tiers", "is empty; a class needs at least one tier");
    object.finish();
    return klass;
}

void read_line_numbers(JsonObject& policy, Config& config, Errors& errors) {
    for (const auto& [entry, path] : policy.list("line_numbers")) {
        JsonObject object(*entry, path, errors);
        const std::string line = object.text("line");
        const auto number = object.number("number", UINT32_MAX);
        if (!line.empty()) check_line_name(object, line);
        object.finish();
        const std::string wrong = set_line_number(config, line, number);
        if (!wrong.empty()) errors.push_back(path + ": " + wrong);
    }
}

void read_policy(JsonObject& root, Config& config, Errors& errors) {
    const auto* value = root.find("policy");
    if (value == nullptr) return root.error("policy", "is missing; must be the site's policy");
    JsonObject object(*value, root.at("policy"), errors);
    object.text("name");
    object.number("revision", UINT64_MAX);
    // Without keepalives nothing ever waits to be restored.
    object.number("wait_to_restore_s", UINT32_MAX);
    read_line_numbers(object, config, errors);
    for (const auto& [entry, path] : object.list("classes"))
        config.classes.push_back(read_class(*entry, path, config, errors));
    if (config.classes.empty())
        object.error("classes", "is empty; a policy needs at least one class");
    if (config.classes.size() > kMaxClasses)
        object.error("classes", "has " + std::to_string(config.classes.size()) +
                                    " classes; must be at most " + std::to_string(kMaxClasses));
    if (config.lines.size() > kMaxLines)
        object.error("classes", "names " + std::to_string(config.lines.size()) +
                                    " lines; must be at most " + std::to_string(kMaxLines));
    object.finish();
}

void read_encapsulation(JsonObject& object, Tunnel& t) {
    const auto* value = object.find("encapsulation");
    const auto is = [value](const char* name, int number) {
        return value != nullptr && (*value == name || *value == number);
    };
    if (is("GRE", 1)) return;
    t.automatic = is("AUTO", 3);
    t.udp = t.automatic || is("GRE_UDP", 2);
    if (t.udp) return;
    object.error("encapsulation", (value == nullptr ? "is missing" : "is " + shown(*value)) +
                                      "; must be \"GRE\", \"GRE_UDP\" or \"AUTO\"");
}

IpAddress read_address(JsonObject& object, const std::string& name, bool required) {
    const std::string text = object.text(name);
    const auto address = parse_address(text);
    if (text.empty()) {
        if (required) object.error(name, "is missing; must be an IPv4 or IPv6 address");
    } else if (!address) {
        object.error(name, "\"" + text +
                               "\" is not an address; must be like \"192.0.2.1\" or "
                               "\"2001:db8::1\"");
    }
    return address.value_or(IpAddress{});
}

std::uint16_t default_mtu(const Tunnel& t) {
    return static_cast<std::uint16_t>(kEthernetMtu - outer_overhead(t.remote.family, t.udp));
}

void read_tunnel(const json& value, const std::string& path, Config& config, Errors& errors) {
    JsonObject object(value, path, errors);
    Tunnel t;
    t.line = object.text("line");
    check_line_name(object, t.line);
    t.device = object.text("device");
    read_encapsulation(object, t);
    t.local = read_address(object, "local", false);
    t.remote = read_address(object, "remote", true);
    t.id = static_cast<std::uint32_t>(object.number("id", UINT32_MAX));
    t.local_port = static_cast<std::uint16_t>(object.number("local_port", UINT16_MAX));
    const auto mtu = object.number("mtu", UINT16_MAX);
    t.mtu = mtu == 0 ? default_mtu(t) : static_cast<std::uint16_t>(mtu);
    object.finish();
    check_tunnel(t, config, [&object](const char* field, const std::string& what) {
        object.error(field, what);
    });
    t.number = line_number(config, t.line);
    t.slot = t.number;
    config.tunnels.push_back(std::move(t));
}

void read_tunnels(JsonObject& root, Config& config, Errors& errors) {
    for (const auto& [value, path] : root.list("tunnels"))
        read_tunnel(*value, path, config, errors);
    if (config.tunnels.empty()) root.error("tunnels", "is empty; needs at least one tunnel");
    if (config.tunnels.size() > kMaxLines)
        root.error("tunnels", "has " + std::to_string(config.tunnels.size()) +
                                  " tunnels; must be at most " + std::to_string(kMaxLines));
}

// A file may be of any length; what is said of it is not.
std::vector<std::string> all_printable(std::vector<std::string> messages) {
    constexpr std::size_t kMost = 50;
    constexpr std::size_t kMostBytes = 1000;
    const std::size_t count = messages.size();
    if (count > kMost) {
        messages.resize(kMost);
        messages.push_back("and " + std::to_string(count - kMost) + " more");
    }
    for (auto& message : messages) message = dr::shown(message, kMostBytes);
    return messages;
}

}  // namespace

bool is_name(const std::string& text, std::size_t most) {
    const auto alphanumeric = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    };
    return !text.empty() && text.size() <= most && alphanumeric(text.front()) &&
           std::all_of(text.begin(), text.end(),
                       [&](char c) { return alphanumeric(c) || c == '.' || c == '-'; });
}

std::string quoted(const std::string& text) {
    constexpr std::size_t kMost = 64;
    std::string out(1, '"');
    out.append(text, 0, kMost);
    out += text.size() > kMost ? "...\"" : "\"";
    return out;
}

std::string check_prefix(const IpPrefix& prefix) {
    const auto block = reserved_block(prefix);
    if (!block.empty())
        return to_string(prefix) + " overlaps " + std::string(block) +
               "; a site's prefix is of addresses that can be routed";
    const unsigned least = prefix.address.family == 4 ? kShortestPrefix4 : kShortestPrefix6;
    if (prefix.length < least)
        return to_string(prefix) + " is too large; a site's prefix is at least /" +
               std::to_string(least);
    return {};
}

unsigned line_number(Config& config, const std::string& name) {
    auto it = std::find(config.lines.begin(), config.lines.end(), name);
    if (it == config.lines.end()) {
        it = std::find(config.lines.begin(), config.lines.end(), std::string());
        if (it == config.lines.end()) it = config.lines.emplace(it);
        *it = name;
    }
    return static_cast<unsigned>(it - config.lines.begin());
}

std::string set_line_number(Config& config, const std::string& name, std::uint64_t number) {
    if (name.empty()) return "has no line";
    if (number >= kMaxLines)
        return "line " + name + " has number " + std::to_string(number) + "; must be at most " +
               std::to_string(kMaxLines - 1);
    if (std::find(config.lines.begin(), config.lines.end(), name) != config.lines.end())
        return "line " + name + " stands twice";
    if (config.lines.size() <= number) config.lines.resize(number + 1);
    std::string& at = config.lines[number];
    if (!at.empty()) return "lines " + at + " and " + name + " have the same number";
    at = name;
    return {};
}

void check_tunnel(const Tunnel& t, const Config& config,
                  const std::function<void(const char*, const std::string&)>& complain) {
    if (t.id == 0) complain("id", "is missing; must be the tunnel's GRE key, not 0");
    if (!t.udp && t.local_port != 0)
        complain("local_port", "is for GRE_UDP and AUTO only; remove it or set encapsulation");
    if (t.local.family != 0 && t.remote.family != 0 && t.local.family != t.remote.family)
        complain("local", to_string(t.local) + " is not of the family of remote " +
                              to_string(t.remote) + "; both must be IPv4 or both IPv6");
    if (t.mtu < kMinMtu || t.mtu > kMaxMtu)
        complain("mtu", "is " + std::to_string(t.mtu) +
                            "; must be 1280 to 9000, or absent for a path of 1500");
    for (const auto* end : {&t.local, &t.remote}) {
        if (end->family == 0) continue;
        const auto why = not_unicast(*end);
        if (!why.empty())
            complain(end == &t.local ? "local" : "remote",
                     to_string(*end) + " is " + std::string(why) +
                         "; the end of a tunnel is a unicast address");
    }
    for (const auto& prefix : config.prefixes) {
        for (const auto* end : {&t.local, &t.remote})
            if (prefix.contains(*end))
                complain(end == &t.local ? "local" : "remote",
                         to_string(*end) + " is inside the site's prefix " + to_string(prefix) +
                             "; a tunnel's ends must lie outside");
    }
    for (const auto& other : config.tunnels) {
        if (other.line == t.line)
            complain("line", "\"" + t.line + "\" has a tunnel already; one tunnel for a line");
        if (other.id == t.id && other.remote == t.remote)
            complain("id", std::to_string(t.id) + " is also the id of line \"" + other.line +
                               "\"; ids of one DR address must differ");
    }
}

ConfigError::ConfigError(std::vector<std::string> messages)
    : std::runtime_error(join(all_printable(messages))),
      messages_(all_printable(std::move(messages))) {}

std::uint16_t Config::mtu() const {
    std::uint16_t least = tunnels.empty() ? kMinMtu : kMaxMtu;
    for (const auto& t : tunnels) least = std::min(least, t.mtu);
    return least;
}

unsigned Config::outer_mtu() const {
    unsigned most = kEthernetMtu;
    for (const auto& t : tunnels)
        most = std::max(most, t.mtu + outer_overhead(t.remote.family, t.udp));
    return most;
}

Config parse_config(const std::string& text) {
    json value;
    try {
        value = json::parse(text);
    } catch (const json::exception& e) {  // a number beyond all bounds is no parse_error
        throw ConfigError({std::string("not JSON: ") + e.what()});
    }
    Errors errors;
    Config config;
    JsonObject root(value, "", errors);
    config.subscriber = root.text("subscriber");
    read_prefixes(root, config, errors);
    read_policy(root, config, errors);
    read_tunnels(root, config, errors);
    // drd writes the seed itself; protobuf-JSON leaves it out when it is 0.
    config.seed = static_cast<std::uint32_t>(root.number("hash_seed", UINT32_MAX));
    root.finish();
    if (!errors.empty()) throw ConfigError(std::move(errors));
    return config;
}

void assign_devices(Config& config, const std::map<std::string, std::string>& devices) {
    Errors errors;
    for (const auto& [line, device] : devices) {
        bool used = false;
        for (auto& t : config.tunnels) {
            if (t.line != line) continue;
            t.device = device;
            used = true;
        }
        if (!used)
            errors.push_back("--line " + line + "=" + device +
                             ": no tunnel has this line; must be one of the configuration's");
    }
    for (std::size_t i = 0; i < config.tunnels.size(); ++i)
        if (config.tunnels[i].device.empty())
            errors.push_back("tunnels[" + std::to_string(i) + "].device: is missing; name the " +
                             "line's device there or with --line " + config.tunnels[i].line +
                             "=DEVICE");
    if (!errors.empty()) throw ConfigError(std::move(errors));
}

}  // namespace dr::ur
