// The kernel's next hop objects (`ip nexthop`), which routes may use instead of an interface and a
// gateway. With net.ipv4.nexthop_compat_mode 0 a route message has only the id. When a group
// changes, the kernel does not repeat its routes. Handles messages, not the socket.
//
// Thread: the writer.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "base/ip.h"

namespace dr {

class NexthopObjects final {
  public:
    struct Hop {
        int ifindex{};
        IpAddress gateway;  // family 0: none
        bool down{};        // its link is down or has no carrier
        bool dead{};        // the kernel does not use it (ignore_routes_with_linkdown)
        friend bool operator==(const Hop&, const Hop&) = default;
    };

    // RTM_NEWNEXTHOP or RTM_DELNEXTHOP. true: known routes lead elsewhere now; list them again.
    bool take(const nlmsghdr* message);
    // The object id in a route's message; 0: none.
    static std::uint32_t id_of(const nlmsghdr* route);
    // Where a route by this object or group leads; from now on take() reports changes of it.
    std::vector<Hop> hops_of(std::uint32_t id);

    // Mark and sweep: sweep() removes what was not taken since mark(). Routes are listed between.
    void mark();
    void sweep();

  private:
    struct Object {
        Hop hop;
        std::vector<std::uint32_t> group;  // ids; empty: the object is a next hop itself
        std::uint32_t generation{};
    };
    [[nodiscard]] bool in_use(std::uint32_t id) const;

    std::map<std::uint32_t, Object> objects_;
    std::set<std::uint32_t> used_;  // by routes
    std::uint32_t generation_ = 0;
};

}  // namespace dr
