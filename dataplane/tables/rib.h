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

// In order of preference, best first, where several claim the same prefix. One exception: a route
// that discards goes before a subscriber of the same prefix (RFC 5635), unless that is a pool's,
// which an operator may discard to have a routing daemon announce it.
enum class RouteSource : std::uint8_t { Local, Subscriber, Pool, Neighbour, Route, Connected };

class Rib final {
  public:
    explicit Rib(Tables& tables);
    ~Rib();

    // false: the lookup table is full, nothing changed.
    bool insert(const IpPrefix& prefix, RouteSource source, Target target);
    void remove(const IpPrefix& prefix, RouteSource source);

    // The next hop through `port` to `gateway` (a neighbour's address); made when it is new,
    // unresolved. References are counted; index 0: the table is full.
    NextHopIndex acquire_next_hop(std::uint16_t port, const IpAddress& gateway);
    // One that leads to the first of these whose MAC address is known; the first, while none is.
    // Holds a next hop for each. At least one.
    NextHopIndex acquire_group(std::vector<Via> members);
    void release_next_hop(NextHopIndex next_hop);
    [[nodiscard]] std::size_t next_hop_capacity() const;
    // What is known of a neighbour. Publishes a new row for each next hop that has it as gateway.
    void set_neighbour(std::uint16_t port, const IpAddress& address, const wire::Mac& mac);
    // The same for one that the kernel has learned, which anybody on the network can make it do for
    // any address. It gets a host route too, as long as the table's longest other prefix that holds
    // the address is a network connected through this very port: not of an address that a route, a
    // subscriber, a pool or nothing else leads to. The host route comes and goes with these. Half
    // of the next hops at most are such neighbours'.
    void learn_neighbour(std::uint16_t port, const IpAddress& address, const wire::Mac& mac);
    void clear_neighbour(std::uint16_t port, const IpAddress& address);
    // Own MAC and MTU of a port, used in all of its next hops.
    void set_port(std::uint16_t port, const wire::Mac& mac, std::uint16_t mtu);

    // The next hop that leads to this address by the current tables, looking only at neighbours,
    // connected networks and routes. For a connected address without neighbour entry one is made,
    // unresolved, and kept while the network is connected; at most a quarter of the table, so that
    // gateways find room. {0}: no route, or no room. The result carries no
    // reference: resolve again when generation() has grown, and say so with confirm(). Until then a
    // next hop that was released stays as it was, and its index is not used again.
    NextHopIndex resolve(const IpAddress& address);
    // What of this router's own the prefix holds: "192.0.2.1, an address of this router",
    // "192.0.2.0/24, a network of this router", "192.0.2.2, a next hop"; empty: nothing. What lies
    // inside a connected network and holds none of these is fine. Next hops are those of routes, of
    // configuration and of tunnels that end on connected networks; not neighbours as such. Its work
    // does not grow with the number of routes.
    [[nodiscard]] std::string own_inside(const IpPrefix& prefix) const;
    // A subscriber one of whose prefixes own_inside() has an answer for; {0}: none has.
    [[nodiscard]] SubscriberIndex around_own() const;
    // Grows with each change that may alter a result of resolve().
    [[nodiscard]] std::uint64_t generation() const;
    // Whoever keeps results of resolve() holds none from before this generation any more.
    void confirm(std::uint64_t generation);
    // Next hops still unresolved, for the netlink mirror to ask about; calls back with port,
    // address, and whether it is the gateway of a route: else tunnels end there.
    template <typename F>
    void for_each_unresolved(F&& callback) const {
        visit_unresolved([](void* f, std::uint16_t p, const IpAddress& a,
                            bool gateway) { (*static_cast<F*>(f))(p, a, gateway); },
                         &callback);
    }
    // A route goes that way, or a tunnel.
    [[nodiscard]] bool leads_on(std::uint16_t port, const IpAddress& gateway) const;
    void reclaim();

  private:
    using Visitor = void (*)(void*, std::uint16_t, const IpAddress&, bool);
    void visit_unresolved(Visitor visitor, void* argument) const;
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace dr
