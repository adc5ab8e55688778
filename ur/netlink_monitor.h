// Hears what changes in the kernel's network state. One thread.
#pragma once

#include "ur/netlink.h"

namespace dr::ur {

// Tells that links, addresses, routes, rules, forwarding, or tc's qdiscs and filters have
// changed.
class NetlinkMonitor final {
  public:
    // Throws std::system_error.
    NetlinkMonitor();
    [[nodiscard]] int fd() const { return nl_socket_get_fd(socket_.get()); }
    // Takes all that is waiting. True: more than routes has changed, or messages were lost.
    bool drain();

  private:
    NlSocket socket_;
};

}  // namespace dr::ur
