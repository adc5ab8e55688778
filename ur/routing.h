// Policy routing of the site's prefixes into the tunnel device:
//
//   4754: from PREFIX, to PREFIX   lookup main, without default routes and routes over lines
//   4755: from PREFIX, to PREFIX   lookup 4754
//   table 4754: default through the tunnel device; PREFIX unreachable; default unreachable
//
// The unreachable routes keep the site's packets off the lines: those for unused addresses of the
// prefixes, and all of them while the tunnel device is gone because urd was killed. What gets past
// rules and routes all the same meets the guard (ur/bpf/guard.h).
#pragma once

#include <cstdint>
#include <set>
#include <vector>

#include "ur/config.h"
#include "ur/netlink.h"
#include "ur/repairs.h"

namespace dr::ur {

inline constexpr std::uint32_t kTable = 4754;
inline constexpr std::uint32_t kPriority = 4754;
// Marks urd's own rules and routes (rtm_protocol), so that they can be found again.
inline constexpr std::uint8_t kRouteProtocol = 147;

// How many rules or routes had to be put back.
struct RoutingDamage {
    unsigned missing = 0;   // and nothing was in their place
    unsigned replaced = 0;  // something else was in their place, or before them in it
};

class Routing final {
  public:
    // The prefixes of the rules that an earlier run has left. Throws std::system_error.
    static std::vector<IpPrefix> kept(Netlink& netlink);

    // What an earlier run has left stays until the first set().
    Routing(Netlink& netlink, int device, Repairs& repairs);
    ~Routing();
    Routing(const Routing&) = delete;
    Routing& operator=(const Routing&) = delete;

    // The largest packet that the site may send into the tunnels; larger ones earn the kernel's
    // ICMP errors. Throws std::system_error.
    void set_mtu(unsigned mtu);
    // The device has another MTU: the kernel changes that of IPv6 routes with it. Throws
    // std::system_error.
    void renew();
    // Makes these the prefixes; what of theirs is there is not touched, be it of an earlier run.
    // What the kernel refuses is tried again by restore(). Throws std::system_error.
    void set(const std::vector<IpPrefix>& prefixes);
    // To a tunnel device that was made again; restore() makes its routes.
    void move(int device) { device_ = device; }
    // Puts back what somebody has removed, or put in the place of ours. Throws std::system_error.
    void restore();
    // At the end all stays but the default routes, which go with the tunnel device.
    void leave() { leave_ = true; }

  private:
    [[nodiscard]] static RouteSpec unreachable(const IpPrefix& prefix);
    [[nodiscard]] RouteSpec through_device(std::uint8_t family) const;
    RoutingDamage put_back_rules();
    RoutingDamage put_back_routes();
    void set_default(std::uint8_t family);
    void remove_others();
    void remove_all() noexcept;

    Netlink& netlink_;
    Repairs& repairs_;
    int device_;
    unsigned mtu_ = 1280;
    std::set<std::uint8_t> families_;
    std::set<IpPrefix> prefixes_;
    bool leave_ = false;
};

}  // namespace dr::ur
