// Notices what changes in the kernel.
#include "ur/netlink_monitor.h"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <span>
#include <system_error>

namespace dr::ur {

NetlinkMonitor::NetlinkMonitor() : socket_(nl_socket_alloc()) {
    if (!socket_) throw std::bad_alloc();
    nl_socket_disable_seq_check(socket_.get());
    if (nl_connect(socket_.get(), NETLINK_ROUTE) != 0 ||
        nl_socket_add_memberships(socket_.get(), RTNLGRP_LINK, RTNLGRP_TC, RTNLGRP_IPV4_IFADDR,
                                  RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
                                  RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_IPV4_NETCONF,
                                  RTNLGRP_IPV6_NETCONF, RTNLGRP_NONE) != 0)
        throw std::system_error(errno, std::generic_category(), "route netlink monitor");
    nl_socket_set_nonblocking(socket_.get());
}

bool NetlinkMonitor::drain() {
    alignas(nlmsghdr) std::array<char, 16384> buffer;
    bool urgent = false;
    for (;;) {
        const ssize_t size = recv(fd(), buffer.data(), buffer.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && errno != ENOBUFS) return urgent;
        const auto received = static_cast<std::size_t>(std::max<ssize_t>(size, 0));
        urgent = urgent || size < 0 || beyond_routes(std::span(buffer).first(received));
    }
}

}  // namespace dr::ur
