// A route netlink socket (libnl): notifications and listings in one stream, so that a listing and
// the changes that happen meanwhile arrive in the order in which they happened.
//
// Non-blocking. Thread: the writer.
#pragma once

#include <netlink/addr.h>
#include <netlink/netlink.h>

#include <functional>
#include <memory>
#include <string>

#include "base/ip.h"

namespace dr {

class NetlinkSocket final {
  public:
    struct Handlers {
        // A new, changed or removed link, address, neighbour, next hop object or route.
        std::function<void(nl_msg*)> message;
        // A full listing begins; mark everything that is known.
        std::function<void()> begin;
        // The listing is complete; remove what it did not contain.
        std::function<void()> end;
    };
    // Null and a reason when the kernel refuses.
    static std::unique_ptr<NetlinkSocket> create(Handlers handlers, std::string* error);
    NetlinkSocket(const NetlinkSocket&) = delete;
    NetlinkSocket& operator=(const NetlinkSocket&) = delete;

    // Processes waiting messages, a bounded number at most. Starts a listing when one is due: at
    // first, after resync(), and when the kernel reports lost notifications.
    void poll();
    void resync() { listing_due_ = true; }
    [[nodiscard]] bool synced() const { return !listing_due_ && step_ == kIdle; }
    [[nodiscard]] int fd() const;

    // Asks the kernel to resolve a neighbour, or to verify it (RTM_NEWNEIGH with NTF_USE). The
    // answer is a notification.
    void resolve(int ifindex, const IpAddress& address);

  private:
    struct Free {
        void operator()(nl_sock* s) const { nl_socket_free(s); }
    };
    static constexpr unsigned kIdle = ~0U;

    NetlinkSocket() = default;
    static int on_valid(nl_msg* message, void* self);
    static int on_finish(nl_msg* message, void* self);
    static int on_interrupted(nl_msg* message, void* self);
    bool open(std::string* error);
    void next_listing();

    Handlers handlers_;
    std::unique_ptr<nl_sock, Free> events_;
    std::unique_ptr<nl_sock, Free> requests_;
    unsigned step_ = kIdle;  // of the listing
    bool listing_due_ = true;
    bool finished_step_ = false;
};

// nl_addr or its absence (a default route, no gateway) as our types.
IpAddress to_address(nl_addr* address);
// 127/8 and ::1.
bool is_loopback(const IpAddress& address);

}  // namespace dr
