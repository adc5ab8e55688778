// Keeps the claims of all sources on each prefix and installs the best one.
#include "dataplane/tables/rib.h"

#include "dataplane/tables/rib_state.h"

namespace dr {

using rib::host_prefix;
using rib::masked;
using rib::Neighbour;
using rib::NeighbourKey;

// The best claim that leads somewhere, of the longest prefix that covers the address.
const Target* Rib::State::leading(const IpAddress& address) const {
    const unsigned bits = address.family == 4 ? 32 : 128;
    const unsigned base = address.family == 4 ? 0 : 129;
    for (unsigned length = bits + 1; length-- > 0;) {
        if (of_length[base + length] == 0) continue;
        const auto it = claims.find({masked(address, length), static_cast<std::uint8_t>(length)});
        if (it == claims.end()) continue;
        for (const RouteSource s :
             {RouteSource::Neighbour, RouteSource::Route, RouteSource::Connected}) {
            const auto& target = it->second.by_source[static_cast<std::size_t>(s)];
            if (target) return &*target;
        }
    }
    return nullptr;
}

bool Rib::State::claim(const IpPrefix& prefix, RouteSource source, Target target) {
    auto it = claims.find(prefix);
    if (it == claims.end()) {
        if (source == RouteSource::Subscriber) return install(prefix, target);
        Claims fresh;
        Target alone;
        if (find(prefix, &alone))
            fresh.by_source[static_cast<std::size_t>(RouteSource::Subscriber)] = alone;
        it = claims.emplace(prefix, fresh).first;
    }
    auto& claim = it->second.by_source[static_cast<std::size_t>(source)];
    const std::optional<Target> before = claim;
    if (before == target) return true;
    claim = target;
    if (!install(prefix, *it->second.best())) {
        claim = before;
        if (!it->second.best()) claims.erase(it);
        return false;
    }
    note_own(prefix, source, true);
    if (leads(source)) {
        if (!before) ++of_length[place_of(prefix)];
        ++generation;
    }
    return true;
}

void Rib::State::unclaim(const IpPrefix& prefix, RouteSource source) {
    const auto it = claims.find(prefix);
    if (it == claims.end()) {
        if (source == RouteSource::Subscriber) uninstall(prefix);
        return;
    }
    auto& claim = it->second.by_source[static_cast<std::size_t>(source)];
    if (!claim) return;
    if (source == RouteSource::Connected && claim->kind() == TargetKind::Glean) {
        const auto port = static_cast<std::uint16_t>(claim->index());
        for (const NextHopIndex index : take_gleaned(port, prefix)) release(index, false);
    }
    claim.reset();
    note_own(prefix, source, false);
    if (leads(source)) {
        --of_length[place_of(prefix)];
        ++generation;
    }
    if (const auto best = it->second.best()) {
        install(prefix, *best);
        return;
    }
    uninstall(prefix);
    claims.erase(it);
}

Target Rib::State::below_host_route(const IpAddress& address, bool routed) const {
    const IpPrefix host = host_prefix(address);
    Target found;
    const auto it = claims.find(host);
    if (it != claims.end()) {
        Claims others = it->second;
        if (routed) others.by_source[static_cast<std::size_t>(RouteSource::Neighbour)].reset();
        if (const auto best = others.best()) return *best;
    } else if (find(host, &found)) {
        return found;
    }
    for (unsigned length = host.length; length-- > 0;) {
        const IpPrefix prefix{masked(address, length), static_cast<std::uint8_t>(length)};
        if (installed_of_length[place_of(prefix)] != 0 && find(prefix, &found)) return found;
    }
    return {};
}

// Anybody on the network can make the kernel learn a neighbour of any address. So a host route may
// only send a packet to the network on which the table would look for that neighbour anyway.
void Rib::State::settle_neighbour(const NeighbourKey& key, Neighbour& neighbour) {
    const bool routed = neighbour.host_route.value != 0;
    const Target below = below_host_route(key.address, routed);
    // A link-local address means nothing without its port, so the lookup table cannot have it.
    const bool wanted = neighbour.learned && !key.address.is_link_local() &&
                        below == Target(TargetKind::Glean, key.port);
    if (wanted == routed) return;
    if (!wanted) {
        unclaim(host_prefix(key.address), RouteSource::Neighbour);
        release(neighbour.host_route, true);
        neighbour.host_route = {};
        return;
    }
    // The other half is for gateways and tunnels' ends. Glean still reaches a neighbour without a
    // host route.
    if (host_routes >= next_hops.size() / 2) return;
    const NextHopIndex made = acquire({key.port, key.address}, true);
    if (made.value == 0) return;
    if (!claim(host_prefix(key.address), RouteSource::Neighbour,
               Target(TargetKind::NextHop, made.value)))
        return release(made, true);
    neighbour.host_route = made;
}

// Updates the host routes of the neighbours inside the prefix, after a change of the routes to
// them.
void Rib::State::settle_neighbours(const IpPrefix& prefix) {
    // Removing a host route makes room for another port's neighbour of the same address.
    for (const bool going : {true, false})
        for (auto it = neighbours.lower_bound({prefix.address, 0});
             it != neighbours.end() && prefix.contains(it->first.address); ++it)
            if (!going || it->second.host_route.value != 0) settle_neighbour(it->first, it->second);
}

Rib::Rib(Tables& tables) : state_(std::make_unique<State>(tables)) {}
Rib::~Rib() = default;

bool Rib::insert(const IpPrefix& prefix, RouteSource source, Target target) {
    const bool good = state_->claim(prefix, source, target);
    if (good) state_->settle_neighbours(prefix);
    return good;
}

void Rib::remove(const IpPrefix& prefix, RouteSource source) {
    state_->unclaim(prefix, source);
    state_->settle_neighbours(prefix);
}

void Rib::learn_neighbour(std::uint16_t port, const IpAddress& address, const wire::Mac& mac) {
    set_neighbour(port, address, mac);
    const NeighbourKey key{address, port};
    Neighbour& neighbour = state_->neighbours[key];
    neighbour.learned = true;
    state_->settle_neighbour(key, neighbour);
}

void Rib::clear_neighbour(std::uint16_t port, const IpAddress& address) {
    State& s = *state_;
    const auto known = s.neighbours.find({address, port});
    if (known == s.neighbours.end()) return;
    known->second.learned = false;
    s.settle_neighbour(known->first, known->second);
    s.neighbours.erase(known);
    s.publish_with_groups({port, address});
    // Another port's neighbour of the same address may have been waiting for its place.
    s.settle_neighbours(host_prefix(address));
}

std::string Rib::own_inside(const IpPrefix& prefix) const {
    const State& s = *state_;
    const auto first_network = [&](const std::set<IpPrefix>& own) {
        const auto at = own.lower_bound({prefix.address, 0});
        // At the same address shorter prefixes, which contain this one, come first.
        for (auto it = at; it != own.end() && prefix.contains(it->address); ++it)
            if (it->length >= prefix.length) return it;
        return own.end();
    };
    if (const auto it = first_network(s.locals); it != s.locals.end())
        return to_string(it->address) + ", an address of this router";
    if (const auto it = first_network(s.networks); it != s.networks.end())
        return to_string(*it) + ", a network of this router";
    const auto hop = s.gateways.lower_bound(prefix.address);
    if (hop != s.gateways.end() && prefix.contains(hop->first))
        return to_string(hop->first) + ", a next hop";
    return {};
}

SubscriberIndex Rib::State::subscriber_around(const IpPrefix& own) const {
    for (unsigned length = own.length + 1U; length-- > 0;) {
        const IpPrefix prefix{masked(own.address, length), static_cast<std::uint8_t>(length)};
        if (installed_of_length[place_of(prefix)] == 0) continue;
        Target target;
        const auto it = claims.find(prefix);
        if (it == claims.end()) {
            if (!find(prefix, &target)) continue;
        } else {
            target =
                it->second.by_source[static_cast<std::size_t>(RouteSource::Subscriber)].value_or(
                    Target());
        }
        if (target.kind() == TargetKind::Subscriber) return {target.index()};
    }
    return {0};
}

SubscriberIndex Rib::around_own() const {
    const State& s = *state_;
    for (const auto* own : {&s.locals, &s.networks})
        for (const IpPrefix& prefix : *own)
            if (const auto found = s.subscriber_around(prefix); found.value != 0) return found;
    for (const auto& [gateway, ports] : s.gateways)
        if (const auto found = s.subscriber_around(host_prefix(gateway)); found.value != 0)
            return found;
    return {0};
}

void Rib::confirm(std::uint64_t generation) {
    state_->confirmed = generation;
}

std::uint64_t Rib::generation() const {
    return state_->generation;
}

}  // namespace dr
