// Checks the fields of one object.
#include "control/model/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <string>

#include "base/unicast.h"
#include "control/model/secrets.h"
#include "dataplane/wire/flow_hash.h"

namespace dr::control {
namespace {

using Kind = Findings::Kind;

bool matches(std::string_view text, std::size_t most) {
    const auto alphanumeric = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    };
    return !text.empty() && text.size() <= most && alphanumeric(text.front()) &&
           std::all_of(text.begin(), text.end(),
                       [&](char c) { return alphanumeric(c) || c == '.' || c == '-'; });
}

void check_name(std::string_view name, const char* field, Findings& findings) {
    if (is_name(name)) return;
    findings.invalid(field, name.empty()
                                ? std::string("missing; a name is [a-z0-9][a-z0-9.-]{0,62}")
                                : fmt::format("{} is no name; a name is "
                                              "[a-z0-9][a-z0-9.-]{{0,62}}",
                                              quoted(name)));
}

void check_line(std::string_view line, const std::string& field, Findings& findings) {
    if (is_line_name(line)) return;
    findings.invalid(
        field, fmt::format("{} is no line name; it is [a-z0-9][a-z0-9.-]{{0,30}}", quoted(line)));
}

void check_limit(std::uint32_t value, std::uint32_t most, const std::string& field,
                 const char* unit, Findings& findings) {
    if (value > most)
        findings.invalid(field, fmt::format("{} is out of range; 1 to {} {}, or absent for any",
                                            value, most, unit));
}

void check_limits(const v1::Class& c, const std::string& path, Findings& findings) {
    check_limit(c.max_loss_permille(), kMaxLossPermille, path + ".maxLossPermille",
                "of a thousand keepalives", findings);
    check_limit(c.max_rtt_ms(), kMaxDelayMs, path + ".maxRttMs", "ms", findings);
    check_limit(c.max_jitter_ms(), kMaxDelayMs, path + ".maxJitterMs", "ms", findings);
}

void check_class(v1::Class& c, const std::string& path, std::set<std::string>& lines,
                 Findings& findings) {
    if (!is_line_name(c.name()))
        findings.invalid(
            path + ".name",
            fmt::format("{} is no class name; it is [a-z0-9][a-z0-9.-]{{0,30}}", quoted(c.name())));
    if (c.tiers().empty())
        findings.invalid(path + ".tiers", "missing; a class has at least one tier");
    check_limits(c, path, findings);
    std::set<std::string> in_class;
    for (int t = 0; t < c.tiers_size(); ++t) {
        auto& tier = *c.mutable_tiers(t);
        const std::string tier_path = fmt::format("{}.tiers[{}].lines", path, t);
        if (tier.lines().empty())
            findings.invalid(tier_path, "missing; a tier has at least one line");
        for (int l = 0; l < tier.lines_size(); ++l) {
            auto& line = *tier.mutable_lines(l);
            const std::string line_path = fmt::format("{}[{}]", tier_path, l);
            check_line(line.line(), line_path + ".line", findings);
            if (!in_class.insert(line.line()).second)
                findings.invalid(line_path + ".line",
                                 fmt::format("line {} occurs twice in class {}",
                                             quoted(line.line()), quoted(c.name())));
            if (line.weight() > 255)
                findings.invalid(
                    line_path + ".weight",
                    fmt::format("{} is out of range; a weight is 1 to 255", line.weight()));
            if (line.weight() == 0) line.set_weight(1);
            lines.insert(line.line());
        }
    }
}

// The address of one end of a tunnel.
IpAddress check_end(std::string& text, const std::string& field, Findings& findings) {
    const auto address = parse_address(text);
    if (!address) {
        findings.invalid(field, text.empty()
                                    ? std::string("missing; an IPv4 or IPv6 address")
                                    : fmt::format("{} is no IPv4 or IPv6 address", quoted(text)));
        return {};
    }
    if (const auto why = not_unicast(*address); !why.empty())
        findings.invalid(
            field, fmt::format("{} is {}; the end of a tunnel is a unicast address", text, why));
    text = to_string(*address);
    return *address;
}

unsigned shortest_prefix(const IpPrefix& prefix) {
    return prefix.address.family == 4 ? kShortestPrefix4 : kShortestPrefix6;
}

void check_profile(v1::Profile profile, const std::string& field, Findings& findings) {
    if (!v1::Profile_IsValid(profile))
        findings.invalid(field, fmt::format("{} is no profile; FIXED, MOBILE, SATELLITE or METERED",
                                            static_cast<int>(profile)));
}

Endpoints check_tunnel(v1::Tunnel& tunnel, const std::string& path, Findings& findings) {
    check_line(tunnel.line(), path + ".line", findings);
    if (tunnel.encapsulation() == v1::ENCAPSULATION_UNSPECIFIED ||
        !v1::Encapsulation_IsValid(tunnel.encapsulation()))
        findings.invalid(path + ".encapsulation", "missing or unknown; GRE, GRE_UDP or AUTO");
    Endpoints ends{check_end(*tunnel.mutable_local(), path + ".local", findings), {}};
    if (!tunnel.remote().empty())
        ends.remote = check_end(*tunnel.mutable_remote(), path + ".remote", findings);
    else if (!has_keepalives(tunnel))
        findings.invalid(path + ".remote",
                         "missing while keepalive is false; without keepalives the UR's address "
                         "cannot be learned: give it, or leave keepalive out");
    if (ends.local.family != 0 && ends.remote.family != 0) {
        if (ends.local.family != ends.remote.family)
            findings.invalid(path + ".remote",
                             fmt::format("IPv{} while local is IPv{}; both ends are of one family",
                                         ends.remote.family, ends.local.family));
        else if (ends.local == ends.remote)
            findings.invalid(path + ".remote", "equals local; a tunnel has two ends");
    }
    check_profile(tunnel.profile(), path + ".profile", findings);
    tunnel.set_key_number(0);
    if (tunnel.has_remote_port()) {
        if (tunnel.encapsulation() == v1::GRE)
            findings.invalid(path + ".remotePort",
                             "given with GRE, which has no ports; only GRE_UDP or AUTO");
        else if (tunnel.remote_port() == 0 || tunnel.remote_port() > 65535)
            findings.invalid(
                path + ".remotePort",
                fmt::format("{} is out of range; 1 to 65535, or absent", tunnel.remote_port()));
    }
    if (tunnel.has_id() && (tunnel.id() & 0xffffffU) == 0)
        findings.invalid(path + ".id",
                         fmt::format("{} has low 24 bits of 0; slot 0 is reserved", tunnel.id()));
    if (tunnel.has_mtu() && (tunnel.mtu() < kMinMtu || tunnel.mtu() > kMaxMtu))
        findings.invalid(path + ".mtu", fmt::format("{} is out of range; {} to {}", tunnel.mtu(),
                                                    kMinMtu, kMaxMtu));
    return ends;
}

void check_tunnels(v1::Subscriber& s, CheckedSubscriber& checked, Findings& findings) {
    if (s.tunnels_size() > kMaxLines)
        findings.add(Kind::Limit, "subscriber.tunnels",
                     fmt::format("{} tunnels; the limit is {} lines a subscriber, one tunnel each",
                                 s.tunnels_size(), kMaxLines));
    for (int i = 0; i < std::min(s.tunnels_size(), kMaxLines); ++i) {
        auto& tunnel = *s.mutable_tunnels(i);
        const std::string path = fmt::format("subscriber.tunnels[{}]", i);
        checked.tunnels.push_back(check_tunnel(tunnel, path, findings));
        for (int k = 0; k < i; ++k) {
            if (s.tunnels(k).line() == tunnel.line())
                findings.invalid(path + ".line",
                                 fmt::format("line {} already has a tunnel, tunnels[{}]; at "
                                             "most one a line",
                                             quoted(tunnel.line()), k));
            if (tunnel.has_id() && s.tunnels(k).has_id() &&
                ((s.tunnels(k).id() ^ tunnel.id()) & 0xffffffU) == 0)
                findings.invalid(
                    path + ".id",
                    fmt::format("{} has the slot (low 24 bits) of tunnels[{}]", tunnel.id(), k));
        }
    }
}

void check_prefixes(v1::Subscriber& s, CheckedSubscriber& checked, Findings& findings) {
    if (s.prefixes().empty())
        findings.invalid("subscriber.prefixes", "missing; a subscriber has at least one prefix");
    if (s.prefixes_size() > kMaxPrefixes)
        findings.add(Kind::Limit, "subscriber.prefixes",
                     fmt::format("{} prefixes; the limit is {} prefixes a subscriber",
                                 s.prefixes_size(), kMaxPrefixes));
    for (int i = 0; i < std::min(s.prefixes_size(), kMaxPrefixes); ++i) {
        const std::string path = fmt::format("subscriber.prefixes[{}]", i);
        std::string error;
        const auto prefix = parse_prefix(s.prefixes(i), &error);
        if (!prefix) {
            findings.invalid(path, error);
            continue;
        }
        if (const auto block = reserved_block(*prefix); !block.empty())
            findings.invalid(path, fmt::format("{} overlaps {}; a site's prefix is of addresses "
                                               "that can be routed",
                                               s.prefixes(i), block));
        else if (prefix->length < shortest_prefix(*prefix))
            findings.invalid(path, fmt::format("{} is too large; a site's prefix is at least /{}",
                                               s.prefixes(i), shortest_prefix(*prefix)));
        for (const auto& earlier : checked.prefixes)
            if (earlier.overlaps(*prefix))
                findings.invalid(path, fmt::format("{} overlaps {} of the same subscriber",
                                                   s.prefixes(i), to_string(earlier)));
        checked.prefixes.push_back(*prefix);
        s.set_prefixes(i, to_string(*prefix));
    }
}

// In urd's words (ur/config.cpp), which would refuse it.
void check_ends_outside(const CheckedSubscriber& checked, Findings& findings) {
    for (std::size_t i = 0; i < checked.tunnels.size(); ++i)
        for (const bool local : {true, false}) {
            const IpAddress& end = local ? checked.tunnels[i].local : checked.tunnels[i].remote;
            for (const IpPrefix& prefix : checked.prefixes)
                if (prefix.contains(end))
                    findings.invalid(
                        fmt::format("subscriber.tunnels[{}].{}", i, local ? "local" : "remote"),
                        fmt::format("{} is inside the site's prefix {}; a tunnel's ends must lie "
                                    "outside",
                                    to_string(end), to_string(prefix)));
        }
}

}  // namespace

bool is_name(std::string_view text) {
    return matches(text, 63);
}
bool is_line_name(std::string_view text) {
    return matches(text, 31);
}

unsigned tunnel_overhead(bool ipv6, v1::Encapsulation encapsulation) {
    return (ipv6 ? 40U : 20U) + (encapsulation == v1::GRE ? 0U : 8U) + 8U;
}

IpPrefix check_pool(v1::Pool& pool, Findings& findings) {
    check_name(pool.name(), "pool.name", findings);
    std::string error;
    const auto prefix = parse_prefix(pool.prefix(), &error);
    if (!prefix) {
        findings.invalid("pool.prefix", error);
        return {};
    }
    pool.set_prefix(to_string(*prefix));
    if (prefix->length == 0)
        findings.invalid("pool.prefix", "is the whole address space; a pool is a part of it");
    else if (const auto block = reserved_block(*prefix); !block.empty())
        findings.invalid("pool.prefix",
                         fmt::format("{} overlaps {}; a pool is of addresses that can be routed",
                                     pool.prefix(), block));
    return *prefix;
}

void check_policy(v1::Policy& policy, Findings& findings) {
    check_name(policy.name(), "policy.name", findings);
    if (policy.classes().empty())
        findings.invalid("policy.classes", "missing; a policy has at least one class");
    if (policy.classes_size() > kMaxClasses) {
        findings.add(Kind::Limit, "policy.classes",
                     fmt::format("{} classes; the limit is {} classes a policy",
                                 policy.classes_size(), kMaxClasses));
        return;
    }
    if (policy.wait_to_restore_s() > kMaxWaitToRestore)
        findings.invalid("policy.waitToRestoreS",
                         fmt::format("{} is out of range; 0 to {} seconds",
                                     policy.wait_to_restore_s(), kMaxWaitToRestore));
    std::set<std::string> lines;
    std::set<std::string> names;
    for (int i = 0; i < policy.classes_size(); ++i) {
        const std::string path = fmt::format("policy.classes[{}]", i);
        check_class(*policy.mutable_classes(i), path, lines, findings);
        if (!names.insert(policy.classes(i).name()).second)
            findings.invalid(path + ".name", fmt::format("class {} occurs twice",
                                                         quoted(policy.classes(i).name())));
    }
    if (static_cast<int>(lines.size()) > kMaxLines)
        findings.add(Kind::Limit, "policy.classes",
                     fmt::format("{} different lines; the limit is {} lines a subscriber",
                                 lines.size(), kMaxLines));
}

CheckedSubscriber check_subscriber(v1::Subscriber& subscriber, Findings& findings) {
    CheckedSubscriber checked;
    check_name(subscriber.name(), "subscriber.name", findings);
    if (!is_name(subscriber.policy()))
        findings.invalid("subscriber.policy", subscriber.policy().empty()
                                                  ? std::string("missing; the name of a policy")
                                                  : fmt::format("{} is no name of a policy",
                                                                quoted(subscriber.policy())));
    check_prefixes(subscriber, checked, findings);
    check_profile(subscriber.profile(), "subscriber.profile", findings);
    check_tunnels(subscriber, checked, findings);
    check_ends_outside(checked, findings);
    if (!subscriber.has_hash_seed())
        subscriber.set_hash_seed(dr_flow_default_seed(
            subscriber.name().data(), static_cast<dr_u32>(subscriber.name().size())));
    return checked;
}

}  // namespace dr::control
