// The Rib's own state; only for rib.cpp and rib_next_hops.cpp.
//
// Claims: only prefixes with a claim other than a subscriber's are kept here. A prefix that only a
// subscriber claims is in the lookup table alone, so a million of them cost nothing here.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <vector>

#include "dataplane/tables/rib.h"

namespace dr {

namespace rib {

constexpr std::size_t kSources = 6;

struct Claims {
    std::array<std::optional<Target>, kSources> by_source;
    [[nodiscard]] const std::optional<Target>& of(RouteSource source) const {
        return by_source[static_cast<std::size_t>(source)];
    }
    [[nodiscard]] std::optional<Target> best() const {
        const auto& subscriber = of(RouteSource::Subscriber);
        const auto& route = of(RouteSource::Route);
        // Packets from this prefix are still accepted from the subscriber, and from no other
        // sender.
        if (subscriber && !of(RouteSource::Local) && !of(RouteSource::Pool) && route &&
            route->kind() == TargetKind::Blackhole)
            return Target::discarding(route->discard(), subscriber->index());
        for (const auto& target : by_source)
            if (target) return target;
        return std::nullopt;
    }
};

inline std::uint64_t mix(std::uint64_t h, const std::uint8_t* p, std::size_t n) {
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

struct NeighbourKey {
    IpAddress address;
    std::uint16_t port{};
    friend auto operator<=>(const NeighbourKey&, const NeighbourKey&) = default;
};
struct Neighbour {
    wire::Mac mac{};
    bool learned{};  // may have a host route, where settle_neighbour() says so
    NextHopIndex host_route{};
};

struct PortInfo {
    wire::Mac mac{};
    std::uint16_t mtu = 1500;
};

struct NextHop {
    Gateway gateway;  // of a group: its first member's
    std::uint32_t references{};
    std::uint32_t row{};
    bool used{};
    bool outdated{};                       // a change waits for a free row
    bool gleaned{};                        // resolve() holds a reference: tunnels end there
    bool learned{};                        // a neighbour's host route holds a reference
    std::vector<std::uint32_t> members{};  // of a group
    std::vector<std::uint32_t> groups{};   // that it is a member of
    // Of routes, configuration and tunnels, not of neighbours.
    [[nodiscard]] std::uint32_t configured() const { return references - (learned ? 1U : 0U); }
};

inline IpAddress masked(IpAddress a, unsigned length) {
    for (unsigned i = 0; i < 16; ++i) {
        const unsigned bits = length > 8 * i ? length - 8 * i : 0;
        if (bits < 8) a.bytes[i] = static_cast<std::uint8_t>(a.bytes[i] & ~(0xffU >> bits));
    }
    return a;
}

inline Lpm4::Address v4(const IpAddress& a) {
    return {a.bytes[0], a.bytes[1], a.bytes[2], a.bytes[3]};
}

inline IpPrefix host_prefix(const IpAddress& address) {
    return {address, static_cast<std::uint8_t>(address.family == 4 ? 32 : 128)};
}

}  // namespace rib

struct Rib::State {
    using Claims = rib::Claims;
    using Gateway = rib::Gateway;
    using Neighbour = rib::Neighbour;
    using NeighbourKey = rib::NeighbourKey;
    using NextHop = rib::NextHop;

    explicit State(Tables& t) : tables(t) {
        next_hops.resize(t.next_hops.size());
        for (std::uint32_t i = 1; i < next_hops.size(); ++i) free_indexes.push_back(i);
        for (std::uint32_t i = t.next_hop_rows.size(); i-- > 1;) free_rows.push_back(i);
    }

    Tables& tables;
    std::uint64_t generation = 1;
    std::unordered_map<IpPrefix, Claims, rib::PrefixHash> claims;
    std::array<std::uint32_t, 258> of_length{};  // claims of neighbours, connected and routes
    std::array<std::uint32_t, 258> installed_of_length{};
    std::vector<NextHop> next_hops;
    // First in, first out: a released index is used again only after all other free ones. Until
    // then a holder of a result of resolve() has time to resolve again.
    std::deque<std::uint32_t> free_indexes;
    std::vector<std::uint32_t> free_rows;
    std::vector<std::uint32_t> gleaned;  // next hops that resolve() made and refers to
    bool any_outdated = false;
    struct RetiredRow {
        std::uint32_t row;
        Qsbr::Token token;
    };
    // Waits for the workers, and for the holders of results of resolve().
    struct RetiredIndex {
        std::uint32_t index;
        std::uint32_t row;  // 0: none
        Qsbr::Token token;
        std::uint64_t generation;
    };
    std::deque<RetiredRow> retired_rows;
    std::deque<RetiredIndex> retired_indexes;
    std::uint64_t confirmed = 0;
    std::unordered_map<Gateway, std::uint32_t, rib::GatewayHash> by_gateway;
    std::map<std::vector<Via>, std::uint32_t> by_members;  // groups
    // By address, so that the neighbours inside a prefix are adjacent.
    std::map<NeighbourKey, Neighbour> neighbours;
    std::size_t host_routes = 0;  // of neighbours
    std::array<rib::PortInfo, kMaxPorts> ports{};

    // Own addresses and connected networks; next hops that routes, configuration or tunnels lead
    // to, by how many ports they are on.
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
        return p.address.family == 4 ? tables.lpm4->find(rib::v4(p.address), p.length, target)
                                     : tables.lpm6->find(p.address.bytes, p.length, target);
    }
    bool install(const IpPrefix& p, Target target) {
        Target before;
        const bool good = p.address.family == 4
                              ? tables.lpm4->insert(rib::v4(p.address), p.length, target,
                                                    &before) == Lpm4::Result::Ok
                              : tables.lpm6->insert(p.address.bytes, p.length, target, &before) ==
                                    Lpm6::Result::Ok;
        if (!good) return false;
        if (before.kind() == TargetKind::None) ++installed_of_length[place_of(p)];
        filter_sources(p, before, target);
        return true;
    }
    void uninstall(const IpPrefix& p) {
        Target before;
        if (p.address.family == 4)
            tables.lpm4->remove(rib::v4(p.address), p.length, &before);
        else
            tables.lpm6->remove(p.address.bytes, p.length, &before);
        if (before.kind() != TargetKind::None) --installed_of_length[place_of(p)];
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
            change(tables.sources4, rib::v4(p.address));
        else
            change(tables.sources6, p.address.bytes);
    }
    static bool leads(RouteSource s) {
        return s == RouteSource::Neighbour || s == RouteSource::Route ||
               s == RouteSource::Connected;
    }
    static std::size_t place_of(const IpPrefix& p) {
        return (p.address.family == 4 ? 0U : 129U) + p.length;
    }
    bool claim(const IpPrefix& prefix, RouteSource source, Target target);
    void unclaim(const IpPrefix& prefix, RouteSource source);
    NextHopIndex acquire(const Gateway& gateway, bool learned);
    void release(NextHopIndex next_hop, bool learned);
    void reclaim();
    void forget_neighbour(const Gateway& gateway);
    void settle_neighbours(const IpPrefix& prefix);
    void settle_neighbour(const NeighbourKey& key, Neighbour& neighbour);
    [[nodiscard]] SubscriberIndex subscriber_around(const IpPrefix& own) const;
    [[nodiscard]] Target below_host_route(const IpAddress& address, bool routed) const;
    NextHopIndex acquire_group(std::vector<Via> members);
    void forget_group(const NextHop& group);
    [[nodiscard]] const Gateway& chosen(const NextHop& hop) const;
    void publish(std::uint32_t index);
    void publish_with_groups(const Gateway& gateway);
    void publish_outdated();
    [[nodiscard]] std::vector<NextHopIndex> take_gleaned(std::uint16_t port,
                                                         const IpPrefix& prefix);
    [[nodiscard]] const Target* leading(const IpAddress& address) const;
};

}  // namespace dr
