// Opens the netlink socket, lists, and decodes messages.
#include "dataplane/ports/netlink_socket.h"

#include <fmt/format.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <netlink/addr.h>
#include <netlink/msg.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/rtnl.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace dr {

namespace {

// The listings, in this order: links first, because they map interfaces to ports; next hop objects
// before the routes that use them.
constexpr std::array<int, 5> kListings{RTM_GETLINK, RTM_GETADDR, RTM_GETNEIGH, RTM_GETNEXTHOP,
                                       RTM_GETROUTE};
constexpr std::array<int, 7> kGroups{RTNLGRP_LINK,   RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                     RTNLGRP_NEIGH,  RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE,
                                     RTNLGRP_NEXTHOP};
constexpr int kReceiveBuffer = 8 << 20;
// Datagrams taken in one poll(): about a thousand routes each at most.
constexpr unsigned kBudget = 32;

}  // namespace

IpAddress to_address(nl_addr* address) {
    IpAddress out;
    if (address == nullptr) return out;
    const int family = nl_addr_get_family(address);
    if (family != AF_INET && family != AF_INET6) return out;
    out.family = family == AF_INET ? 4 : 6;
    std::memcpy(out.bytes.data(), nl_addr_get_binary_addr(address),
                std::min(nl_addr_get_len(address), family == AF_INET ? 4U : 16U));
    return out;
}

bool is_loopback(const IpAddress& address) {
    static constexpr std::array<std::uint8_t, 16> kOne{0, 0, 0, 0, 0, 0, 0, 0,
                                                       0, 0, 0, 0, 0, 0, 0, 1};
    return address.family == 4 ? address.bytes[0] == 127 : address.bytes == kOne;
}

std::unique_ptr<NetlinkSocket> NetlinkSocket::create(Handlers handlers, std::string* error) {
    std::unique_ptr<NetlinkSocket> socket(new NetlinkSocket);
    socket->handlers_ = std::move(handlers);
    if (!socket->open(error)) return nullptr;
    return socket;
}

bool NetlinkSocket::open(std::string* error) {
    events_.reset(nl_socket_alloc());
    requests_.reset(nl_socket_alloc());
    int result = events_ && requests_ ? 0 : -NLE_NOMEM;
    if (result == 0) result = nl_connect(events_.get(), NETLINK_ROUTE);
    if (result == 0) result = nl_connect(requests_.get(), NETLINK_ROUTE);
    for (const int group : kGroups)
        if (result == 0) result = nl_socket_add_membership(events_.get(), group);
    if (result == 0) result = nl_socket_set_nonblocking(events_.get());
    if (result == 0) result = nl_socket_set_nonblocking(requests_.get());
    if (result != 0) {
        *error =
            fmt::format("cannot listen to the kernel's routing changes: {}", nl_geterror(result));
        return false;
    }
    // Best effort: with the system's limit, notifications are lost sooner, and listed again.
    nl_socket_set_buffer_size(events_.get(), kReceiveBuffer, 0);
    nl_socket_set_msg_buf_size(events_.get(), 64 * 1024);
    nl_socket_disable_seq_check(events_.get());
    nl_socket_disable_auto_ack(requests_.get());
    nl_socket_modify_cb(events_.get(), NL_CB_VALID, NL_CB_CUSTOM, on_valid, this);
    nl_socket_modify_cb(events_.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_finish, this);
    nl_socket_modify_cb(events_.get(), NL_CB_DUMP_INTR, NL_CB_CUSTOM, on_interrupted, this);
    return true;
}

int NetlinkSocket::fd() const {
    return nl_socket_get_fd(events_.get());
}

int NetlinkSocket::on_valid(nl_msg* message, void* self) {
    static_cast<NetlinkSocket*>(self)->handlers_.message(message);
    return NL_OK;
}

int NetlinkSocket::on_finish(nl_msg*, void* self) {
    static_cast<NetlinkSocket*>(self)->finished_step_ = true;
    return NL_STOP;
}

int NetlinkSocket::on_interrupted(nl_msg*, void* self) {
    static_cast<NetlinkSocket*>(self)->listing_due_ = true;
    return NL_OK;
}

void NetlinkSocket::poll() {
    for (unsigned i = 0; i < kBudget; ++i) {
        // One listing ends before another begins: the kernel does one at a time.
        if (step_ == kIdle && listing_due_) {
            listing_due_ = false;
            step_ = 0;
            handlers_.begin();
            next_listing();
        }
        const int result = nl_recvmsgs_default(events_.get());
        if (result == -NLE_NOMEM || result == -NLE_DUMP_INTR) listing_due_ = true;
        if (finished_step_) {
            finished_step_ = false;
            next_listing();
            continue;
        }
        if (result >= 0 || result == -NLE_NOMEM || result == -NLE_DUMP_INTR) continue;
        if (result != -NLE_AGAIN && step_ != kIdle && step_ != 0 &&
            kListings[step_ - 1] == RTM_GETNEXTHOP) {
            next_listing();  // a kernel before 5.3 has no such objects
            continue;
        }
        if (result != -NLE_AGAIN && step_ != kIdle) {
            // The kernel has refused the listing: again, but not before the next poll.
            step_ = kIdle;
            listing_due_ = true;
        }
        break;
    }
    // Errors to resolve requests (a link that went away) are taken and forgotten.
    nl_recvmsgs_default(requests_.get());
}

void NetlinkSocket::next_listing() {
    if (step_ == kIdle) return;
    if (step_ == kListings.size()) {
        step_ = kIdle;
        // If notifications were lost meanwhile it is incomplete, and the next listing counts.
        if (!listing_due_) handlers_.end();
        return;
    }
    nhmsg nexthops{};
    const int listing = kListings[step_];
    const int sent =
        listing == RTM_GETNEXTHOP
            ? nl_send_simple(events_.get(), listing, NLM_F_DUMP, &nexthops, sizeof nexthops)
            : nl_rtgen_request(events_.get(), listing, AF_UNSPEC, NLM_F_DUMP);
    if (sent < 0) {
        step_ = kIdle;
        listing_due_ = true;
        return;
    }
    ++step_;
}

void NetlinkSocket::resolve(int ifindex, const IpAddress& address) {
    rtnl_neigh* neighbour = rtnl_neigh_alloc();
    nl_addr* target = nl_addr_build(address.family == 4 ? AF_INET : AF_INET6, address.bytes.data(),
                                    address.family == 4 ? 4 : 16);
    nl_msg* message = nullptr;
    if (neighbour != nullptr && target != nullptr) {
        rtnl_neigh_set_ifindex(neighbour, ifindex);
        rtnl_neigh_set_dst(neighbour, target);
        rtnl_neigh_set_flags(neighbour, NTF_USE);
        if (rtnl_neigh_build_add_request(neighbour, NLM_F_CREATE, &message) == 0)
            nl_send_auto(requests_.get(), message);
    }
    nlmsg_free(message);
    nl_addr_put(target);
    rtnl_neigh_put(neighbour);
}

}  // namespace dr
