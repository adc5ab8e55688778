// The few things urd asks of the kernel over route netlink, with libnl. Every call waits for the
// kernel's answer; failures are exceptions (std::system_error with the kernel's errno and what was
// being done). One thread.
#pragma once

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ip.h"
#include "ur/netlink_messages.h"

namespace dr::ur {

struct NlMessageFree {
    void operator()(nl_msg* m) const { nlmsg_free(m); }
};
using NlMessage = std::unique_ptr<nl_msg, NlMessageFree>;

struct NlSocketFree {
    void operator()(nl_sock* s) const { nl_socket_free(s); }
};
using NlSocket = std::unique_ptr<nl_sock, NlSocketFree>;

// A rule or a route as the kernel has it, and the request that removes just that.
template <typename Spec>
struct Seen {
    Spec spec;
    NlMessage removal;
};

// Of the default routes through the tunnel device.
inline constexpr std::uint32_t kTunnelMetric = 1;

class Netlink final {
  public:
    Netlink();

    // nullopt: no such device.
    std::optional<Link> link(const std::string& device);
    std::optional<Link> link(int index);
    // MTU in bytes; no ARP; no automatic IPv6 address; then up.
    void set_up_device(int index, unsigned mtu);
    void set_mtu(int index, unsigned mtu);
    // Two Ethernet devices; what is sent on one arrives on the other (veth).
    void add_pair(const std::string& name, const std::string& peer);
    void remove_link(int index);
    void set_name(int index, const std::string& name);
    void set_group(int index, std::uint32_t group);
    // Global addresses of the family on the device; `routed` is not set.
    std::vector<SourceAddress> source_addresses(int index, std::uint8_t family);
    // The address from which the kernel itself would send to `remote` over the device (RFC 6724);
    // family 0: no route leads there.
    IpAddress source_to(int index, const IpAddress& remote);
    // All addresses on the device but link-local ones, with the lengths of their networks.
    std::vector<IpPrefix> addresses_of(int index);
    // The gateway that leads from `local` to `remote` over this device; family 0: on the link.
    // nullopt: no route leads there.
    std::optional<IpAddress> gateway(int index, const IpAddress& local, const IpAddress& remote);

    void add_rule(const RuleSpec& rule);
    // All of both families.
    std::vector<Seen<RuleSpec>> rules();
    // Default route of the family through the device, for packets of at most `mtu` bytes, over a
    // neighbour that needs no resolving: for IPv4 too an IPv6 one, or where IPv6 is switched off on
    // the device an IPv4 one. Its metric is kTunnelMetric. One that is there already gets the MTU;
    // all else that is there already is an error (EEXIST).
    void set_default_route(std::uint8_t family, std::uint32_t table, int index, unsigned mtu,
                           std::uint8_t protocol);
    // `unreachable` route; family 0 in the prefix is not allowed, length 0 is the default route.
    void add_unreachable(const IpPrefix& prefix, std::uint32_t table, std::uint32_t metric,
                         std::uint8_t protocol);
    // All of this table, of both families.
    std::vector<Seen<RouteSpec>> routes(std::uint32_t table);
    // Nothing is done when it is not there any more.
    void remove(const Seen<RuleSpec>& rule) { remove(rule.removal.get(), "a routing rule"); }
    void remove(const Seen<RouteSpec>& route) { remove(route.removal.get(), "a route"); }
    // Removes from the main and the local table every route that `wanted` picks; what they were.
    std::vector<DeviceRoute> remove_routes(const std::function<bool(const DeviceRoute&)>& wanted);

    // Global addresses of all devices, ready for use.
    std::vector<OwnAddress> addresses();
    // For this address alone, without detection of others who have it. One that is there is left.
    void add_address(int index, const IpAddress& address);
    // The route that delivers packets to the address here. Nothing is done when there is none, or
    // one already.
    void remove_local_route(int index, const IpAddress& address);
    void add_local_route(int index, const IpAddress& address);
    // Nothing is done when it is not there.
    void remove_address(int index, const IpAddress& address);

    // Whether the device's clsact hook (ingress or egress) has any filter, of a priority below
    // `below`.
    bool has_filters(int index, bool ingress, std::uint32_t below = UINT32_MAX);
    // The kind of the qdisc for what enters the device: "clsact", "ingress"; empty: it has none.
    std::string ingress_qdisc(int index);

  private:
    using Visit = std::function<void(nlmsghdr*)>;
    // Sends and waits; the error number, 0 when done. Answers are given to `visit`.
    int talk(nl_msg* message, const Visit& visit = {});
    std::optional<Link> ask_link(nl_msg* message, const std::string& what);
    void request(nl_msg* message, const std::string& what);
    void dump(int type, const void* header, std::size_t length, const Visit& visit);
    void remove(nl_msg* message, const std::string& what);
    struct Route {
        IpAddress gateway, source;
    };
    // nullopt: the answer leads over another device, or there is none.
    std::optional<Route> ask_route(int index, const IpAddress& local, const IpAddress& remote);

    NlSocket socket_;
};

}  // namespace dr::ur
