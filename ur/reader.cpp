// From protobuf to Config, field by field.
#include "ur/reader.h"

#include <algorithm>
#include <cstring>

#include "base/unicast.h"
#include "proto/json.h"

namespace dr::ur {

namespace {

std::string element(const std::string& list, int index) {
    return list + "[" + std::to_string(index) + "]";
}

std::uint16_t default_mtu(const Tunnel& t) {
    return static_cast<std::uint16_t>(kEthernetMtu - outer_overhead(t.remote.family, t.udp));
}

}  // namespace

void Reader::error(const std::string& place, const std::string& message) {
    errors_.push_back((names_.as_in_json ? as_in_json(place) : place) + ": " + message);
}

void Reader::finish() {
    if (!errors_.empty()) throw ConfigError(std::move(errors_));
}

bool Reader::name(const std::string& place, const std::string& text, const char* what) {
    if (is_name(text, kMaxLineName)) return true;
    error(place, (text.empty() ? "is missing; a " : quoted(text) + " is no name of a ") + what +
                     (text.empty() ? "'s name" : "; it") + " is [a-z0-9][a-z0-9.-]{0,30}");
    return false;
}

template <typename T>
T Reader::number(const std::string& place, std::uint32_t value, T most) {
    if (value <= most) return static_cast<T>(value);
    error(place, "is " + std::to_string(value) + "; must be at most " + std::to_string(most));
    return most;
}

bool Reader::count(const std::string& place, int count, int least, std::size_t most) {
    if (count >= least && count <= static_cast<int>(most)) return true;
    error(place, std::to_string(count) + " of them; must be " +
                     (least == 0 ? std::string("at most ") : std::to_string(least) + " to ") +
                     std::to_string(most));
    return count <= static_cast<int>(most);
}

IpAddress Reader::address(const std::string& place, const std::string& text) {
    const auto address = text.empty() ? IpAddress{} : parse_address(text);
    if (!address)
        error(place,
              quoted(text) + " is not an address; must be like \"192.0.2.1\" or \"2001:db8::1\"");
    return address.value_or(IpAddress{});
}

void Reader::prefixes(const google::protobuf::RepeatedPtrField<std::string>& prefixes) {
    if (!count("prefixes", prefixes.size(), 1, kMaxPrefixes)) return;
    for (int i = 0; i < prefixes.size(); ++i) {
        const std::string place = element("prefixes", i);
        const auto prefix = parse_prefix(prefixes[i]);
        if (!prefix) {
            error(place, quoted(prefixes[i]) +
                             " is not a prefix; must be like \"203.0.113.8/29\" or "
                             "\"2001:db8:5000::/48\", with no host bits set");
            continue;
        }
        if (const std::string wrong = check_prefix(*prefix); !wrong.empty()) {
            error(place, wrong);
            continue;
        }
        const auto other =
            std::find_if(config_.prefixes.begin(), config_.prefixes.end(),
                         [&](const IpPrefix& earlier) { return prefix->overlaps(earlier); });
        if (other != config_.prefixes.end())
            error(place,
                  to_string(*prefix) + " overlaps " + to_string(*other) + "; keep one of them");
        config_.prefixes.push_back(*prefix);
    }
}

void Reader::line(const v1::WeightedLine& from, const std::string& place, Tiers& tiers) {
    if (!name(place + ".line", from.line(), "line")) return;
    const auto weight = number<std::uint8_t>(place + ".weight", from.weight(), 255);
    const unsigned number = line_number(config_, from.line());
    for (const auto& tier : tiers)
        for (const auto& used : tier)
            if (used.line == number)
                error(place + ".line", quoted(from.line()) +
                                           " stands twice in this class; a line belongs to one "
                                           "tier");
    tiers.back().push_back({static_cast<std::uint8_t>(number), std::max<std::uint8_t>(weight, 1)});
}

Class Reader::klass(const v1::Class& from, const std::string& place) {
    Class out;
    if (!from.name().empty()) name(place + ".name", from.name(), "class");
    out.max_loss_permille =
        number(place + ".max_loss_permille", from.max_loss_permille(), kMaxLossPermille);
    out.max_rtt_ms = number(place + ".max_rtt_ms", from.max_rtt_ms(), kMaxDelayMs);
    out.max_jitter_ms = number(place + ".max_jitter_ms", from.max_jitter_ms(), kMaxDelayMs);
    out.strict = from.strict();
    if (!count(place + ".tiers", from.tiers_size(), 1, kMaxLines)) return out;
    int lines = 0;
    for (const auto& tier : from.tiers()) lines += tier.lines_size();
    if (!count(place + ".tiers[].lines", lines, 0, kMaxLines)) return out;
    for (int i = 0; i < from.tiers_size(); ++i) {
        const std::string at = element(place + ".tiers", i) + ".lines";
        count(at, from.tiers(i).lines_size(), 1, kMaxLines);
        out.tiers.emplace_back();
        for (int k = 0; k < from.tiers(i).lines_size(); ++k)
            line(from.tiers(i).lines(k), element(at, k), out.tiers);
    }
    return out;
}

void Reader::policy(const v1::Policy& policy) {
    const std::string numbers = "policy.line_numbers", classes = "policy.classes";
    // Each line is looked for among all others.
    const bool few = count(numbers, policy.line_numbers_size(), 0, kMaxLines);
    if (!count(classes, policy.classes_size(), 1, kMaxClasses) || !few) return;
    for (int i = 0; i < policy.line_numbers_size(); ++i) {
        const auto& entry = policy.line_numbers(i);
        if (!name(element(numbers, i) + ".line", entry.line(), "line")) continue;
        const std::string wrong = set_line_number(config_, entry.line(), entry.number());
        if (!wrong.empty()) error(element(numbers, i), wrong);
    }
    for (int i = 0; i < policy.classes_size(); ++i)
        config_.classes.push_back(klass(policy.classes(i), element(classes, i)));
    if (config_.lines.size() > kMaxLines)
        error(classes, "name " + std::to_string(config_.lines.size()) + " lines; must be at most " +
                           std::to_string(kMaxLines));
}

bool Reader::tunnels(int number) {
    return count("tunnels", number, 0, kMaxLines);
}

void Reader::keys(const v1::AttachedTunnel& from, const std::string& place, Tunnel& t) {
    if (!count(place, from.keys_size(), 0, 2)) return;
    for (int i = 0; i < from.keys_size(); ++i) {
        const auto& key = from.keys(i);
        auto& out = t.keys.emplace_back();
        out.number = static_cast<std::uint8_t>(key.number());
        if (key.number() < 1 || key.number() > 255 || key.key().size() != out.bytes.size()) {
            error(element(place, i), "number " + std::to_string(key.number()) + " with " +
                                         std::to_string(key.key().size()) +
                                         " bytes; must be 1 to 255 with 32 bytes");
            return;
        }
        std::memcpy(out.bytes.data(), key.key().data(), out.bytes.size());
    }
}

// Beside the prefixes and the tunnels before it.
void Reader::check(const Tunnel& t, const std::string& place) {
    if (t.id == 0) error(place + "id", "is missing; must be the tunnel's GRE key, not 0");
    if (!t.udp && t.local_port != 0)
        error(place + names_.local_port,
              "is for GRE_UDP and AUTO only; remove it or set encapsulation");
    if (t.local.family != 0 && t.remote.family != 0 && t.local.family != t.remote.family)
        error(place + names_.local, to_string(t.local) + " is not of the family of " +
                                        to_string(t.remote) + "; both must be IPv4 or both IPv6");
    if (t.mtu < kMinMtu || t.mtu > kMaxMtu)
        error(place + "mtu", "is " + std::to_string(t.mtu) +
                                 "; must be 1280 to 9000, or absent for a path of 1500");
    for (const auto* end : {&t.local, &t.remote}) {
        if (end->family == 0) continue;
        const auto why = not_unicast(*end);
        if (!why.empty())
            error(place + (end == &t.local ? names_.local : names_.remote),
                  to_string(*end) + " is " + std::string(why) +
                      "; the end of a tunnel is a unicast address");
    }
    for (const auto& prefix : config_.prefixes) {
        for (const auto* end : {&t.local, &t.remote})
            if (prefix.contains(*end))
                error(place + (end == &t.local ? names_.local : names_.remote),
                      to_string(*end) + " is inside the site's prefix " + to_string(prefix) +
                          "; a tunnel's ends must lie outside");
    }
    for (const auto& other : config_.tunnels) {
        if (other.line == t.line)
            error(place + "line", "\"" + t.line + "\" has a tunnel already; one tunnel for a line");
        if (other.id == t.id && other.remote == t.remote)
            error(place + "id", std::to_string(t.id) + " is also the id of line \"" + other.line +
                                    "\"; ids of one DR address must differ");
    }
}

Tunnel& Reader::tunnel(const v1::AttachedTunnel& from, int index) {
    const std::string place = element("tunnels", index) + ".";
    Tunnel t;
    if (name(place + "line", from.line(), "line")) t.line = from.line();
    t.automatic = from.encapsulation() == v1::AUTO;
    t.udp = from.encapsulation() == v1::GRE_UDP || t.automatic;
    if (!t.udp && from.encapsulation() != v1::GRE)
        error(place + "encapsulation",
              (from.encapsulation() == 0 ? std::string("is missing")
                                         : "is " + std::to_string(from.encapsulation())) +
                  "; must be GRE, GRE_UDP or AUTO");
    if (from.dr_address().empty())
        error(place + names_.remote, "is missing; must be the DR's outer address");
    t.remote = address(place + names_.remote, from.dr_address());
    t.local = address(place + names_.local, from.ur_address());
    t.id = from.id();
    t.local_port = number<std::uint16_t>(place + names_.local_port, from.ur_port(), 0xffff);
    const auto remote_port = number<std::uint16_t>(place + "dr_port", from.dr_port(), 0xffff);
    if (t.udp && remote_port != 0) t.remote_port = remote_port;
    t.mtu = from.mtu() == 0 ? default_mtu(t)
                            : static_cast<std::uint16_t>(std::min(from.mtu(), 0xffffU));
    // Profiles are numbered from 1 there, and from 0 in keepalives.
    const int profile = std::max<int>(from.profile(), 1) - 1;
    t.profile = static_cast<liveness::ProfileId>(
        std::min<int>(profile, static_cast<int>(liveness::kProfiles.size()) - 1));
    keys(from, place + "keys", t);
    check(t, place);
    t.number = t.line.empty() ? 0 : line_number(config_, t.line);
    t.slot = t.number;
    if (t.number >= kMaxLines && !t.keys.empty())
        error(place + "line", t.line +
                                  " is one line more than have numbers in keepalives; at most " +
                                  std::to_string(kMaxLines));
    return config_.tunnels.emplace_back(std::move(t));
}

}  // namespace dr::ur
