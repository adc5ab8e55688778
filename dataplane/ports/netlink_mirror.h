// Mirrors the kernel's view of the ports whose interface the kernel keeps: links, addresses,
// neighbours and the routes of the main table go into the Rib, as they are and as they change. It
// goes on when drd is down.
//
//   address of any interface        -> Local (127/8, ::1, and other interfaces' fe80:: left out)
//   route through a port            -> NextHop; without gateway -> Glean (connected)
//   blackhole, unreachable, prohibit -> Blackhole, each with its Discard
//   neighbour on a port             -> NextHop, where nothing but a connected network of that port
//                                      leads to its address (Rib::learn_neighbour)
//
//   route over another interface    -> Elsewhere: never another way than the kernel's
//
// Of a multipath route's next hops through ports, the first whose MAC address is known is used.
// Routes by next hop objects (`ip nexthop`) count as if they named the next hops. A route that
// finds no room waits for room. Routing rules and tables other than main are not followed.
//
// Thread: the writer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/ports/error_source.h"
#include "dataplane/tables/rib.h"

namespace dr {

struct MirroredPort {
    std::uint16_t port;
    std::string interface;
    // The largest packet the port can take, bytes of IP; the interface may have less.
    std::uint16_t mtu = 65'535;
};

class NetlinkMirror final {
  public:
    struct Hooks {
        // A port's interface went up (running) or down.
        std::function<void(std::uint16_t port, bool up)> link;
        // addresses() has changed.
        std::function<void()> addresses_changed;
    };
    static std::unique_ptr<NetlinkMirror> create(Rib& rib, std::vector<MirroredPort> ports,
                                                 Hooks hooks, std::string* error);
    ~NetlinkMirror();
    NetlinkMirror(const NetlinkMirror&) = delete;
    NetlinkMirror& operator=(const NetlinkMirror&) = delete;

    // Processes the kernel's messages, and asks it for neighbours that are missing or stale. Call
    // it when fd() is readable, and a few times a second.
    void poll();
    [[nodiscard]] int fd() const;
    // Everything that was there at start is in the Rib.
    [[nodiscard]] bool synced() const;

    // A worker met a packet for this neighbour. Next hops of the Rib are asked for by poll().
    void want(std::uint16_t port, const IpAddress& address);

    // All own addresses of the namespace, and a number that grows when the set changes.
    [[nodiscard]] std::vector<IpAddress> locals() const;
    [[nodiscard]] std::uint64_t locals_generation() const;
    // The same, each with its interface; those of one interface in the kernel's order.
    [[nodiscard]] std::vector<OwnAddress> addresses() const;
    // false: the interface is gone, or down.
    [[nodiscard]] bool up(std::uint16_t port) const;
    // Routes that found no room in the tables, ever.
    [[nodiscard]] std::uint64_t refused_routes() const;
    // Routes that wait for room now.
    [[nodiscard]] std::size_t waiting_routes() const;

  private:
    NetlinkMirror();
    struct Core;
    std::unique_ptr<Core> core_;
};

}  // namespace dr
