// Claims: only prefixes that somebody other than a subscriber claims are kept here; a prefix that
// is a subscriber's alone stands in the lookup table and nowhere else, so a million of them cost
// nothing here.
#include "dataplane/tables/rib.h"

#include <cstring>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

namespace dr {

namespace {

constexpr std::size_t kSources = 6;

struct Claims {
    std::array<std::optional<Target>, kSources> by_source;
    [[nodiscard]] const Target* best() const {
        for (const auto& target : by_source)
            if (target) return &*target;
        return nullptr;
    }
};

std::uint64_t mix(std::uint64_t h, const std::uint8_t* p, std::size_t n) {
    for (std::size_t i = 0; i < n; ++i) h = (h ^ p[i]) * 0x100000001b3ULL;
    return h;
}

struct PrefixHash {
    std::size_t operator()(const IpPrefix& p) const {
        return mix(0xcbf29ce484222325ULL ^ p.length, p.address.bytes.data(), 16) ^ p.address.family;
    }
};

struct Gateway {
    std::uint16_t port{};
    IpAddress address;
    friend bool operator==(const Gateway&, const Gateway&) = default;
};
struct GatewayHash {
    std::size_t operator()(const Gateway& g) const {
        return mix(0xcbf29ce484222325ULL ^ g.port, g.address.bytes.data(), 16);
    }
};

struct PortInfo {
    wire::Mac mac{};
    std::uint16_t mtu = 1500;
};

struct NextHop {
    Gateway gateway;
    std::uint32_t references{};
    std::uint32_t row{};
    bool used{};
    bool outdated{};  // a change waits for a free row
    bool gleaned{};   // resolve() made it, and holds a reference
};

IpAddress masked(IpAddress a, unsigned length) {
    for (unsigned i = 0; i < 16; ++i) {
        const unsigned bits = length > 8 * i ? length - 8 * i : 0;
        if (bits < 8) a.bytes[i] = static_cast<std::uint8_t>(a.bytes[i] & ~(0xffU >> bits));
    }
    return a;
}

Lpm4::Address v4(const IpAddress& a) {
    return {a.bytes[0], a.bytes[1], a.bytes[2], a.bytes[3]};
}

}  // namespace

struct Rib::State {
    explicit State(Tables& t) : tables(t) {
        next_hops.resize(t.next_hops.size());
        for (std::uint32_t i = 1; i < next_hops.size(); ++i) free_indexes.push_back(i);
        for (std::uint32_t i = t.next_hop_rows.size(); i-- > 1;) free_rows.push_back(i);
    }

    Tables& tables;
    std::uint64_t generation = 1;
    std::unordered_map<IpPrefix, Claims, PrefixHash> claims;
    std::array<std::uint32_t, 258> of_length{};  // claims of neighbours, connected and routes
    std::vector<NextHop> next_hops;
    // First in, first out: whoever holds a result of resolve() has the time that all other free
    // indexes last to resolve it again, before a released one means another gateway.
    std::deque<std::uint32_t> free_indexes;
    std::vector<std::uint32_t> free_rows;
    std::vector<std::uint32_t> gleaned;  // next hops that resolve() made and refers to
    bool any_outdated = false;
    struct RetiredRow {
        std::uint32_t row;
        Qsbr::Token token;
    };
    // Waits for the workers, and for whoever keeps results of resolve().
    struct RetiredIndex {
        std::uint32_t index;
        std::uint32_t row;  // 0: none
        Qsbr::Token token;
        std::uint64_t generation;
    };
    std::deque<RetiredRow> retired_rows;
    std::deque<RetiredIndex> retired_indexes;
    std::uint64_t confirmed = 0;
    std::unordered_map<Gateway, std::uint32_t, GatewayHash> by_gateway;
    std::unordered_map<Gateway, wire::Mac, GatewayHash> neighbours;
    std::array<PortInfo, kMaxPorts> ports{};

    // Own addresses and connected networks; gateways, by how many ports lead to them.
    std::set<IpPrefix> locals;
    std::set<IpPrefix> networks;
    std::map<IpAddress, std::uint32_t> gateways;

    void note_own(const IpPrefix& p, RouteSource source, bool there) {
        if (source != RouteSource::Local && source != RouteSource::Connected) return;
        auto& own = source == RouteSource::Local ? locals : networks;
        if (there)
            own.insert(p);
        else
            own.erase(p);
    }
    [[nodiscard]] bool find(const IpPrefix& p, Target* target) const {
        return p.address.family == 4 ? tables.lpm4->find(v4(p.address), p.length, target)
                                     : tables.lpm6->find(p.address.bytes, p.length, target);
    }
    bool install(const IpPrefix& p, Target target) {
        Target before;
        const bool good =
            p.address.family == 4
                ? tables.lpm4->insert(v4(p.address), p.length, target, &before) == Lpm4::Result::Ok
                : tables.lpm6->insert(p.address.bytes, p.length, target, &before) ==
                      Lpm6::Result::Ok;
        if (good) filter_sources(p, before, target);
        return good;
    }
    void uninstall(const IpPrefix& p) {
        Target before;
        if (p.address.family == 4)
            tables.lpm4->remove(v4(p.address), p.length, &before);
        else
            tables.lpm6->remove(p.address.bytes, p.length, &before);
        filter_sources(p, before, Target());
    }
    void filter_sources(const IpPrefix& p, Target before, Target after) const {
        if (before.is_ours() == after.is_ours()) return;
        const auto change = [&](auto& filter, const auto& address) {
            if (after.is_ours())
                filter.add(address, p.length);
            else
                filter.remove(address, p.length);
        };
        if (p.address.family == 4)
            change(tables.sources4, v4(p.address));
        else
            change(tables.sources6, p.address.bytes);
    }
    static bool leads(RouteSource s) {
        return s == RouteSource::Neighbour || s == RouteSource::Route ||
               s == RouteSource::Connected;
    }
    std::uint32_t& length_count(const IpPrefix& p) {
        return of_length[(p.address.family == 4 ? 0U : 129U) + p.length];
    }
    void publish(std::uint32_t index);
    void publish_outdated();
    [[nodiscard]] std::vector<NextHopIndex> take_gleaned(std::uint16_t port,
                                                         const IpPrefix& prefix);
    [[nodiscard]] const Target* leading(const IpAddress& address) const;
};

void Rib::State::publish(std::uint32_t index) {
    NextHop& hop = next_hops[index];
    hop.outdated = free_rows.empty();
    if (hop.outdated) {  // reclaim() comes back to it
        any_outdated = true;
        return;
    }
    const std::uint32_t row = free_rows.back();
    free_rows.pop_back();
    const PortInfo& port = ports[hop.gateway.port];
    NextHopRow& r = tables.next_hop_rows[row];
    r = {};
    r.source = port.mac;
    r.mtu = port.mtu;
    r.port = hop.gateway.port;
    r.family = hop.gateway.address.family;
    const auto known = neighbours.find(hop.gateway);
    if (known != neighbours.end()) {
        r.destination = known->second;
        r.resolved = 1;
    }
    tables.next_hops[index].store(row, std::memory_order_release);
    if (hop.row != 0) retired_rows.push_back({hop.row, tables.qsbr.retire()});
    hop.row = row;
}

void Rib::State::publish_outdated() {
    if (!any_outdated) return;
    any_outdated = false;
    for (std::uint32_t i = 1; i < next_hops.size(); ++i)
        if (next_hops[i].used && next_hops[i].outdated) publish(i);
}

// What resolve() made for addresses of a network that is not connected any more.
std::vector<NextHopIndex> Rib::State::take_gleaned(std::uint16_t port, const IpPrefix& prefix) {
    std::vector<NextHopIndex> taken;
    std::erase_if(gleaned, [&](std::uint32_t index) {
        const Gateway& gateway = next_hops[index].gateway;
        if (gateway.port != port || !covers(prefix, gateway.address)) return false;
        next_hops[index].gleaned = false;
        taken.push_back({index});
        return true;
    });
    return taken;
}

// The best claim, among those that lead somewhere, of the longest prefix that covers the address.
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

Rib::Rib(Tables& tables) : state_(std::make_unique<State>(tables)) {}
Rib::~Rib() = default;

bool Rib::insert(const IpPrefix& prefix, RouteSource source, Target target) {
    State& s = *state_;
    auto it = s.claims.find(prefix);
    if (it == s.claims.end()) {
        if (source == RouteSource::Subscriber) return s.install(prefix, target);
        Claims fresh;
        Target alone;
        if (s.find(prefix, &alone))
            fresh.by_source[static_cast<std::size_t>(RouteSource::Subscriber)] = alone;
        it = s.claims.emplace(prefix, fresh).first;
    }
    auto& claim = it->second.by_source[static_cast<std::size_t>(source)];
    const std::optional<Target> before = claim;
    if (before == target) return true;
    claim = target;
    if (!s.install(prefix, *it->second.best())) {
        claim = before;
        if (it->second.best() == nullptr) s.claims.erase(it);
        return false;
    }
    s.note_own(prefix, source, true);
    if (State::leads(source)) {
        if (!before) ++s.length_count(prefix);
        ++s.generation;
    }
    return true;
}

void Rib::remove(const IpPrefix& prefix, RouteSource source) {
    State& s = *state_;
    const auto it = s.claims.find(prefix);
    if (it == s.claims.end()) {
        if (source == RouteSource::Subscriber) s.uninstall(prefix);
        return;
    }
    auto& claim = it->second.by_source[static_cast<std::size_t>(source)];
    if (!claim) return;
    if (source == RouteSource::Connected && claim->kind() == TargetKind::Glean) {
        const auto port = static_cast<std::uint16_t>(claim->index());
        for (const NextHopIndex index : s.take_gleaned(port, prefix)) release_next_hop(index);
    }
    claim.reset();
    s.note_own(prefix, source, false);
    if (State::leads(source)) {
        --s.length_count(prefix);
        ++s.generation;
    }
    if (const Target* best = it->second.best()) {
        s.install(prefix, *best);
        return;
    }
    s.uninstall(prefix);
    s.claims.erase(it);
}

NextHopIndex Rib::acquire_next_hop(std::uint16_t port, const IpAddress& gateway) {
    State& s = *state_;
    const Gateway key{port, gateway};
    const auto known = s.by_gateway.find(key);
    if (known != s.by_gateway.end()) {
        ++s.next_hops[known->second].references;
        return {known->second};
    }
    if (s.free_indexes.empty() || s.free_rows.empty()) reclaim();
    if (s.free_indexes.empty() || s.free_rows.empty()) return {0};
    const std::uint32_t index = s.free_indexes.front();
    s.free_indexes.pop_front();
    s.next_hops[index] = {key, 1, 0, true, false, false};
    s.by_gateway.emplace(key, index);
    ++s.gateways[gateway];
    s.publish(index);
    return {index};
}

void Rib::release_next_hop(NextHopIndex next_hop) {
    State& s = *state_;
    NextHop& hop = s.next_hops[next_hop.value];
    if (next_hop.value == 0 || !hop.used || --hop.references != 0) return;
    s.by_gateway.erase(hop.gateway);
    const auto gateway = s.gateways.find(hop.gateway.address);
    if (gateway != s.gateways.end() && --gateway->second == 0) s.gateways.erase(gateway);
    // The index stays pointing at its row until no worker can still hold it.
    ++s.generation;
    s.retired_indexes.push_back({next_hop.value, hop.row, s.tables.qsbr.retire(), s.generation});
    hop.used = false;
    hop.row = 0;
}

std::size_t Rib::next_hop_capacity() const {
    return state_->next_hops.size();
}

void Rib::set_neighbour(std::uint16_t port, const IpAddress& address, const wire::Mac& mac) {
    State& s = *state_;
    const Gateway key{port, address};
    const auto known = s.neighbours.find(key);
    if (known != s.neighbours.end() && known->second == mac) return;
    s.neighbours[key] = mac;
    const auto hop = s.by_gateway.find(key);
    if (hop != s.by_gateway.end()) s.publish(hop->second);
}

void Rib::clear_neighbour(std::uint16_t port, const IpAddress& address) {
    State& s = *state_;
    const Gateway key{port, address};
    if (s.neighbours.erase(key) == 0) return;
    const auto hop = s.by_gateway.find(key);
    if (hop != s.by_gateway.end()) s.publish(hop->second);
}

void Rib::set_port(std::uint16_t port, const wire::Mac& mac, std::uint16_t mtu) {
    State& s = *state_;
    if (s.ports[port].mac == mac && s.ports[port].mtu == mtu) return;
    s.ports[port] = {mac, mtu};
    for (std::uint32_t i = 1; i < s.next_hops.size(); ++i)
        if (s.next_hops[i].used && s.next_hops[i].gateway.port == port) s.publish(i);
}

NextHopIndex Rib::resolve(const IpAddress& address) {
    State& s = *state_;
    const Target* target = s.leading(address);
    if (target == nullptr) return {0};
    if (target->kind() == TargetKind::NextHop) return {target->index()};
    if (target->kind() != TargetKind::Glean) return {0};
    const auto port = static_cast<std::uint16_t>(target->index());
    const auto known = s.by_gateway.find({port, address});
    if (known != s.by_gateway.end()) return {known->second};
    // Kept while the network is connected: the address is somebody's tunnel endpoint.
    if (s.gleaned.size() >= s.next_hops.size() / 4) return {0};
    const NextHopIndex made = acquire_next_hop(port, address);
    if (made.value == 0) return made;
    s.gleaned.push_back(made.value);
    s.next_hops[made.value].gleaned = true;
    return made;
}

std::string Rib::own_inside(const IpPrefix& prefix) const {
    const State& s = *state_;
    const auto first_network = [&](const std::set<IpPrefix>& own) {
        const auto at = own.lower_bound({prefix.address, 0});
        // Of those at the same address shorter ones, which the prefix is inside of, come first.
        for (auto it = at; it != own.end() && covers(prefix, it->address); ++it)
            if (it->length >= prefix.length) return it;
        return own.end();
    };
    if (const auto it = first_network(s.locals); it != s.locals.end())
        return to_string(it->address) + ", an address of this router";
    if (const auto it = first_network(s.networks); it != s.networks.end())
        return to_string(*it) + ", a network of this router";
    const auto hop = s.gateways.lower_bound(prefix.address);
    if (hop != s.gateways.end() && covers(prefix, hop->first))
        return to_string(hop->first) + ", a next hop";
    return {};
}

void Rib::confirm(std::uint64_t generation) {
    state_->confirmed = generation;
}

std::uint64_t Rib::generation() const {
    return state_->generation;
}

void Rib::visit_unresolved(Visitor visitor, void* argument) const {
    for (const NextHop& hop : state_->next_hops)
        if (hop.used && !state_->neighbours.contains(hop.gateway))
            visitor(argument, hop.gateway.port, hop.gateway.address,
                    hop.references > (hop.gleaned ? 1U : 0U));
}

bool Rib::leads_on(std::uint16_t port, const IpAddress& gateway, unsigned holders) const {
    const auto hop = state_->by_gateway.find({port, gateway});
    return hop != state_->by_gateway.end() && state_->next_hops[hop->second].references > holders;
}

void Rib::reclaim() {
    State& s = *state_;
    s.tables.lpm4->reclaim();
    s.tables.lpm6->reclaim();
    if (s.retired_rows.empty() && s.retired_indexes.empty()) return;
    const Qsbr::Token safe = s.tables.qsbr.safe();
    while (!s.retired_rows.empty() && s.retired_rows.front().token <= safe) {
        s.free_rows.push_back(s.retired_rows.front().row);
        s.retired_rows.pop_front();
    }
    while (!s.retired_indexes.empty()) {
        const State::RetiredIndex& r = s.retired_indexes.front();
        if (r.token > safe || r.generation > s.confirmed) break;
        s.tables.next_hops[r.index].store(0, std::memory_order_release);
        if (r.row != 0) s.retired_rows.push_back({r.row, s.tables.qsbr.retire()});
        s.free_indexes.push_back(r.index);
        s.retired_indexes.pop_front();
    }
    s.publish_outdated();
}

}  // namespace dr
