// Turns netlink messages about ports into calls of the Rib.
#include "dataplane/ports/netlink_mirror.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/msg.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/route.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <optional>
#include <set>

#include "dataplane/ports/advertisements.h"
#include "dataplane/ports/neighbour_table.h"
#include "dataplane/ports/netlink_socket.h"
#include "dataplane/ports/route_message.h"
#include "dataplane/ports/route_table.h"

namespace dr {

namespace {

constexpr std::uint64_t kHousekeepingMs = 50;

std::uint64_t now_ms() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

IpPrefix host_prefix(const IpAddress& address) {
    return {address, static_cast<std::uint8_t>(address.family == 4 ? 32 : 128)};
}

struct Link {
    std::string name;
    std::optional<std::uint16_t> port;
    bool up = false;  // administratively, with carrier
    bool loopback = false;
    bool leads = false;  // routes go over it
    wire::Mac mac{};
    std::uint16_t mtu = 0;
    std::uint32_t generation{};
};

struct Configured {
    int ifindex;
    IpAddress address;
    std::uint32_t generation;
    bool advertised;  // made of a router advertisement
};

}  // namespace

struct NetlinkMirror::Core {
    Core(Rib& r, std::vector<MirroredPort> p, Hooks h)
        : rib(r),
          ports(std::move(p)),
          hooks(std::move(h)),
          routes(r),
          neighbours(r, [this](std::uint16_t port, const IpAddress& a) { ask(port, a); }) {}

    void message(nl_msg* message);
    void link(nl_object* object, bool removed, bool live);
    void address(nl_object* object, bool removed, bool live);
    void neighbour(nl_object* object, bool removed);
    void route(nl_object* object, bool removed, const nlmsghdr* header);
    void begin();
    void end();

    // Whether to accept a route that an advertisement may have made.
    bool believes(rtnl_route* route, const nlmsghdr* header, const IpPrefix& prefix);

    void ask(std::uint16_t port, const IpAddress& address);
    void set_link(int ifindex, Link next, bool live);
    std::uint16_t usable_mtu(std::uint16_t port, unsigned interface_mtu) const;
    void install_locals();
    void tell_addresses() const;
    [[nodiscard]] std::optional<std::uint16_t> port_of(int ifindex) const;

    Rib& rib;
    std::vector<MirroredPort> ports;
    Hooks hooks;
    RouteTable routes;
    NexthopObjects nexthops;
    NeighbourTable neighbours;
    std::unique_ptr<NetlinkSocket> socket;

    std::map<int, Link> links;
    std::vector<Configured> own;
    // Networks that were not accepted, because the interface has no address in them (yet).
    std::set<std::pair<int, IpPrefix>> doubted;
    std::map<IpAddress, std::uint16_t> installed;  // Local, with its port
    std::uint64_t locals_generation = 1;
    std::uint32_t generation = 0;
    std::uint64_t housekept_ms = 0;
    bool complete = false;
};

std::optional<std::uint16_t> NetlinkMirror::Core::port_of(int ifindex) const {
    const auto at = links.find(ifindex);
    return at == links.end() ? std::nullopt : at->second.port;
}

void NetlinkMirror::Core::message(nl_msg* message) {
    struct Call {
        Core* core;
        nlmsghdr* header;
    } call{this, nlmsg_hdr(message)};
    if (call.header->nlmsg_type == RTM_NEWNEXTHOP || call.header->nlmsg_type == RTM_DELNEXTHOP) {
        if (nexthops.take(call.header)) socket->resync();
        return;
    }
    // The parser hands out the object for the time of the call.
    const auto parsed = [](nl_object* object, void* argument) {
        const auto* c = static_cast<Call*>(argument);
        // Not part of a listing: it happens now.
        const bool live = (c->header->nlmsg_flags & NLM_F_MULTI) == 0;
        switch (c->header->nlmsg_type) {
            case RTM_NEWLINK:
            case RTM_DELLINK:
                return c->core->link(object, c->header->nlmsg_type == RTM_DELLINK, live);
            case RTM_NEWADDR:
            case RTM_DELADDR:
                return c->core->address(object, c->header->nlmsg_type == RTM_DELADDR, live);
            case RTM_NEWNEIGH:
            case RTM_DELNEIGH:
                return c->core->neighbour(object, c->header->nlmsg_type == RTM_DELNEIGH);
            case RTM_NEWROUTE:
            case RTM_DELROUTE:
                return c->core->route(object, c->header->nlmsg_type == RTM_DELROUTE, c->header);
            default:
                return;
        }
    };
    nl_msg_parse(message, parsed, &call);
}

void NetlinkMirror::Core::link(nl_object* object, bool removed, bool live) {
    auto* link = reinterpret_cast<rtnl_link*>(object);
    // AF_BRIDGE and others report the same link in another form.
    if (rtnl_link_get_family(link) != AF_UNSPEC) return;
    const int ifindex = rtnl_link_get_ifindex(link);
    Link next;
    const char* name = rtnl_link_get_name(link);
    next.name = name == nullptr ? "" : name;
    next.generation = generation;
    for (const MirroredPort& port : ports)
        if (port.interface == next.name) next.port = port.port;
    const unsigned flags = rtnl_link_get_flags(link);
    next.up = !removed && (flags & IFF_UP) != 0 && (flags & IFF_RUNNING) != 0;
    next.loopback = (flags & IFF_LOOPBACK) != 0;
    if (next.port) next.mtu = usable_mtu(*next.port, rtnl_link_get_mtu(link));
    nl_addr* mac = rtnl_link_get_addr(link);
    if (mac != nullptr && nl_addr_get_len(mac) == next.mac.size())
        std::memcpy(next.mac.data(), nl_addr_get_binary_addr(mac), next.mac.size());
    set_link(ifindex, std::move(next), live);
    if (removed) links.erase(ifindex);
}

// Buffers and the steering program are made for the port's MTU at start; and an IPv6 link has at
// least 1280. Some messages have no MTU (0).
std::uint16_t NetlinkMirror::Core::usable_mtu(std::uint16_t port, unsigned interface_mtu) const {
    constexpr unsigned kLeast = 1280;
    unsigned mtu = interface_mtu;
    for (const MirroredPort& p : ports)
        if (p.port == port) mtu = mtu == 0 ? p.mtu : std::min<unsigned>(mtu, p.mtu);
    return static_cast<std::uint16_t>(std::max(mtu, kLeast));
}

void NetlinkMirror::Core::set_link(int ifindex, Link next, bool live) {
    Link& known = links[ifindex];
    next.leads = known.leads;
    const Link before = std::exchange(known, std::move(next));
    const Link& now = known;
    // When a link goes down the kernel drops its routes, or marks them as unusable and removes the
    // mark later, without a message for each route.
    const bool concerns = before.port || now.port || now.leads;
    if (live && concerns && (before.up != now.up || before.port != now.port)) socket->resync();
    if (before.port != now.port) tell_addresses();
    if (!now.port) return;
    std::string why;
    if (!before.port && !ignore_advertisements(now.name, &why))
        std::fprintf(stderr, "dr-dataplane: warning: %s\n", why.c_str());
    if (!before.port || before.mac != now.mac || before.mtu != now.mtu)
        rib.set_port(*now.port, now.mac, now.mtu);
    if (before.up && !now.up) neighbours.link_down(*now.port, now_ms());
    if (!before.up && now.up) neighbours.link_up(*now.port, now_ms());
    if ((!before.port || before.up != now.up) && hooks.link) hooks.link(*now.port, now.up);
}

void NetlinkMirror::Core::address(nl_object* object, bool removed, bool live) {
    auto* entry = reinterpret_cast<rtnl_addr*>(object);
    const int ifindex = rtnl_addr_get_ifindex(entry);
    const IpAddress address = to_address(rtnl_addr_get_local(entry));
    if (address.family == 0 || is_loopback(address)) return;
    // An address that failed duplicate detection is not ours.
    if ((rtnl_addr_get_flags(entry) & IFA_F_DADFAILED) != 0) removed = true;
    const auto at = std::find_if(own.begin(), own.end(), [&](const Configured& a) {
        return a.ifindex == ifindex && a.address == address;
    });
    if (removed) {
        if (at == own.end()) return;
        own.erase(at);
        // Routes with this source went with it, without a message for each.
        if (live) socket->resync();
    } else if (at != own.end()) {
        at->generation = generation;
        return;
    } else {
        const bool advertised = (rtnl_addr_get_flags(entry) & IFA_F_MANAGETEMPADDR) != 0;
        own.push_back({ifindex, address, generation, advertised});
        // The kernel reports an address after its network's route.
        const bool expected = std::any_of(doubted.begin(), doubted.end(), [&](const auto& d) {
            return d.first == ifindex && d.second.contains(address);
        });
        if (live && expected) socket->resync();
    }
    if (!complete) return;
    install_locals();
    tell_addresses();
}

void NetlinkMirror::Core::tell_addresses() const {
    if (complete && hooks.addresses_changed) hooks.addresses_changed();
}

void NetlinkMirror::Core::install_locals() {
    std::map<IpAddress, std::uint16_t> wanted;
    for (const Configured& a : own) {
        const auto port = port_of(a.ifindex);
        if (!port && a.address.is_link_local()) continue;
        // An address of another interface (loopback, say) is reached through any port.
        wanted.try_emplace(a.address, port.value_or(ports.front().port));
        if (port) wanted[a.address] = *port;
    }
    if (wanted == installed) return;
    for (const auto& [address, port] : installed)
        if (!wanted.contains(address)) rib.remove(host_prefix(address), RouteSource::Local);
    for (const auto& [address, port] : wanted)
        rib.insert(host_prefix(address), RouteSource::Local, Target(TargetKind::Local, port));
    installed = std::move(wanted);
    ++locals_generation;
}

void NetlinkMirror::Core::neighbour(nl_object* object, bool removed) {
    auto* entry = reinterpret_cast<rtnl_neigh*>(object);
    const auto port = port_of(rtnl_neigh_get_ifindex(entry));
    const IpAddress address = to_address(rtnl_neigh_get_dst(entry));
    if (!port || address.family == 0) return;
    constexpr int kUsable = NUD_PERMANENT | NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;
    const int state = rtnl_neigh_get_state(entry);
    nl_addr* mac = rtnl_neigh_get_lladdr(entry);
    wire::Mac bytes{};
    const bool usable = !removed && (state & kUsable) != 0 && mac != nullptr &&
                        nl_addr_get_len(mac) == bytes.size();
    if (!usable) {
        using Unknown = NeighbourTable::Unknown;
        const Unknown why = (state & NUD_FAILED) != 0 ? Unknown::Failed
                            : removed                 ? Unknown::Forgotten
                                                      : Unknown::Asked;
        return neighbours.remove(*port, address, why, now_ms());
    }
    std::memcpy(bytes.data(), nl_addr_get_binary_addr(mac), bytes.size());
    neighbours.set(*port, address, bytes, (state & NUD_STALE) != 0);
}

bool NetlinkMirror::Core::believes(rtnl_route* route, const nlmsghdr* header,
                                   const IpPrefix& prefix) {
    const Advertised how = advertised(route, header);
    if (how == Advertised::No) return true;
    if (how == Advertised::Yes) return false;
    for (const NexthopObjects::Hop& hop : hops_of(route)) {
        if (!port_of(hop.ifindex)) continue;
        const bool has = std::any_of(own.begin(), own.end(), [&](const Configured& a) {
            return a.ifindex == hop.ifindex && !a.advertised && prefix.contains(a.address);
        });
        if (has) continue;
        doubted.emplace(hop.ifindex, prefix);
        return false;
    }
    return true;
}

void NetlinkMirror::Core::route(nl_object* object, bool removed, const nlmsghdr* header) {
    auto* entry = reinterpret_cast<rtnl_route*>(object);
    const auto prefix = prefix_of(entry);
    if (!prefix || !believes(entry, header, *prefix)) return;
    const std::uint32_t metric = rtnl_route_get_priority(entry);
    const int flags = header->nlmsg_flags;
    const std::uint32_t object_id = NexthopObjects::id_of(header);
    const auto named = object_id == 0 ? hops_of(entry) : nexthops.hops_of(object_id);
    const auto port = [this](int ifindex) {
        const auto at = links.find(ifindex);
        if (at == links.end()) return std::optional<std::uint16_t>();
        at->second.leads = true;
        return at->second.port;
    };
    const auto target = target_of(entry, named, port, removed ? Hops::All : Hops::Usable);
    if (target && !removed) {
        // Next hops of an IPv6 multipath route are removed one by one.
        const bool several = rtnl_route_get_family(entry) == AF_INET6 && named.size() > 1;
        routes.set(*prefix, metric, *target, how_of(entry, flags), several);
    } else if (target) {
        if (!routes.remove(*prefix, metric, *target)) socket->resync();
    } else if (!removed && (flags & NLM_F_REPLACE) != 0 && routes.has(*prefix, metric)) {
        // The new route leads elsewhere, and has replaced one of the routes with its prefix and
        // metric; the kernel does not say which.
        socket->resync();
    }
}

void NetlinkMirror::Core::begin() {
    ++generation;
    doubted.clear();
    nexthops.mark();
    routes.mark();
    neighbours.mark();
}

void NetlinkMirror::Core::end() {
    complete = true;
    for (auto it = links.begin(); it != links.end();) {
        const auto at = it++;
        if (at->second.generation == generation) continue;
        if (at->second.port && hooks.link) hooks.link(*at->second.port, false);
        links.erase(at);
    }
    std::erase_if(own, [this](const Configured& a) { return a.generation != generation; });
    nexthops.sweep();
    routes.sweep();
    neighbours.sweep(now_ms());
    install_locals();
    tell_addresses();
}

void NetlinkMirror::Core::ask(std::uint16_t port, const IpAddress& address) {
    for (const auto& [ifindex, link] : links)
        if (link.port == port && link.up) return socket->resolve(ifindex, address);
}

NetlinkMirror::NetlinkMirror() = default;
NetlinkMirror::~NetlinkMirror() = default;

std::unique_ptr<NetlinkMirror> NetlinkMirror::create(Rib& rib, std::vector<MirroredPort> ports,
                                                     Hooks hooks, std::string* error) {
    std::unique_ptr<NetlinkMirror> mirror(new NetlinkMirror);
    mirror->core_ = std::make_unique<Core>(rib, std::move(ports), std::move(hooks));
    Core* core = mirror->core_.get();
    core->socket = NetlinkSocket::create({[core](nl_msg* message) { core->message(message); },
                                          [core] { core->begin(); }, [core] { core->end(); }},
                                         error);
    if (!core->socket) return nullptr;
    return mirror;
}

void NetlinkMirror::poll() {
    core_->socket->poll();
    const std::uint64_t now = now_ms();
    if (now - core_->housekept_ms < kHousekeepingMs) return;
    core_->housekept_ms = now;
    core_->rib.for_each_unresolved([&](std::uint16_t port, const IpAddress& address, bool gateway) {
        core_->neighbours.want(
            port, address,
            gateway ? NeighbourTable::Need::Gateway : NeighbourTable::Need::TunnelEnd, now);
    });
    core_->neighbours.refresh(now);
    core_->routes.retry();
}

int NetlinkMirror::fd() const {
    return core_->socket->fd();
}
bool NetlinkMirror::synced() const {
    return core_->complete && core_->socket->synced();
}
void NetlinkMirror::want(std::uint16_t port, const IpAddress& address) {
    core_->neighbours.want(port, address, NeighbourTable::Need::Destination, now_ms());
}

std::vector<IpAddress> NetlinkMirror::locals() const {
    std::vector<IpAddress> addresses;
    for (const auto& [address, port] : core_->installed) addresses.push_back(address);
    return addresses;
}
std::uint64_t NetlinkMirror::locals_generation() const {
    return core_->locals_generation;
}

std::vector<OwnAddress> NetlinkMirror::addresses() const {
    std::vector<OwnAddress> addresses;
    for (const Configured& a : core_->own) {
        const auto link = core_->links.find(a.ifindex);
        if (link == core_->links.end()) continue;
        addresses.push_back({a.address, link->second.port, link->second.loopback});
    }
    return addresses;
}

bool NetlinkMirror::up(std::uint16_t port) const {
    for (const auto& [ifindex, link] : core_->links)
        if (link.port == port) return link.up;
    return false;
}

std::uint64_t NetlinkMirror::refused_routes() const {
    return core_->routes.refused();
}
std::size_t NetlinkMirror::waiting_routes() const {
    return core_->routes.waiting();
}

}  // namespace dr
