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

class Routing final {
  public:
    // Removes what a killed run left. Throws std::system_error.
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
    // Makes these the prefixes; those that stay are not touched. Throws std::system_error.
    void set(const std::vector<IpPrefix>& prefixes);
    // To a tunnel device that was made again; restore() makes its routes.
    void move(int device) { device_ = device; }
    // Puts back what somebody has removed. Throws std::system_error.
    void restore();
    // At the end all stays but the default routes, which go with the tunnel device.
    void leave() { leave_ = true; }

  private:
    void open_family(std::uint8_t family);
    unsigned restore_rules();
    unsigned restore_routes();
    void set_default(std::uint8_t family, bool only_missing);
    void add(const IpPrefix& prefix);
    void remove(const IpPrefix& prefix);
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
