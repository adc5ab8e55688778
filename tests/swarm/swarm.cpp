#include "tests/swarm/swarm.h"

#include <sys/random.h>

#include <algorithm>
#include <cstdlib>

namespace dr::swarm {

using namespace liveness;

namespace {

constexpr std::uint32_t kSlotMask = 0xff'ffff;
constexpr std::uint32_t kNoTunnel = 0xffff'ffff;
constexpr std::size_t kKeptDowns = 20;
// Data that could not be sent for so long is not made up for.
constexpr Time kMostCatchUp = 20 * kMillisecond;

std::uint16_t bit(unsigned line) {
    return static_cast<std::uint16_t>(1U << line);
}

std::uint32_t host_of(std::uint32_t site) {
    return kSites + site * kSiteAddresses + 1;
}

}  // namespace

Swarm::Swarm(const Fleet& fleet, Wire& wire) : fleet_(fleet), wire_(wire) {
    sites_.resize(fleet.sites);
    tunnels_.reserve(fleet.tunnels.size());
    recovery_.up.resize(fleet.tunnels.size());
    recovery_.uplink.resize(fleet.sites);
    recovery_.downlink.resize(fleet.sites);
}

std::unique_ptr<Swarm> Swarm::create(const Fleet& fleet, Wire& wire, std::uint64_t seed,
                                     std::string* error) {
    std::unique_ptr<Swarm> swarm(new Swarm(fleet, wire));
    Config config;
    config.role = Role::UserRouter;
    config.seed = seed;
    const Limits limits{static_cast<std::uint32_t>(fleet.tunnels.size()), fleet.sites, 1, 64};
    swarm->engine_ = Engine::create(config, limits, *swarm, error);
    if (swarm->engine_ == nullptr) return nullptr;
    Policy policy;  // all lines in one tier, so that each carries and keepalives are the fast ones
    policy.klass[0].tier.fill(0);
    swarm->engine_->set_policy(0, 0, policy);
    return swarm;
}

std::size_t Swarm::start(Time now, std::size_t count) {
    for (; count != 0 && tunnels_.size() < fleet_.tunnels.size(); --count) {
        const FleetTunnel& from = fleet_.tunnels[tunnels_.size()];
        if (from.site == groups_.size()) groups_.push_back(engine_->add_group(now, {}));
        const std::uint32_t slot = from.id & kSlotMask;
        if (slot >= by_key_.size()) by_key_.resize(slot + 1, kNoTunnel);
        by_key_[slot] = static_cast<std::uint32_t>(tunnels_.size());
        sites_[from.site].lines |= bit(from.line);
        tunnels_.push_back({TunnelHeader(from.ur, from.dr, from.id), {}, from.site, from.line});
        TunnelConfig tunnel;
        tunnel.group = groups_.back();
        tunnel.line = from.line;
        tunnel.id = from.id;
        tunnel.profile = from.profile;
        tunnel.roaming = false;
        tunnel.peer = from.dr;
        tunnel.local = from.ur;
        tunnel.keys[0] = from.key;
        tunnel.user = tunnels_.size() - 1;
        // The engine's references are dense from 0 in the order of adding.
        if (engine_->add_tunnel(now, tunnel).value != tunnel.user) std::abort();
    }
    return fleet_.tunnels.size() - tunnels_.size();
}

void Swarm::send(TunnelRef tunnel, const wire::Endpoint&, std::span<const std::uint8_t> message) {
    const Tunnel& from = tunnels_[tunnel.value];
    if (is_cut(from)) return;
    const std::span<std::uint8_t> frame = wire_.frame();
    const unsigned size = from.header.write(wire::kEtherKeepalive, message, frame);
    if (observer_) observer_(true, frame.first(size));
    wire_.commit(size);
}

void Swarm::choice(GroupRef group, const Choice& choice) {
    sites_[group.value].eligible = choice.eligible[0];
}

void Swarm::event(const Event& event) {
    if (event.kind != EventKind::StateChanged) return;
    Tunnel& tunnel = tunnels_[event.tunnel.value];
    const bool now_up = event.to == State::Up;
    if (now_up == tunnel.up) return;
    tunnel.up = now_up;
    up_ += now_up ? 1U : static_cast<std::size_t>(-1);
    Site& site = sites_[tunnel.site];
    site.up = static_cast<std::uint16_t>(now_up ? site.up | bit(tunnel.line)
                                                : site.up & ~bit(tunnel.line));
    if (now_up) recovery_.up[event.tunnel.value] = event.at;
    if (!now_up && downs_.size() < kKeptDowns)
        downs_.push_back({event.tunnel.value, event.cause, event.at});
}

DataCounters Swarm::data_counters(TunnelRef tunnel) {
    return tunnels_[tunnel.value].data;
}

// A site here has no flows that a move could disturb.
void Swarm::bucket_ages(GroupRef, std::span<std::uint32_t, kBuckets> ages) {
    std::fill(ages.begin(), ages.end(), kAgeSettled);
}

std::uint64_t Swarm::random() {
    std::uint64_t value = 0;
    if (getrandom(&value, sizeof value, 0) != sizeof value) std::abort();
    return value;
}

void Swarm::receive(Time now, std::span<const std::uint8_t> frame) {
    const Arrived arrived = read_frame(frame);
    const std::uint32_t site = (arrived.inner_source - kSites) / kSiteAddresses;
    if (arrived.kind == Arrived::Kind::Keepalive || arrived.kind == Arrived::Kind::TunnelData) {
        receive_from_tunnel(now, arrived, frame);
    } else if (arrived.kind == Arrived::Kind::Plain && site < sites_.size()) {
        ++data_.uplink_delivered;
        if (recovery_.uplink[site] == 0) recovery_.uplink[site] = now;
    } else {
        ++strays_;
    }
}

void Swarm::receive_from_tunnel(Time now, const Arrived& arrived,
                                std::span<const std::uint8_t> frame) {
    const std::uint32_t slot = arrived.key & kSlotMask;
    const std::uint32_t number = slot < by_key_.size() ? by_key_[slot] : kNoTunnel;
    if (number == kNoTunnel || fleet_.tunnels[number].id != arrived.key) {
        ++strays_;
        return;
    }
    if (is_cut(tunnels_[number])) return;
    if (arrived.kind == Arrived::Kind::Keepalive) {
        if (observer_) observer_(false, frame);
        engine_->receive(now, {number}, arrived.payload, arrived.source);
        return;
    }
    Tunnel& tunnel = tunnels_[number];
    ++tunnel.data.received;
    ++data_.downlink_delivered;
    if (recovery_.downlink[tunnel.site] == 0) recovery_.downlink[tunnel.site] = now;
}

void Swarm::run(Time now) {
    engine_->run(now);
    for (std::uint64_t n = uplink_.due(now); n != 0; --n) send_uplink();
    for (std::uint64_t n = downlink_.due(now); n != 0; --n) send_downlink();
}

std::uint64_t Swarm::Rate::due(Time now) {
    if (per_second == 0 || now < next) return 0;
    if (next + kMostCatchUp < now) next = now - kMostCatchUp;
    const std::uint64_t packets = (now - next) * per_second / kSecond;
    next += packets * kSecond / per_second;
    return packets;
}

void Swarm::set_traffic(Time now, std::uint64_t uplink, std::uint64_t downlink) {
    uplink_ = {uplink, now};
    downlink_ = {downlink, now};
}

void Swarm::send_uplink() {
    if (tunnels_.empty()) return;
    if (next_tunnel_ >= tunnels_.size()) next_tunnel_ = 0;
    Tunnel& tunnel = tunnels_[next_tunnel_++];
    const Site& site = sites_[tunnel.site];
    if ((site.up & site.eligible & bit(tunnel.line)) == 0) return;
    ++tunnel.data.sent;
    ++data_.uplink_sent;
    if (is_cut(tunnel)) return;
    std::array<std::uint8_t, kInnerPacket> inner;
    write_inner(host_of(tunnel.site), kInternetHost, ++flow_, inner);
    wire_.commit(tunnel.header.write(wire::kEtherIpv4, inner, wire_.frame()));
}

void Swarm::send_downlink() {
    if (next_site_ >= sites_.size()) next_site_ = 0;
    wire_.commit(write_plain(kInternetHost, host_of(next_site_++), ++flow_, wire_.frame()));
    ++data_.downlink_sent;
}

void Swarm::mark() {
    std::fill(recovery_.up.begin(), recovery_.up.end(), 0);
    std::fill(recovery_.uplink.begin(), recovery_.uplink.end(), 0);
    std::fill(recovery_.downlink.begin(), recovery_.downlink.end(), 0);
}

void Swarm::cut(std::uint8_t line, bool on) {
    cut_ = static_cast<std::uint16_t>(on ? cut_ | bit(line) : cut_ & ~bit(line));
}

std::size_t Swarm::settled() const {
    return static_cast<std::size_t>(std::count_if(sites_.begin(), sites_.end(), [](const Site& s) {
        return s.lines != 0 && (s.up & s.eligible) == s.lines;
    }));
}

}  // namespace dr::swarm
