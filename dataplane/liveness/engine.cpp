// The engine's face: checks of limits, and calls of Core.
#include "dataplane/liveness/engine.h"

#include "dataplane/liveness/core.h"

namespace dr::liveness {

Engine::Engine(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Engine::~Engine() = default;

std::unique_ptr<Engine> Engine::create(const Config& config, const Limits& limits, Host& host,
                                       std::string* error) {
    constexpr std::uint32_t kMost = 1U << 26;
    const char* wrong = nullptr;
    if (limits.tunnels == 0 || limits.tunnels > kMost) wrong = "limits.tunnels: 1 to 67108864";
    if (limits.groups == 0 || limits.groups > kMost) wrong = "limits.groups: 1 to 67108864";
    if (limits.policies == 0 || limits.policies > kMost) wrong = "limits.policies: 1 to 67108864";
    if (limits.moves == 0 || limits.moves > kMost) wrong = "limits.moves: 1 to 67108864";
    if (wrong != nullptr) {
        if (error != nullptr) *error = std::string("liveness engine: ") + wrong;
        return nullptr;
    }
    return std::unique_ptr<Engine>(new Engine(std::make_unique<Core>(config, limits, host)));
}

bool Engine::set_policy(Time now, std::uint32_t number, const Policy& policy) {
    return core_->set_policy(now, number, policy);
}
GroupRef Engine::add_group(Time, const GroupConfig& config) {
    return core_->add_group(config);
}
bool Engine::update_group(Time now, GroupRef group, const GroupConfig& config) {
    return core_->update_group(now, group, config);
}
void Engine::remove_group(Time now, GroupRef group) {
    core_->remove_group(now, group);
}
TunnelRef Engine::add_tunnel(Time now, const TunnelConfig& config) {
    return core_->add_tunnel(now, config);
}
bool Engine::update_tunnel(Time now, TunnelRef tunnel, const TunnelConfig& config) {
    return core_->update_tunnel(now, tunnel, config);
}
void Engine::remove_tunnel(Time now, TunnelRef tunnel) {
    core_->remove_tunnel(now, tunnel);
}
void Engine::receive(Time now, TunnelRef tunnel, std::span<const std::uint8_t> bytes,
                     const Endpoint& source, Tag tag) {
    core_->receive(now, tunnel, bytes, source, tag);
}
void Engine::prefetch(TunnelRef tunnel) const {
    core_->prefetch(tunnel);
}
void Engine::line_state(Time now, TunnelRef tunnel, bool up) {
    core_->line_state(now, tunnel, up);
}
void Engine::set_admin(Time now, TunnelRef tunnel, Admin admin) {
    core_->set_admin(now, tunnel, admin);
}
void Engine::mtu_hint(Time now, TunnelRef tunnel, std::uint16_t mtu) {
    core_->mtu_hint(now, tunnel, mtu);
}
void Engine::set_local(Time now, TunnelRef tunnel, const Endpoint& local) {
    core_->set_local(now, tunnel, local);
}
void Engine::set_peer(Time now, TunnelRef tunnel, const Endpoint& peer) {
    core_->set_peer(now, tunnel, peer);
}
Time Engine::run(Time now, std::uint32_t budget) {
    return core_->run(now, budget);
}
Time Engine::next_deadline() const {
    return core_->next_deadline();
}
TunnelStatus Engine::status(Time now, TunnelRef tunnel) const {
    return core_->status(now, tunnel);
}
Choice Engine::current_choice(GroupRef group) const {
    return core_->current_choice(group);
}
std::uint64_t Engine::peer_salt(TunnelRef tunnel) const {
    return core_->valid(tunnel) ? core_->tunnel(tunnel).rx_salt : 0;
}
std::uint64_t Engine::peer_counter(TunnelRef tunnel) const {
    return core_->valid(tunnel) ? core_->tunnel(tunnel).window.highest : 0;
}
PeerKeys Engine::peer_keys(TunnelRef tunnel) const {
    PeerKeys keys;
    if (!core_->valid(tunnel)) return keys;
    const Tunnel& t = core_->tunnel(tunnel);
    keys.tunnel = t.id;
    for (unsigned k = 0; k < t.key_count; ++k) {
        keys.number[k] = t.key_number[k];
        keys.key[k] = t.rx_key[k];
    }
    return keys;
}
std::uint64_t Engine::user(TunnelRef tunnel) const {
    return core_->valid(tunnel) ? core_->extra(tunnel).user : 0;
}
std::uint64_t Engine::user(GroupRef group) const {
    return core_->valid(group) ? core_->group(group).user : 0;
}
GroupRef Engine::group_of(TunnelRef tunnel) const {
    return core_->valid(tunnel) ? core_->tunnel(tunnel).group : GroupRef{};
}
const Statistics& Engine::statistics() const {
    return core_->statistics();
}

}  // namespace dr::liveness
