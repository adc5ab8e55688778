// The engine in the UR's role: sessions, choices, the largest packet.
#include "ur/keepalives.h"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "ur/outer.h"

namespace dr::ur {

namespace {

using liveness::Endpoint;
using liveness::EventKind;
using liveness::TunnelRef;

// Where a new port is taken from: the range that the flows' entropy uses too (TUNNEL.md §3).
constexpr std::uint16_t kFirstPort = 49152;
constexpr std::uint16_t kPorts = 16384;
// How long a tunnel is not Up before its port is changed, the first, second, third time and then
// on.
constexpr std::array<liveness::Time, 4> kPatience{3 * liveness::kSecond, 10 * liveness::kSecond,
                                                  30 * liveness::kSecond, 90 * liveness::kSecond};

Endpoint configured_peer(const Tunnel& tunnel) {
    return to_endpoint(tunnel.remote, tunnel.udp ? tunnel.remote_port : std::uint16_t{0});
}

std::uint16_t first_port(const Tunnel& tunnel) {
    return tunnel.local_port != 0 ? tunnel.local_port : kGreUdpPort;
}

liveness::Policy make_policy(const Config& config) {
    liveness::Policy policy;
    policy.generation = config.policy_generation;
    policy.classes = static_cast<std::uint8_t>(
        std::clamp<std::size_t>(config.classes.size(), 1, liveness::kClasses));
    for (std::size_t c = 0; c < config.classes.size() && c < liveness::kClasses; ++c) {
        const Class& from = config.classes[c];
        liveness::ClassPolicy& klass = policy.klass[c];
        klass.max_loss_permille = from.max_loss_permille;
        klass.max_rtt_ms = from.max_rtt_ms;
        klass.max_jitter_ms = from.max_jitter_ms;
        klass.strict = from.strict;
        for (std::size_t tier = 0; tier < from.tiers.size(); ++tier)
            for (const auto& line : from.tiers[tier])
                if (line.line < liveness::kLines)
                    klass.tier[line.line] = static_cast<std::uint8_t>(tier);
    }
    return policy;
}

// What configuration and device allow, without the outer headers.
std::uint16_t largest_packet(const Tunnel& tunnel, unsigned device_mtu) {
    if (device_mtu == 0) return tunnel.mtu;
    const unsigned headers = outer_overhead(tunnel.remote.family, tunnel.udp);
    const unsigned room = device_mtu > headers ? device_mtu - headers : 1;
    return static_cast<std::uint16_t>(std::min<unsigned>(tunnel.mtu, room));
}

}  // namespace

Keepalives::Keepalives(KeepaliveSink& sink) : sink_(sink) {
    liveness::Config config;
    config.role = liveness::Role::UserRouter;
    config.seed = sink.random();
    std::string error;
    engine_ = liveness::Engine::create(config, {liveness::kLines, 1, 1, 1}, *this, &error);
    if (engine_ == nullptr) throw std::runtime_error("liveness engine: " + error);
}

Keepalives::~Keepalives() = default;

void Keepalives::apply(Time now, const Config& config) {
    set_group(now, config);
    drop_sessions(now, config);
    for (const auto& tunnel : config.tunnels) {
        if (tunnel.keys.empty()) continue;
        const auto at = sessions_.find(tunnel.slot);
        if (at == sessions_.end())
            add(now, tunnel);
        else
            update(now, at->second, tunnel);
    }
    settle();
}

void Keepalives::set_group(Time now, const Config& config) {
    engine_->set_policy(now, 0, make_policy(config));
    const liveness::GroupConfig group{0, config.restore_ms, 0};
    if (group_.valid())
        engine_->update_group(now, group_, group);
    else
        group_ = engine_->add_group(now, group);
}

void Keepalives::drop_sessions(Time now, const Config& config) {
    std::erase_if(sessions_, [&](const auto& entry) {
        const auto& old = entry.second.tunnel;
        const bool stays =
            std::any_of(config.tunnels.begin(), config.tunnels.end(), [&](const Tunnel& t) {
                return !t.keys.empty() && t.slot == old.slot && t.id == old.id &&
                       t.number == old.number;
            });
        if (!stays) engine_->remove_tunnel(now, entry.second.ref);
        return !stays;
    });
}

void Keepalives::add(Time now, const Tunnel& tunnel) {
    Session& session = sessions_[tunnel.slot];
    session.tunnel = tunnel;
    session.ends = {configured_peer(tunnel), first_port(tunnel), false, false};
    session.local = tunnel.local;
    sink_.ends(tunnel.slot, session.ends);
    session.ref = engine_->add_tunnel(now, make_config(session));
    if (!session.ref.valid()) {
        sessions_.erase(tunnel.slot);
        throw std::runtime_error("line " + tunnel.line + ": no room for its keepalives (number " +
                                 std::to_string(tunnel.number) + ")");
    }
}

void Keepalives::update(Time now, Session& session, const Tunnel& tunnel) {
    const bool port_changed = tunnel.local_port != session.tunnel.local_port;
    const Endpoint before = configured_peer(session.tunnel);
    session.tunnel = tunnel;
    if (port_changed) session.ends.local_port = first_port(tunnel);
    if (configured_peer(tunnel) != before) session.ends.peer = configured_peer(tunnel);
    if (tunnel.local_port != 0) session.ends.entropy = false;
    sink_.ends(tunnel.slot, session.ends);
    engine_->update_tunnel(now, session.ref, make_config(session));
    if (port_changed) engine_->set_local(now, session.ref, local_end(session));
}

liveness::TunnelConfig Keepalives::make_config(const Session& session) const {
    const Tunnel& tunnel = session.tunnel;
    liveness::TunnelConfig config;
    config.group = group_;
    config.line = static_cast<std::uint8_t>(tunnel.number);
    config.id = tunnel.id;
    config.profile = tunnel.profile;
    config.roaming = false;
    config.automatic = tunnel.automatic;
    config.flow_ports = tunnel.udp && tunnel.local_port == 0;
    config.checksums = tunnel.udp;
    config.peer = configured_peer(tunnel);
    config.local = local_end(session);
    config.key_count = static_cast<std::uint8_t>(std::min<std::size_t>(tunnel.keys.size(), 2));
    std::copy_n(tunnel.keys.begin(), config.key_count, config.keys.begin());
    config.mtu = largest_packet(tunnel, session.device_mtu);
    config.user = tunnel.slot;
    return config;
}

Endpoint Keepalives::local_end(const Session& session) const {
    if (session.local.family == 0) return {};
    return to_endpoint(session.local,
                       session.tunnel.udp ? session.ends.local_port : std::uint16_t{0});
}

void Keepalives::line(Time now, unsigned slot, bool up, const IpAddress& local,
                      unsigned device_mtu) {
    const auto at = sessions_.find(slot);
    if (at == sessions_.end()) return;
    Session& session = at->second;
    const bool changed = session.up != up;
    session.up = up;
    if (changed) session.not_up_since = now;
    if (device_mtu != session.device_mtu) {
        session.device_mtu = device_mtu;
        engine_->update_tunnel(now, session.ref, make_config(session));
    }
    if (local.family != 0 && local != session.local) {
        session.local = local;
        engine_->set_local(now, session.ref, local_end(session));
    }
    if (changed) engine_->line_state(now, session.ref, up);
    settle();
}

void Keepalives::receive(Time now, unsigned slot, std::span<const std::uint8_t> message,
                         const Endpoint& source) {
    const auto at = sessions_.find(slot);
    if (at == sessions_.end()) return;
    engine_->receive(now, at->second.ref, message, source);
    settle();
}

Keepalives::Time Keepalives::run(Time now) {
    engine_->run(now);
    settle();
    Time next = liveness::kNever;
    for (auto& [slot, session] : sessions_) {
        if (now >= move_due(now, session)) move_port(now, session);
        next = std::min(next, move_due(now, session));
    }
    return std::min(next, engine_->next_deadline());
}

void Keepalives::say_goodbye(Time now) {
    for (const auto& [slot, session] : sessions_)
        engine_->set_admin(now, session.ref, liveness::Admin::Down);
    engine_->run(now);
}

bool Keepalives::expected(Time now) const {
    return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& entry) {
        return entry.second.up.value_or(false) &&
               engine_->status(now, entry.second.ref).peer_state == liveness::State::Up;
    });
}

TunnelEnds Keepalives::ends(unsigned slot) const {
    return sessions_.at(slot).ends;
}

liveness::TunnelStatus Keepalives::status(Time now, unsigned slot) const {
    return engine_->status(now, sessions_.at(slot).ref);
}

Keepalives::Session* Keepalives::find(TunnelRef tunnel) {
    for (auto& [slot, session] : sessions_)
        if (session.ref == tunnel) return &session;
    return nullptr;
}

void Keepalives::send(TunnelRef tunnel, const Endpoint& to, std::span<const std::uint8_t> message) {
    send_as(tunnel, {}, to, message);
}

void Keepalives::send_as(TunnelRef tunnel, const liveness::Guise& guise, const Endpoint& to,
                         std::span<const std::uint8_t> message) {
    const Session* session = find(tunnel);
    if (session == nullptr || !session->up.value_or(false) || session->local.family != to.family)
        return;
    const std::uint16_t port = guise.port != 0 ? guise.port : session->ends.local_port;
    sink_.send(session->tunnel.slot, to_endpoint(session->local, port), to, session->tunnel.id,
               message, guise.zero_checksum);
}

void Keepalives::zero_checksums(TunnelRef tunnel, bool zero) {
    Session* session = find(tunnel);
    if (session == nullptr || session->ends.zero_checksums == zero) return;
    session->ends.zero_checksums = zero;
    sink_.ends(session->tunnel.slot, session->ends);
}

void Keepalives::bind(TunnelRef tunnel, const Endpoint& peer) {
    Session* session = find(tunnel);
    if (session == nullptr || session->ends.peer == peer) return;
    session->ends.peer = peer;
    sink_.ends(session->tunnel.slot, session->ends);
}

void Keepalives::hint(Time now, unsigned slot, unsigned outer_mtu) {
    const auto at = sessions_.find(slot);
    if (at == sessions_.end()) return;
    const TunnelEnds& ends = at->second.ends;
    const unsigned headers =
        outer_overhead(static_cast<std::uint8_t>(ends.peer.family), ends.peer.port != 0);
    const unsigned inner = outer_mtu > headers ? outer_mtu - headers : 0;
    engine_->mtu_hint(now, at->second.ref, static_cast<std::uint16_t>(inner));
}

void Keepalives::choice(liveness::GroupRef, const liveness::Choice& choice) {
    sink_.choice(choice);
}

void Keepalives::path_mtu(TunnelRef tunnel, std::uint16_t mtu) {
    if (const Session* session = find(tunnel); session != nullptr)
        sink_.path_mtu(session->tunnel.slot, mtu);
}

void Keepalives::event(const liveness::Event& event) {
    Session* session = find(event.tunnel);
    if (session != nullptr && event.kind == EventKind::StateChanged) {
        if (event.to == liveness::State::Up) session->moves = 0;
        if (event.from == liveness::State::Up) session->not_up_since = event.at;
    }
    sink_.event(event, session == nullptr ? std::string() : session->tunnel.line);
    if (event.kind == EventKind::FlowPorts) to_settle_.push_back(event);
}

liveness::DataCounters Keepalives::data_counters(TunnelRef tunnel) {
    const Session* session = find(tunnel);
    return session == nullptr ? liveness::DataCounters{}
                              : sink_.data_counters(session->tunnel.slot);
}

void Keepalives::bucket_ages(liveness::GroupRef,
                             std::span<std::uint32_t, liveness::kBuckets> ages) {
    sink_.bucket_ages(ages);
}

void Keepalives::settle() {
    for (; !to_settle_.empty(); to_settle_.pop_front()) {
        Session* session = find(to_settle_.front().tunnel);
        if (session == nullptr || session->tunnel.local_port != 0 || !session->tunnel.udp) continue;
        session->ends.entropy = to_settle_.front().value != 0;
        sink_.ends(session->tunnel.slot, session->ends);
    }
}

Keepalives::Time Keepalives::move_due(Time now, const Session& session) const {
    if (!session.up.value_or(false) || session.ends.peer.port == 0 ||
        session.tunnel.local_port != 0 ||
        engine_->status(now, session.ref).state == liveness::State::Up)
        return liveness::kNever;
    const auto turn = std::min<std::size_t>(session.moves, kPatience.size() - 1);
    return session.not_up_since + kPatience[turn];
}

// A NAT on the way that has lost the mapping of the old port, or keeps a broken one, makes a new
// one for a new port.
void Keepalives::move_port(Time now, Session& session) {
    ++session.moves;
    session.not_up_since = now;
    std::uint16_t port = session.ends.local_port;
    while (port == session.ends.local_port)
        port = static_cast<std::uint16_t>(kFirstPort + sink_.random() % kPorts);
    session.ends.local_port = port;
    session.ends.entropy = false;
    sink_.ends(session.tunnel.slot, session.ends);
    engine_->set_local(now, session.ref, local_end(session));
}

}  // namespace dr::ur
