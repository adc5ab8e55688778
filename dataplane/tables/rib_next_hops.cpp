// The Rib's next hops: their references, and the rows that workers read.
#include <algorithm>
#include <utility>

#include "dataplane/tables/rib_state.h"

namespace dr {

void Rib::State::publish(std::uint32_t index) {
    NextHop& hop = next_hops[index];
    hop.outdated = free_rows.empty();
    if (hop.outdated) {  // reclaim() comes back to it
        any_outdated = true;
        return;
    }
    const std::uint32_t row = free_rows.back();
    free_rows.pop_back();
    const Gateway& gateway = chosen(hop);
    const rib::PortInfo& port = ports[gateway.port];
    NextHopRow& r = tables.next_hop_rows[row];
    r = {};
    r.source = port.mac;
    r.mtu = port.mtu;
    r.port = gateway.port;
    r.family = gateway.address.family;
    const auto known = neighbours.find({gateway.address, gateway.port});
    if (known != neighbours.end()) {
        r.destination = known->second.mac;
        r.resolved = 1;
    }
    tables.next_hops[index].store(row, std::memory_order_release);
    if (hop.row != 0) retired_rows.push_back({hop.row, tables.qsbr.retire()});
    hop.row = row;
}

// The gateway that a next hop uses now.
const rib::Gateway& Rib::State::chosen(const NextHop& hop) const {
    for (const std::uint32_t member : hop.members) {
        const Gateway& gateway = next_hops[member].gateway;
        if (neighbours.contains({gateway.address, gateway.port})) return gateway;
    }
    return hop.gateway;
}

void Rib::State::publish_with_groups(const Gateway& gateway) {
    const auto hop = by_gateway.find(gateway);
    if (hop == by_gateway.end()) return;
    publish(hop->second);
    for (const std::uint32_t group : next_hops[hop->second].groups) publish(group);
}

void Rib::State::publish_outdated() {
    if (!any_outdated) return;
    any_outdated = false;
    for (std::uint32_t i = 1; i < next_hops.size(); ++i)
        if (next_hops[i].used && next_hops[i].outdated) publish(i);
}

// Releases the next hops that resolve() created for addresses of a network that is no longer
// connected.
std::vector<NextHopIndex> Rib::State::take_gleaned(std::uint16_t port, const IpPrefix& prefix) {
    std::vector<NextHopIndex> taken;
    std::erase_if(gleaned, [&](std::uint32_t index) {
        const Gateway& gateway = next_hops[index].gateway;
        if (gateway.port != port || !prefix.contains(gateway.address)) return false;
        next_hops[index].gleaned = false;
        taken.push_back({index});
        return true;
    });
    return taken;
}

NextHopIndex Rib::State::acquire(const Gateway& gateway, bool learned) {
    auto known = by_gateway.find(gateway);
    if (known == by_gateway.end()) {
        if (free_indexes.empty() || free_rows.empty()) reclaim();
        if (free_indexes.empty() || free_rows.empty()) return {0};
        const std::uint32_t index = free_indexes.front();
        free_indexes.pop_front();
        next_hops[index] = {};
        next_hops[index].gateway = gateway;
        next_hops[index].used = true;
        known = by_gateway.emplace(gateway, index).first;
        publish(index);
    }
    NextHop& hop = next_hops[known->second];
    if (!learned && hop.configured() == 0) ++gateways[gateway.address];
    ++hop.references;
    if (learned) {
        hop.learned = true;
        ++host_routes;
    }
    return {known->second};
}

NextHopIndex Rib::State::acquire_group(std::vector<Via> members) {
    const auto known = by_members.find(members);
    if (known != by_members.end()) {
        ++next_hops[known->second].references;
        return {known->second};
    }
    std::vector<std::uint32_t> held;
    held.reserve(members.size());
    for (const Via& via : members) held.push_back(acquire({via.port, via.gateway}, false).value);
    const bool all = std::find(held.begin(), held.end(), 0) == held.end();
    if (!all || free_indexes.empty() || free_rows.empty()) {
        for (const std::uint32_t member : held) release({member}, false);
        return {0};
    }
    const std::uint32_t index = free_indexes.front();
    free_indexes.pop_front();
    NextHop& hop = next_hops[index] = {};
    hop.gateway = {members.front().port, members.front().gateway};
    hop.references = 1;
    hop.used = true;
    hop.members = std::move(held);
    for (const std::uint32_t member : hop.members) next_hops[member].groups.push_back(index);
    by_members.emplace(std::move(members), index);
    publish(index);
    return {index};
}

void Rib::State::forget_group(const NextHop& group) {
    std::vector<Via> key;
    for (const std::uint32_t member : group.members) {
        const Gateway& gateway = next_hops[member].gateway;
        key.push_back({gateway.port, gateway.address});
    }
    by_members.erase(key);
}

void Rib::State::release(NextHopIndex next_hop, bool learned) {
    NextHop& hop = next_hops[next_hop.value];
    if (next_hop.value == 0 || !hop.used) return;
    --hop.references;
    if (learned) {
        hop.learned = false;
        --host_routes;
    } else if (hop.configured() == 0 && hop.members.empty()) {
        const auto gateway = gateways.find(hop.gateway.address);
        if (gateway != gateways.end() && --gateway->second == 0) gateways.erase(gateway);
    }
    if (hop.references != 0) return;
    if (hop.members.empty())
        by_gateway.erase(hop.gateway);
    else
        forget_group(hop);
    // The index stays pointing at its row until no worker can still hold it.
    ++generation;
    retired_indexes.push_back({next_hop.value, hop.row, tables.qsbr.retire(), generation});
    hop.used = false;
    hop.row = 0;
    for (const std::uint32_t member : std::exchange(hop.members, {})) {
        std::erase(next_hops[member].groups, next_hop.value);
        release({member}, false);
    }
}

void Rib::State::reclaim() {
    tables.lpm4->reclaim();
    tables.lpm6->reclaim();
    if (retired_rows.empty() && retired_indexes.empty()) return;
    const Qsbr::Token safe = tables.qsbr.safe();
    while (!retired_rows.empty() && retired_rows.front().token <= safe) {
        free_rows.push_back(retired_rows.front().row);
        retired_rows.pop_front();
    }
    while (!retired_indexes.empty()) {
        const RetiredIndex& r = retired_indexes.front();
        if (r.token > safe || r.generation > confirmed) break;
        tables.next_hops[r.index].store(0, std::memory_order_release);
        if (r.row != 0) retired_rows.push_back({r.row, tables.qsbr.retire()});
        free_indexes.push_back(r.index);
        retired_indexes.pop_front();
    }
    publish_outdated();
}

NextHopIndex Rib::acquire_next_hop(std::uint16_t port, const IpAddress& gateway) {
    return state_->acquire({port, gateway}, false);
}

NextHopIndex Rib::acquire_group(std::vector<Via> members) {
    return state_->acquire_group(std::move(members));
}

void Rib::release_next_hop(NextHopIndex next_hop) {
    state_->release(next_hop, false);
}

std::size_t Rib::next_hop_capacity() const {
    return state_->next_hops.size();
}

void Rib::reclaim() {
    state_->reclaim();
}

void Rib::set_neighbour(std::uint16_t port, const IpAddress& address, const wire::Mac& mac) {
    State& s = *state_;
    const auto [known, is_new] = s.neighbours.try_emplace({address, port});
    if (!is_new && known->second.mac == mac) return;
    known->second.mac = mac;
    s.publish_with_groups({port, address});
}

void Rib::set_port(std::uint16_t port, const wire::Mac& mac, std::uint16_t mtu) {
    State& s = *state_;
    if (s.ports[port].mac == mac && s.ports[port].mtu == mtu) return;
    s.ports[port] = {mac, mtu};
    for (std::uint32_t i = 1; i < s.next_hops.size(); ++i)
        if (s.next_hops[i].used && s.chosen(s.next_hops[i]).port == port) s.publish(i);
}

NextHopIndex Rib::resolve(const IpAddress& address) {
    State& s = *state_;
    const Target* target = s.leading(address);
    if (target == nullptr) return {0};
    auto port = static_cast<std::uint16_t>(target->index());
    if (target->kind() == TargetKind::NextHop) {
        const State::NextHop& hop = s.next_hops[target->index()];
        // A neighbour's own next hop, on a connected network: kept as if the neighbour were not
        // learned yet.
        if (!hop.learned || hop.gateway.address != address) return {target->index()};
        port = hop.gateway.port;
    } else if (target->kind() != TargetKind::Glean) {
        return {0};
    }
    const auto known = s.by_gateway.find({port, address});
    const bool is_known = known != s.by_gateway.end();
    if (is_known && s.next_hops[known->second].configured() != 0) return {known->second};
    // Kept while the network is connected: the address is a tunnel's endpoint.
    if (s.gleaned.size() >= s.next_hops.size() / 4) return {is_known ? known->second : 0};
    const NextHopIndex made = acquire_next_hop(port, address);
    if (made.value == 0) return made;
    s.gleaned.push_back(made.value);
    s.next_hops[made.value].gleaned = true;
    return made;
}

void Rib::visit_unresolved(Visitor visitor, void* argument) const {
    const State& s = *state_;
    for (const State::NextHop& hop : s.next_hops)
        if (hop.used && hop.members.empty() &&
            !s.neighbours.contains({hop.gateway.address, hop.gateway.port}))
            visitor(argument, hop.gateway.port, hop.gateway.address,
                    hop.references > (hop.gleaned ? 1U : 0U));
}

bool Rib::leads_on(std::uint16_t port, const IpAddress& gateway) const {
    const auto hop = state_->by_gateway.find({port, gateway});
    return hop != state_->by_gateway.end() && state_->next_hops[hop->second].configured() != 0;
}

}  // namespace dr
