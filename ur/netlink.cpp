// Requests to the kernel, and their answers.
#include "ur/netlink.h"

#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <stdexcept>
#include <system_error>

#include "ur/netlink_request.h"

namespace dr::ur {

namespace {

NlSocket open_socket() {
    NlSocket socket(nl_socket_alloc());
    if (!socket || nl_connect(socket.get(), NETLINK_ROUTE) != 0)
        throw std::system_error(errno, std::generic_category(), "route netlink socket");
    return socket;
}

// What the kernel has said to a request so far.
struct Answer {
    const std::function<void(nlmsghdr*)>& visit;
    bool ended;
    int error;
};

int on_valid(nl_msg* message, void* argument) {
    const auto& visit = static_cast<Answer*>(argument)->visit;
    if (visit) visit(nlmsg_hdr(message));
    return NL_OK;
}

int on_end(nl_msg*, void* argument) {
    static_cast<Answer*>(argument)->ended = true;
    return NL_STOP;
}

int on_error(sockaddr_nl*, nlmsgerr* error, void* argument) {
    auto& answer = *static_cast<Answer*>(argument);
    answer.ended = true;
    answer.error = -error->error;
    return NL_STOP;
}

NlMessage make_address(int type, int flags, int index, const IpAddress& address) {
    const int size = size_of(address.family);
    ifaddrmsg header{};
    header.ifa_family = af(address.family);
    header.ifa_prefixlen = static_cast<std::uint8_t>(size * 8);
    header.ifa_index = static_cast<std::uint32_t>(index);
    auto message = make(type, flags, header);
    put(message.get(), IFA_LOCAL, address.bytes.data(), size);
    put(message.get(), IFA_ADDRESS, address.bytes.data(), size);
    return message;
}

}  // namespace

Netlink::Netlink() : socket_(open_socket()) {}

int Netlink::talk(nl_msg* message, const Visit& visit) {
    Answer answer{visit, false, 0};
    nl_sock* socket = socket_.get();
    nl_socket_modify_cb(socket, NL_CB_VALID, NL_CB_CUSTOM, on_valid, &answer);
    nl_socket_modify_cb(socket, NL_CB_ACK, NL_CB_CUSTOM, on_end, &answer);
    nl_socket_modify_cb(socket, NL_CB_FINISH, NL_CB_CUSTOM, on_end, &answer);
    nl_socket_modify_err_cb(socket, NL_CB_CUSTOM, on_error, &answer);
    if (nl_send_auto(socket, message) < 0) return errno;
    while (!answer.ended) {
        const int result = nl_recvmsgs_default(socket);
        if (result < 0 && !answer.ended)
            throw std::runtime_error(std::string("route netlink: ") + nl_geterror(result));
    }
    return answer.error;
}

void Netlink::request(nl_msg* message, const std::string& what) {
    const int error = talk(message);
    if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

void Netlink::dump(int type, const void* header, std::size_t length, const Visit& visit) {
    NlMessage message(nlmsg_alloc_simple(type, NLM_F_REQUEST | NLM_F_DUMP));
    if (!message ||
        nlmsg_append(message.get(), const_cast<void*>(header), length, NLMSG_ALIGNTO) != 0)
        throw std::bad_alloc();
    const int error = talk(message.get(), visit);
    // No such family or hook: nothing to see.
    if (error != 0 && error != EOPNOTSUPP && error != ENOENT && error != EINVAL)
        throw std::system_error(error, std::generic_category(), "netlink dump");
}

std::optional<Link> Netlink::ask_link(nl_msg* message, const std::string& what) {
    std::optional<Link> out;
    const int error = talk(message, [&](nlmsghdr* header) { out = link_in(header); });
    if (error != 0 && error != ENODEV)
        throw std::system_error(error, std::generic_category(), "device " + what);
    return out;
}

std::optional<Link> Netlink::link(const std::string& device) {
    auto message = make(RTM_GETLINK, NLM_F_REQUEST, ifinfomsg{});
    put(message.get(), IFLA_IFNAME, device.c_str(), static_cast<int>(device.size()) + 1);
    return ask_link(message.get(), device);
}

std::optional<Link> Netlink::link(int index) {
    ifinfomsg info{};
    info.ifi_index = index;
    return ask_link(make(RTM_GETLINK, NLM_F_REQUEST, info).get(), std::to_string(index));
}

void Netlink::set_up_device(int index, unsigned mtu) {
    ifinfomsg info{};
    info.ifi_index = index;
    auto quiet = make(RTM_NEWLINK, NLM_F_REQUEST, info);
    put_u32(quiet.get(), IFLA_MTU, mtu);
    // IPv6 may be switched off on this machine; then there is no automatic address to prevent.
    nlattr* spec = nla_nest_start(quiet.get(), IFLA_AF_SPEC);
    nlattr* inet6 = nla_nest_start(quiet.get(), AF_INET6);
    const std::uint8_t none = IN6_ADDR_GEN_MODE_NONE;
    put(quiet.get(), IFLA_INET6_ADDR_GEN_MODE, &none, 1);
    nla_nest_end(quiet.get(), inet6);
    nla_nest_end(quiet.get(), spec);
    request(quiet.get(), "setting MTU " + std::to_string(mtu) + " of a device of ours");
    info.ifi_flags = IFF_UP | IFF_NOARP;
    info.ifi_change = IFF_UP | IFF_NOARP;
    auto up = make(RTM_NEWLINK, NLM_F_REQUEST, info);
    request(up.get(), "setting a device of ours up");
}

void Netlink::set_mtu(int index, unsigned mtu) {
    ifinfomsg info{};
    info.ifi_index = index;
    auto message = make(RTM_NEWLINK, NLM_F_REQUEST, info);
    put_u32(message.get(), IFLA_MTU, mtu);
    request(message.get(), "setting MTU " + std::to_string(mtu) + " of the tunnel device");
}

void Netlink::add_pair(const std::string& name, const std::string& peer) {
    const ifinfomsg info{};
    auto message = make(RTM_NEWLINK, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, info);
    const auto put_text = [&](int type, const std::string& text) {
        put(message.get(), type, text.c_str(), static_cast<int>(text.size()) + 1);
    };
    put_text(IFLA_IFNAME, name);
    nlattr* kind = nla_nest_start(message.get(), IFLA_LINKINFO);
    put_text(IFLA_INFO_KIND, "veth");
    nlattr* data = nla_nest_start(message.get(), IFLA_INFO_DATA);
    nlattr* other = nla_nest_start(message.get(), VETH_INFO_PEER);
    if (nlmsg_append(message.get(), const_cast<ifinfomsg*>(&info), sizeof info, NLMSG_ALIGNTO) != 0)
        throw std::bad_alloc();
    put_text(IFLA_IFNAME, peer);
    nla_nest_end(message.get(), other);
    nla_nest_end(message.get(), data);
    nla_nest_end(message.get(), kind);
    request(message.get(), "making the devices " + name + " and " + peer);
}

void Netlink::remove_link(int index) {
    ifinfomsg info{};
    info.ifi_index = index;
    auto message = make(RTM_DELLINK, NLM_F_REQUEST, info);
    request(message.get(), "removing a device");
}

void Netlink::set_name(int index, const std::string& name) {
    ifinfomsg info{};
    info.ifi_index = index;
    auto message = make(RTM_NEWLINK, NLM_F_REQUEST, info);
    put(message.get(), IFLA_IFNAME, name.c_str(), static_cast<int>(name.size()) + 1);
    request(message.get(), "giving the tunnel device its name " + name);
}

void Netlink::set_group(int index, std::uint32_t group) {
    ifinfomsg info{};
    info.ifi_index = index;
    auto message = make(RTM_NEWLINK, NLM_F_REQUEST, info);
    put_u32(message.get(), IFLA_GROUP, group);
    request(message.get(), "setting the group of a line's device");
}

std::vector<SourceAddress> Netlink::source_addresses(int index, std::uint8_t family) {
    ifaddrmsg filter{};
    filter.ifa_family = af(family);
    std::vector<SourceAddress> out;
    dump(RTM_GETADDR, &filter, sizeof filter, [&](nlmsghdr* header) {
        if (const auto own = source_address_in(header, index, family)) out.push_back(*own);
    });
    return out;
}

std::vector<IpPrefix> Netlink::addresses_of(int index) {
    std::vector<IpPrefix> out;
    for (const std::uint8_t family : kFamilies) {
        ifaddrmsg filter{};
        filter.ifa_family = af(family);
        dump(RTM_GETADDR, &filter, sizeof filter, [&](nlmsghdr* header) {
            if (const auto own = interface_address_in(header, index)) out.push_back(*own);
        });
    }
    return out;
}

std::optional<Netlink::Route> Netlink::ask_route(int index, const IpAddress& local,
                                                 const IpAddress& remote) {
    const std::uint8_t family = remote.family;
    rtmsg header{};
    header.rtm_family = af(family);
    header.rtm_dst_len = static_cast<unsigned char>(size_of(family) * 8);
    if (local.family != 0) header.rtm_src_len = header.rtm_dst_len;
    const auto ask = [&](const Visit& visit) {
        auto message = make(RTM_GETROUTE, NLM_F_REQUEST, header);
        put(message.get(), RTA_DST, remote.bytes.data(), size_of(family));
        if (local.family != 0) put(message.get(), RTA_SRC, local.bytes.data(), size_of(family));
        put_u32(message.get(), RTA_OIF, static_cast<std::uint32_t>(index));
        return talk(message.get(), visit);
    };
    std::optional<Route> out;
    const int error = ask([&](nlmsghdr* answer) {
        if (const auto gateway = gateway_in(answer, index, family))
            out = Route{*gateway, source_in(answer, family)};
    });
    if (error != 0 || !out) return std::nullopt;
    // Where no IPv4 route leads over the device, the kernel takes the destination to be on its
    // link. Asked for the route itself it says that there is none.
    if (family == 4 && out->gateway.family == 0) {
        header.rtm_flags = RTM_F_FIB_MATCH;
        if (ask({}) != 0) return std::nullopt;
    }
    return out;
}

std::optional<IpAddress> Netlink::gateway(int index, const IpAddress& local,
                                          const IpAddress& remote) {
    // With the source, so that per-line rules `from LOCAL lookup ...` are honoured. For IPv6 the
    // kernel then takes the device as a wish only; without a source it is binding.
    auto answer = ask_route(index, local, remote);
    if (!answer) answer = ask_route(index, {}, remote);
    return answer ? std::optional(answer->gateway) : std::nullopt;
}

IpAddress Netlink::source_to(int index, const IpAddress& remote) {
    const auto answer = ask_route(index, {}, remote);
    return answer ? answer->source : IpAddress{};
}

bool Netlink::has_filters(int index, bool ingress, std::uint32_t below) {
    tcmsg filter{};
    filter.tcm_family = AF_UNSPEC;
    filter.tcm_ifindex = index;
    filter.tcm_parent = TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
    bool any = false;
    dump(RTM_GETTFILTER, &filter, sizeof filter, [&](nlmsghdr* header) {
        const auto at = filter_in(header);
        any = any || (at && at->priority < below);
    });
    return any;
}

std::string Netlink::ingress_qdisc(int index) {
    const tcmsg filter{};
    std::string out;
    dump(RTM_GETQDISC, &filter, sizeof filter, [&](nlmsghdr* header) {
        const auto at = qdisc_in(header);
        if (at && at->index == index && at->parent == TC_H_CLSACT) out = at->kind;
    });
    return out;
}

std::vector<OwnAddress> Netlink::addresses() {
    std::vector<OwnAddress> out;
    const ifaddrmsg filter{};  // of both families
    dump(RTM_GETADDR, &filter, sizeof filter, [&](nlmsghdr* header) {
        if (const auto own = own_address_in(header)) out.push_back(*own);
    });
    return out;
}

void Netlink::add_address(int index, const IpAddress& address) {
    const int flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE;
    const auto message = make_address(RTM_NEWADDR, flags, index, address);
    put_u32(message.get(), IFA_FLAGS, IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
    request(message.get(), "adding " + to_string(address) + " to the tunnel device");
}

void Netlink::remove_address(int index, const IpAddress& address) {
    const auto message = make_address(RTM_DELADDR, NLM_F_REQUEST, index, address);
    const int error = talk(message.get());
    if (error != 0 && error != EADDRNOTAVAIL)
        throw std::system_error(error, std::generic_category(),
                                "removing " + to_string(address) + " from the tunnel device");
}

}  // namespace dr::ur
