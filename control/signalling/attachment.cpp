// Builds the Attachment of a subscriber.
#include "control/signalling/attachment.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/model/check.h"
#include "control/model/line_numbers.h"
#include "control/model/records.h"
#include "control/model/secrets.h"
#include "dataplane/liveness/profile.h"

namespace dr::control {
namespace {

constexpr std::uint32_t kGreUdpPort = 4754;  // RFC 8086

const v1::Line* find_line(const std::vector<v1::Line>& lines, const std::string& name) {
    const auto at = std::find_if(lines.begin(), lines.end(),
                                 [&](const v1::Line& line) { return line.name() == name; });
    return at == lines.end() ? nullptr : &*at;
}

bool names(const v1::Line& line, v1::Encapsulation encapsulation) {
    const auto& able = line.encapsulations();
    return std::find(able.begin(), able.end(), encapsulation) != able.end();
}

// AUTO becomes GRE-in-UDP for a UR that does not list AUTO.
v1::Encapsulation encapsulation_for(const v1::Line* line, const v1::Tunnel& tunnel) {
    const bool able = line != nullptr && names(*line, v1::AUTO);
    return tunnel.encapsulation() == v1::AUTO && !able ? v1::GRE_UDP : tunnel.encapsulation();
}

// Why this line cannot carry this tunnel; empty: it can.
std::string misfit(const v1::Line& line, const v1::Tunnel& tunnel) {
    const v1::Encapsulation needed = encapsulation_for(&line, tunnel);
    if (!line.encapsulations().empty() && !names(line, needed))
        return fmt::format("it does not do {}", v1::Encapsulation_Name(needed));
    if (!line.ipv4() && !line.ipv6()) return {};
    const bool ipv6 = tunnel.local().find(':') != std::string::npos;
    if (ipv6 ? line.ipv6() : line.ipv4()) return {};
    return fmt::format("it has no IPv{}, and the DR's end is {}", ipv6 ? 6 : 4, tunnel.local());
}

void add_key(v1::AttachedTunnel& out, std::uint32_t number, const std::string& key) {
    auto& added = *out.add_keys();
    added.set_number(number);
    added.set_key(key);
}

void add_tunnel(const Catalog::Site& site, const v1::Tunnel& tunnel, const v1::Line* line,
                v1::Attachment& attachment) {
    auto& out = *attachment.add_tunnels();
    const bool udp = tunnel.encapsulation() != v1::GRE;
    out.set_id(tunnel.id());
    out.set_line(tunnel.line());
    out.set_line_number(line_number(site.policy, tunnel.line()).value_or(0));
    out.set_encapsulation(encapsulation_for(line, tunnel));
    out.set_dr_address(tunnel.local());
    out.set_dr_port(udp ? kGreUdpPort : 0);
    out.set_mtu(effective_mtu(tunnel));
    out.set_ur_address(tunnel.remote());
    out.set_ur_port(tunnel.has_remote_port() ? tunnel.remote_port() : 0);
    const v1::Profile profile = effective_profile(site.subscriber, tunnel);
    out.set_profile(profile);
    *out.mutable_timers() = timers_of(profile);
    if (tunnel.key_number() == 0) return;
    const auto* keys = find_keys(site.secrets, tunnel.id());
    if (keys == nullptr || keys->key().size() != kKeyBytes)
        throw StoreError(fmt::format("store: the key of tunnel {} of subscriber \"{}\" is lost",
                                     tunnel.id(), site.subscriber.name()));
    add_key(out, keys->number(), keys->key());
    if (keys->previous_number() != 0) add_key(out, keys->previous_number(), keys->previous());
}

}  // namespace

v1::Timers timers_of(v1::Profile profile) {
    const auto number = std::max(1, static_cast<int>(profile)) - 1;  // PROFILE_UNSPECIFIED: FIXED
    const auto& row = liveness::profile(static_cast<liveness::ProfileId>(number));
    v1::Timers timers;
    timers.set_active_interval_ms(row.active_us / 1000);
    timers.set_standby_interval_ms(row.standby_us / 1000);
    timers.set_detection_ms(row.detection_us / 1000);
    return timers;
}

v1::Attachment make_attachment(const Catalog::Site& site, const std::vector<v1::Line>& lines,
                               const std::vector<v1::SignallingAddress>& drs) {
    const auto& s = site.subscriber;
    v1::Attachment out;
    // All revisions form one sequence: of the two, the one that changed last has the greater
    // revision.
    out.set_generation(static_cast<std::uint64_t>(std::max(s.revision(), site.policy.revision())));
    out.set_subscriber(s.name());
    *out.mutable_prefixes() = s.prefixes();
    out.set_hash_seed(s.hash_seed());
    *out.mutable_policy() = site.policy;
    out.set_policy_generation(static_cast<std::uint16_t>(site.policy.revision()));
    out.set_wait_to_restore_s(site.policy.has_wait_to_restore_s() ? site.policy.wait_to_restore_s()
                                                                  : kDefaultWaitToRestore);
    for (const auto& dr : drs) *out.add_drs() = dr;
    for (const auto& tunnel : s.tunnels()) {
        const v1::Line* line = find_line(lines, tunnel.line());
        const std::string why = line == nullptr ? std::string() : misfit(*line, tunnel);
        if (why.empty())
            add_tunnel(site, tunnel, line, out);
        else
            out.add_notes(fmt::format("line {} is left out: {}", tunnel.line(), why));
    }
    for (const auto& line : lines) {
        const bool used = std::any_of(s.tunnels().begin(), s.tunnels().end(),
                                      [&](const auto& t) { return t.line() == line.name(); });
        if (!used) out.add_notes(fmt::format("line {} has no tunnel at this DR", line.name()));
    }
    return out;
}

}  // namespace dr::control
