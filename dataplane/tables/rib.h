// The writer's view of the two lookup tables: several sources may claim one prefix, the best one
// is installed. Also owns next hops and says which next hop leads to an address.
//
// One thread: the writer. Sources: the table writer (subscribers, pools), port configuration and
// the netlink mirror (local addresses, neighbours, connected networks, routes).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/ip.h"
#include "dataplane/tables/tables.h"

namespace dr {

// A neighbour to send packets to.
struct Via {
    std::uint16_t port{};
    IpAddress gateway;
    friend constexpr auto operator<=>(const Via&, const Via&) = default;
};

// In order of preference, best first, when several claim the same prefix. One exception: a route
// that discards comes before a subscriber of the same prefix (RFC 5635), unless the prefix is also
// a pool's, because operators install such routes to have a routing daemon announce a pool.
enum class RouteSource : std::uint8_t { Local, Subscriber, Pool, Neighbour, Route, Connected };

class Rib final {
  public:
    explicit Rib(Tables& tables);
    ~Rib();

    // false: the lookup table is full, nothing changed.
    bool insert(const IpPrefix& prefix, RouteSource source, Target target);
    void remove(const IpPrefix& prefix, RouteSource source);

    // The next hop through `port` to `gateway` (a neighbour's address). A new one is created
    // unresolved. References are counted; index 0: the table is full.
    NextHopIndex acquire_next_hop(std::uint16_t port, const IpAddress& gateway);
    // A next hop that leads to the first of these whose MAC address is known, or to the first one
    // while none is known. Holds a next hop for each. At least one is required.
    NextHopIndex acquire_group(std::vector<Via> members);
    void release_next_hop(NextHopIndex next_hop);
    [[nodiscard]] std::size_t next_hop_capacity() const;
    // Sets a neighbour's state. Publishes a new row for each next hop that has it as gateway.
    void set_neighbour(std::uint16_t port, const IpAddress& address, const wire::Mac& mac);
    // The same for a neighbour that the kernel has learned. Anybody on the network can make the
    // kernel learn any address. It gets a host route only while the longest other prefix that holds
    // the address is a network connected through this very port, so not for an address in a route,
    // a subscriber or a pool, or without a route. Such neighbours have at most half of the next
    // hops.
    void learn_neighbour(std::uint16_t port, const IpAddress& address, const wire::Mac& mac);
    void clear_neighbour(std::uint16_t port, const IpAddress& address);
    // Own MAC and MTU of a port, used in all of its next hops.
    void set_port(std::uint16_t port, const wire::Mac& mac, std::uint16_t mtu);

    // The next hop that leads to this address by the current tables, using only neighbours,
    // connected networks and routes. For a connected address without neighbour entry an unresolved
    // one is created, and kept while the network is connected; these take at most a quarter of the
    // table, so that gateways find room. {0}: no route, or no room. The result holds no reference:
    // resolve again when generation() has grown, then call confirm(). Until then a released next
    // hop stays unchanged, and its index is not used again.
    NextHopIndex resolve(const IpAddress& address);
    // The object of this router that the prefix holds: "192.0.2.1, an address of this router",
    // "192.0.2.0/24, a network of this router", "192.0.2.2, a next hop"; empty: nothing. A prefix
    // inside a connected network that holds none of these is accepted. Next hops are those of
    // routes, of configuration and of tunnels that end on connected networks; not neighbours as
    // such. Its work does not grow with the number of routes.
    [[nodiscard]] std::string own_inside(const IpPrefix& prefix) const;
    // A subscriber with a prefix for which own_inside() is not empty; {0}: none.
    [[nodiscard]] SubscriberIndex around_own() const;
    // Grows with each change that may alter a result of resolve().
    [[nodiscard]] std::uint64_t generation() const;
    // The caller declares that it holds no result of resolve() from before this generation.
    void confirm(std::uint64_t generation);
    // Calls back for each unresolved next hop, so that the netlink mirror can ask for it: port,
    // address, and whether it is the gateway of a route; otherwise tunnels end there.
    template <typename F>
    void for_each_unresolved(F&& callback) const {
        visit_unresolved([](void* f, std::uint16_t p, const IpAddress& a,
                            bool gateway) { (*static_cast<F*>(f))(p, a, gateway); },
                         &callback);
    }
    // Whether a route or a tunnel uses the next hop.
    [[nodiscard]] bool leads_on(std::uint16_t port, const IpAddress& gateway) const;
    void reclaim();

  private:
    using Visitor = void (*)(void*, std::uint16_t, const IpAddress&, bool);
    void visit_unresolved(Visitor visitor, void* argument) const;
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace dr
