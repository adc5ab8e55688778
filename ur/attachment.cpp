#include "ur/attachment.h"

#include <algorithm>
#include <cstring>

namespace dr::ur {

namespace {

using Errors = std::vector<std::string>;

std::string place(const char* list, int index, const char* field) {
    return std::string(list) + "[" + std::to_string(index) + "]" +
           (*field == '\0' ? "" : std::string(".") + field) + ": ";
}

// A name that is none is not repeated in further messages: it may be long.
bool check_name(const std::string& name, const char* what, Errors& errors) {
    const bool good = is_name(name, kMaxLineName);
    if (!good)
        errors.push_back(std::string("policy: ") + quoted(name) + " is no name of a " + what +
                         "; it is [a-z0-9][a-z0-9.-]{0,30}");
    return good;
}

void read_prefixes(const v1::Attachment& attachment, Config& config, Errors& errors) {
    if (attachment.prefixes_size() > static_cast<int>(kMaxPrefixes)) {
        errors.push_back("prefixes: " + std::to_string(attachment.prefixes_size()) +
                         " of them; must be 1 to " + std::to_string(kMaxPrefixes));
        return;
    }
    for (int i = 0; i < attachment.prefixes_size(); ++i) {
        const auto prefix = parse_prefix(attachment.prefixes(i));
        if (!prefix)
            errors.push_back(place("prefixes", i, "") + quoted(attachment.prefixes(i)) +
                             " is not a prefix");
        else if (const std::string wrong = check_prefix(*prefix); !wrong.empty())
            errors.push_back(place("prefixes", i, "") + wrong);
        else
            config.prefixes.push_back(*prefix);
    }
    if (attachment.prefixes().empty())
        errors.push_back("prefixes: 0 of them; must be 1 to " + std::to_string(kMaxPrefixes));
}

std::uint16_t read_limit(std::uint32_t value, std::uint16_t most, const v1::Class& klass,
                         const char* field, Errors& errors) {
    if (value > most)
        errors.push_back("policy: class " + klass.name() + " has " + field + " " +
                         std::to_string(value) + "; must be at most " + std::to_string(most));
    return static_cast<std::uint16_t>(value);
}

WeightedLine read_line(const v1::WeightedLine& line, const Tiers& before, Config& config,
                       Errors& errors) {
    if (!check_name(line.line(), "line", errors)) return {};
    if (line.weight() > 255)
        errors.push_back("policy: line " + line.line() + " has weight " +
                         std::to_string(line.weight()) + "; must be at most 255");
    const unsigned number = line_number(config, line.line());
    for (const auto& tier : before)
        for (const auto& used : tier)
            if (used.line == number)
                errors.push_back("policy: line " + line.line() + " stands twice in a class");
    return {static_cast<std::uint8_t>(number),
            static_cast<std::uint8_t>(std::max(line.weight(), 1U))};
}

Class read_class(const v1::Class& klass, Config& config, Errors& errors) {
    Class out;
    if (!klass.name().empty() && !check_name(klass.name(), "class", errors)) return out;
    Tiers& tiers = out.tiers;
    out.max_loss_permille =
        read_limit(klass.max_loss_permille(), kMaxLossPermille, klass, "max_loss_permille", errors);
    out.max_rtt_ms = read_limit(klass.max_rtt_ms(), kMaxDelayMs, klass, "max_rtt_ms", errors);
    out.max_jitter_ms =
        read_limit(klass.max_jitter_ms(), kMaxDelayMs, klass, "max_jitter_ms", errors);
    out.strict = klass.strict();
    if (klass.tiers().empty()) errors.push_back("policy: class " + klass.name() + " has no tier");
    int named = 0;
    for (const auto& tier : klass.tiers()) named += tier.lines_size();
    if (named > static_cast<int>(kMaxLines) || klass.tiers_size() > static_cast<int>(kMaxLines)) {
        errors.push_back("policy: class " + klass.name() + " has more lines or tiers than " +
                         std::to_string(kMaxLines));
        return out;
    }
    for (const auto& tier : klass.tiers()) {
        auto& lines = tiers.emplace_back();
        for (const auto& line : tier.lines())
            lines.push_back(read_line(line, tiers, config, errors));
        if (lines.empty())
            errors.push_back("policy: class " + klass.name() + " has a tier without a line");
    }
    return out;
}

void read_policy(const v1::Attachment& attachment, Config& config, Errors& errors) {
    const auto& policy = attachment.policy();
    if (policy.classes().empty() || policy.classes_size() > static_cast<int>(kMaxClasses))
        errors.push_back("policy.classes: " + std::to_string(policy.classes_size()) +
                         " of them; must be 1 to " + std::to_string(kMaxClasses));
    if (policy.line_numbers_size() > static_cast<int>(kMaxLines))
        errors.push_back("policy.line_numbers: " + std::to_string(policy.line_numbers_size()) +
                         " of them; must be at most " + std::to_string(kMaxLines));
    if (policy.classes_size() > static_cast<int>(kMaxClasses) ||
        policy.line_numbers_size() > static_cast<int>(kMaxLines))
        return;  // each line would be looked for among all others
    for (const auto& entry : policy.line_numbers()) {
        if (!check_name(entry.line(), "line", errors)) continue;
        const std::string wrong = set_line_number(config, entry.line(), entry.number());
        if (!wrong.empty()) errors.push_back("policy.line_numbers: " + wrong);
    }
    for (const auto& klass : policy.classes())
        config.classes.push_back(read_class(klass, config, errors));
    if (config.lines.size() > kMaxLines)
        errors.push_back("policy: names " + std::to_string(config.lines.size()) +
                         " lines; must be at most " + std::to_string(kMaxLines));
}

void read_keys(const v1::AttachedTunnel& from, Tunnel& t, int index, Errors& errors) {
    if (from.keys_size() > 2) {
        errors.push_back(place("tunnels", index, "keys") + std::to_string(from.keys_size()) +
                         " of them; must be at most 2");
        return;
    }
    for (const auto& key : from.keys()) {
        auto& out = t.keys.emplace_back();
        out.number = static_cast<std::uint8_t>(key.number());
        if (key.number() < 1 || key.number() > 255 || key.key().size() != out.bytes.size()) {
            errors.push_back(place("tunnels", index, "keys") + "number " +
                             std::to_string(key.number()) + " with " +
                             std::to_string(key.key().size()) +
                             " bytes; must be 1 to 255 with 32 bytes");
            return;
        }
        std::memcpy(out.bytes.data(), key.key().data(), out.bytes.size());
    }
}

std::uint16_t read_port(std::uint32_t value, int index, const char* field, Errors& errors) {
    if (value > 0xffff)
        errors.push_back(place("tunnels", index, field) + std::to_string(value) +
                         " is no port; must be at most 65535");
    return static_cast<std::uint16_t>(value);
}

void read_address(const std::string& text, IpAddress* out, int index, const char* field,
                  Errors& errors) {
    if (text.empty()) return;
    if (const auto address = parse_address(text))
        *out = *address;
    else
        errors.push_back(place("tunnels", index, field) + quoted(text) + " is not an address");
}

Tunnel read_tunnel(const v1::AttachedTunnel& from, int index, Errors& errors) {
    Tunnel t;
    t.line = from.line();
    if (!is_name(t.line, kMaxLineName)) {
        errors.push_back(place("tunnels", index, "line") +
                         (t.line.empty() ? std::string("is missing")
                                         : quoted(t.line) + " is no name of a line") +
                         "; it is [a-z0-9][a-z0-9.-]{0,30}");
        t.line.clear();
    }
    t.automatic = from.encapsulation() == v1::AUTO;
    t.udp = from.encapsulation() == v1::GRE_UDP || t.automatic;
    if (!t.udp && from.encapsulation() != v1::GRE)
        errors.push_back(place("tunnels", index, "encapsulation") + "must be GRE, GRE_UDP or AUTO");
    read_address(from.dr_address(), &t.remote, index, "dr_address", errors);
    if (from.dr_address().empty())
        errors.push_back(place("tunnels", index, "dr_address") + "is missing");
    read_address(from.ur_address(), &t.local, index, "ur_address", errors);
    t.id = from.id();
    t.local_port = read_port(from.ur_port(), index, "ur_port", errors);
    const auto remote_port = read_port(from.dr_port(), index, "dr_port", errors);
    if (t.udp && remote_port != 0) t.remote_port = remote_port;
    t.mtu = static_cast<std::uint16_t>(std::min(from.mtu(), 0xffffU));
    // Profiles are numbered from 1 there, and from 0 in keepalives.
    const int profile = std::max<int>(from.profile(), 1) - 1;
    t.profile = static_cast<liveness::ProfileId>(
        std::min<int>(profile, static_cast<int>(liveness::kProfiles.size()) - 1));
    read_keys(from, t, index, errors);
    return t;
}

}  // namespace

// A slot that a line had stays its own while the attachment names it; others are free again.
unsigned Translator::slot_of(const std::string& line, const v1::Attachment& attachment) {
    std::erase_if(slots_, [&](const auto& entry) {
        return std::none_of(attachment.tunnels().begin(), attachment.tunnels().end(),
                            [&](const auto& t) { return t.line() == entry.first; });
    });
    const auto known = slots_.find(line);
    if (known != slots_.end()) return known->second;
    unsigned slot = 0;
    while (std::any_of(slots_.begin(), slots_.end(),
                       [slot](const auto& entry) { return entry.second == slot; }))
        ++slot;
    return slots_[line] = slot;
}

Config Translator::translate(const v1::Attachment& attachment) {
    Errors errors;
    Config config;
    config.subscriber = attachment.subscriber();
    config.seed = attachment.hash_seed();
    config.policy_generation = static_cast<std::uint16_t>(attachment.policy_generation());
    config.restore_ms = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(std::uint64_t{attachment.wait_to_restore_s()} * 1000, UINT32_MAX));
    read_prefixes(attachment, config, errors);
    read_policy(attachment, config, errors);
    if (attachment.tunnels_size() > static_cast<int>(kMaxLines))
        throw ConfigError({"tunnels: " + std::to_string(attachment.tunnels_size()) +
                           " of them; must be at most " + std::to_string(kMaxLines)});
    for (int i = 0; i < attachment.tunnels_size(); ++i) {
        Tunnel t = read_tunnel(attachment.tunnels(i), i, errors);
        check_tunnel(t, config, [&](const char* field, const std::string& what) {
            errors.push_back(place("tunnels", i, field) + what);
        });
        t.number = t.line.empty() ? 0 : line_number(config, t.line);
        if (t.number >= kMaxLines && !t.keys.empty())
            errors.push_back(place("tunnels", i, "line") + t.line +
                             " is one line more than have numbers in keepalives; at most " +
                             std::to_string(kMaxLines));
        const auto device = devices_.find(t.line);
        if (device != devices_.end()) t.device = device->second;
        config.tunnels.push_back(std::move(t));
    }
    if (!errors.empty()) throw ConfigError(std::move(errors));
    for (auto& t : config.tunnels) t.slot = slot_of(t.line, attachment);
    return config;
}

}  // namespace dr::ur
