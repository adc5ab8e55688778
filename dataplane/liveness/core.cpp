// Rows of tunnels and groups, and the host's setters.
#include "dataplane/liveness/core.h"

#include <algorithm>
#include <bit>

namespace dr::liveness {

namespace {

// Enough that those of different messages seldom fall together.
constexpr std::uint32_t kGatesPerTunnel = 4;
constexpr std::uint32_t kLeastGates = 1024;

template <typename T, typename Ref>
std::vector<Ref> free_list(const RowsOf<T, Ref>& rows) {
    std::vector<Ref> list(rows.size());
    // The lowest is taken first.
    for (std::uint32_t i = 0; i < rows.size(); ++i) list[i] = Ref{rows.size() - 1 - i};
    return list;
}

}  // namespace

Core::Core(const Config& config, const Limits& limits, Host& host)
    : host_(host),
      config_(config),
      random_state_(config.seed * 0x9e3779b97f4a7c15ULL + 1),
      tokens_({host.random(), host.random()}),
      gates_(std::bit_ceil(std::max(kLeastGates, limits.tunnels * kGatesPerTunnel))),
      tunnels_(limits.tunnels),
      extras_(limits.tunnels),
      groups_(limits.groups),
      policies_(limits.policies),
      policy_set_(limits.policies),
      moves_(limits.moves),
      free_tunnels_(free_list(tunnels_)),
      free_groups_(free_list(groups_)),
      wheel_(limits.tunnels + limits.groups) {}

// xorshift64* (Vigna 2016): spreads timers, protects nothing.
std::uint32_t Core::random32() {
    random_state_ ^= random_state_ >> 12;
    random_state_ ^= random_state_ << 25;
    random_state_ ^= random_state_ >> 27;
    return static_cast<std::uint32_t>((random_state_ * 0x2545f4914f6cdd1dULL) >> 32);
}

bool Core::set_policy(Time now, std::uint32_t number, const Policy& policy) {
    if (number >= policies_.size() || policy.classes < 1 || policy.classes > kClasses) return false;
    const Policy before = policies_[number];
    policies_[number] = policy;
    policy_set_[number] = true;
    for (std::uint32_t n = 0; n < groups_.size(); ++n) {
        const GroupRef g{n};
        if (!groups_[g].used || groups_[g].policy != number) continue;
        judge_anew(groups_[g], before, policy);
        choose(now, g);
    }
    return true;
}

GroupRef Core::add_group(const GroupConfig& config) {
    if (free_groups_.empty() || config.policy >= policies_.size() || !policy_set_[config.policy]) {
        return {};
    }
    const GroupRef index = free_groups_.back();
    free_groups_.pop_back();
    Group& g = groups_[index];
    g = Group{};
    g.tunnel.fill({});
    g.user = config.user;
    g.policy = config.policy;
    g.restore_us = std::min(config.restore_ms, 0xffffffffU / 1000) * 1000;
    g.move = kNone;
    // A DR that starts again does not continue where it was: any start will do.
    g.epoch = static_cast<std::uint16_t>(random32());
    g.used = true;
    return index;
}

bool Core::update_group(Time now, GroupRef group, const GroupConfig& config) {
    if (!valid(group) || config.policy >= policies_.size() || !policy_set_[config.policy]) {
        return false;
    }
    Group& g = groups_[group];
    judge_anew(g, policies_[g.policy], policies_[config.policy]);
    g.policy = config.policy;
    g.restore_us = std::min(config.restore_ms, 0xffffffffU / 1000) * 1000;
    g.user = config.user;
    choose(now, group);
    return true;
}

void Core::remove_group(Time now, GroupRef group) {
    if (!valid(group)) return;
    Group& g = groups_[group];
    if (g.move != kNone) moves_[g.move].used = false;
    g.move = kNone;
    g.used = false;  // the host hears no more of it
    for (const TunnelRef i : g.tunnel) {
        if (i.valid()) remove_tunnel(now, i);
    }
    wheel_.cancel(timer_of(group));
    free_groups_.push_back(group);
}

TunnelRef Core::add_tunnel(Time now, const TunnelConfig& config) {
    if (free_tunnels_.empty() || !valid(config.group) || config.line >= kLines ||
        config.key_count < 1 || config.key_count > 2 ||
        groups_[config.group].tunnel[config.line].valid()) {
        return {};
    }
    const TunnelRef i = free_tunnels_.back();
    free_tunnels_.pop_back();
    Tunnel& t = tunnels_[i];
    TunnelExtra& x = extras_[i];
    t = Tunnel{};
    x = TunnelExtra{};
    t.used = true;
    t.group = config.group;
    t.id = config.id;
    t.line = config.line;
    t.link_up = true;
    t.state = State::Down;
    t.cause = Cause::Starting;
    t.diagnostic = Diagnostic::NoPath;
    t.since = now;
    while (t.tx_salt == 0) t.tx_salt = host_.random();
    x.start(now);
    set_keys(t, x, config);
    t.profile = config.profile;
    t.roaming = config.roaming;
    t.automatic = config.automatic;
    t.free_ports = config.flow_ports;
    t.any_sums = config.checksums;
    t.peer = x.configured_peer = config.peer;
    x.local = config.local;
    x.mtu.limit(now, config.mtu);
    x.user = config.user;
    x.detection.detection_us = profile_of(t).detection_us;
    x.intervals.want(profile_of(t).active_us, false);
    groups_[t.group].tunnel[t.line] = i;
    restart_exchange(now, i);
    return i;
}

bool Core::update_tunnel(Time now, TunnelRef tunnel, const TunnelConfig& config) {
    if (!valid(tunnel) || config.key_count < 1 || config.key_count > 2) return false;
    Tunnel& t = tunnels_[tunnel];
    TunnelExtra& x = extras_[tunnel];
    t.id = config.id;
    set_keys(t, x, config);
    if (t.profile != config.profile) {
        t.profile = config.profile;
        x.detection.detection_us = profile_of(t).detection_us;
    }
    t.roaming = config.roaming;
    t.automatic = config.automatic;
    if (!t.automatic) leave_native(now, tunnel, Leaving::Told);
    if (!config.flow_ports) use_ports(now, tunnel, false);
    t.free_ports = config.flow_ports;
    t.any_sums = config.checksums;
    if (x.mtu.limit(now, config.mtu)) {
        if (t.state == State::Up)
            search_mtu(now, tunnel);
        else
            settle_mtu(now, tunnel);
    }
    x.user = config.user;
    if (config.local.known() && config.local != x.local) set_local(now, tunnel, config.local);
    if (config.peer != x.configured_peer) {
        x.configured_peer = config.peer;
        set_peer(now, tunnel, config.peer);
    }
    want_interval(now, tunnel);
    schedule(now, tunnel);
    return true;
}

void Core::remove_tunnel(Time now, TunnelRef tunnel) {
    if (!valid(tunnel)) return;
    Tunnel& t = tunnels_[tunnel];
    Group& g = groups_[t.group];
    wheel_.cancel(tunnel.value);
    t.used = false;
    g.tunnel[t.line] = {};
    free_tunnels_.push_back(tunnel);
    if (g.used) choose(now, t.group);
}

void Core::set_keys(Tunnel& t, TunnelExtra& x, const TunnelConfig& config) {
    const std::uint8_t sending = t.key_count != 0 ? t.key_number[t.tx_key_index] : 0;
    const bool had_key = t.key_count != 0;
    const Role peer_role =
        config_.role == Role::DistributionRouter ? Role::UserRouter : Role::DistributionRouter;
    t.key_count = config.key_count;
    x.keys = config.keys;
    for (unsigned k = 0; k < config.key_count; ++k) {
        t.key_number[k] = config.keys[k].number;
        t.rx_key[k] = derive_mac_key(config.keys[k], peer_role, t.id);
    }
    // A UR has its keys from the DR, so it may send with the newest at once. A DR waits until the
    // UR has shown that it has it.
    unsigned index = 0;
    if (config_.role == Role::DistributionRouter && had_key && t.key_count == 2 &&
        t.key_number[1] == sending) {
        index = 1;
    }
    use_tx_key(t, x, index);
}

void Core::use_tx_key(Tunnel& t, const TunnelExtra& x, unsigned index) {
    t.tx_key_index = static_cast<std::uint8_t>(index);
    t.tx_key = derive_mac_key(x.keys[index], config_.role, t.id);
}

void Core::restart_exchange(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    t.burst = static_cast<std::uint8_t>(std::min(config_.tuning.burst_count, 255U));
    extras_[i].observed_left = 3;
    send_soon(now, i);
}

void Core::line_state(Time now, TunnelRef tunnel, bool up) {
    if (!valid(tunnel)) return;
    Tunnel& t = tunnels_[tunnel];
    if (t.link_up == up) return;
    t.link_up = up;
    if (up) {
        extras_[tunnel].restart_unanswered(now);
        restart_exchange(now, tunnel);
        return;
    }
    if (t.state == State::Up || t.state == State::Init) {
        enter(now, tunnel, State::Down, Cause::LineDown);
    } else {
        if (t.state == State::Down) {
            t.cause = Cause::LineDown;
            t.diagnostic = Diagnostic::LineDown;
        }
        tell_lines(now, t.group, tunnel);
    }
    schedule(now, tunnel);
}

void Core::set_admin(Time now, TunnelRef tunnel, Admin admin) {
    if (!valid(tunnel)) return;
    Tunnel& t = tunnels_[tunnel];
    if (t.admin == admin) return;
    const Admin before = t.admin;
    t.admin = admin;
    if (admin == Admin::Down) {
        enter(now, tunnel, State::AdminDown, Cause::AdminDown);
    } else if (before == Admin::Down) {
        enter(now, tunnel, State::Down, Cause::Starting);
        restart_exchange(now, tunnel);
    } else {
        choose(now, t.group);
    }
}

void Core::set_local(Time now, TunnelRef tunnel, const Endpoint& local) {
    if (!valid(tunnel)) return;
    TunnelExtra& x = extras_[tunnel];
    x.local = local;
    x.restart_unanswered(now);
    forget_nat(now, tunnel);
    x.native = {};
    if (tunnels_[tunnel].state == State::Up) search_mtu(now, tunnel);
    restart_exchange(now, tunnel);
}

// Findings about a NAT belong to the previous endpoint.
void Core::forget_nat(Time now, TunnelRef i) {
    Tunnel& t = tunnels_[i];
    leave_native(now, i, Leaving::Told);
    t.nat_known = t.nat = false;
    use_ports(now, i, false);
    use_sums(i, false);
    extras_[i].ports = extras_[i].zero_sums = {};
    extras_[i].doubt = {};
    if (!t.no_nat) return;
    t.no_nat = false;
    Event event = event_of(EventKind::NatChanged, now, i);
    event.value = 2;
    emit(event);
}

void Core::set_peer(Time now, TunnelRef tunnel, const Endpoint& peer) {
    if (!valid(tunnel) || !peer.known()) return;
    Tunnel& t = tunnels_[tunnel];
    if (t.peer == peer) return;
    leave_native(now, tunnel, Leaving::Told);
    t.peer = peer;
    host_.bind(tunnel, peer);
    if (t.state == State::Up) search_mtu(now, tunnel);
    restart_exchange(now, tunnel);
}

Event Core::event_of(EventKind kind, Time now, TunnelRef i) const {
    Event event{};
    event.kind = kind;
    event.tunnel = i;
    event.group = {tunnels_[i].group};
    event.at = now;
    event.from = event.to = tunnels_[i].state;
    event.endpoint = way(tunnels_[i]);
    return event;
}

}  // namespace dr::liveness
