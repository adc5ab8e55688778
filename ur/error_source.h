// The address from which the router's ICMP errors about the site's packets come. The kernel takes
// it from the device on which a packet came in. So the tunnel device has one of the site's
// prefixes: the error goes back through a tunnel, and does not tell a line's address. One thread.
#pragma once

#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/ip.h"
#include "ur/netlink.h"

namespace dr::ur {

// The router's own address inside the prefixes, on the device `lan` (an ifindex, 0: none) when
// there is one; without any the first address of the family's first prefix. Family 0: no prefix is
// of the family.
IpAddress pick_error_source(std::uint8_t family, std::span<const IpPrefix> prefixes,
                            std::span<const OwnAddress> own, int lan);

class ErrorSource final {
  public:
    // The addresses are put on `device` (an ifindex), and go with it; no route leads to them, so
    // that packets to them go where they went. `lan` may be empty. An address of a device that is
    // `foreign` (a line's) is none of the router's.
    ErrorSource(Netlink& netlink, int device, std::string lan, std::function<bool(int)> foreign);

    // The prefixes in force. Takes effect with the next update().
    void set(std::vector<IpPrefix> prefixes) { prefixes_ = std::move(prefixes); }
    // To a device that was made again.
    void move(int device) {
        device_ = device;
        now_.clear();
    }
    // Makes the device's addresses those that are right now. Throws std::system_error.
    void update();
    // The family's, as of the last update(); family 0: there is none.
    [[nodiscard]] IpAddress address(std::uint8_t family) const {
        const auto at = now_.find(family);
        return at == now_.end() ? IpAddress{} : at->second;
    }

  private:
    void put(std::uint8_t family, const IpAddress& wanted, bool there);

    Netlink& netlink_;
    int device_;
    std::string lan_;
    std::function<bool(int)> foreign_;
    std::vector<IpPrefix> prefixes_;
    std::map<std::uint8_t, IpAddress> now_;  // by family
};

}  // namespace dr::ur
