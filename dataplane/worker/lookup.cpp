// Stage 2: what the destination is. Subscribers' packets go on to steering, tunnel packets to
// decapsulation, packets of our own making to wherever the tables say; the rest ends here.
// Exits: drop.martian_source drop.ingress_source drop.no_route drop.transit drop.no_port
//   drop.no_subscriber drop.outer_fragment drop.outer_options.
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"
#include "dataplane/worker/punt.h"

namespace dr {

namespace {

// An ICMP error that quotes a packet which this router sent into a tunnel. The steering program
// takes these from the kernel, which knows nothing of tunnels.
bool about_a_tunnel(const Packet& p, const wire::Upper& u) {
    const bool v4 = p.family == 4;
    if (u.protocol != (v4 ? wire::kProtoIcmp : wire::kProtoIcmp6)) return false;
    if (u.offset + 8U + wire::ip_layout(p.family).header > p.length) return false;
    const std::uint8_t type = p.ip[u.offset];
    if (v4 ? !wire::is_icmp4_error(type) : !wire::is_icmp6_error(type)) return false;
    const std::uint8_t* quoted = p.ip + u.offset + 8;
    const unsigned left = p.length - u.offset - 8U;
    if (quoted[0] >> 4 != (v4 ? 4 : 6)) return false;
    const wire::Upper q = wire::upper(quoted, p.family, left);
    const bool from_port = q.protocol == wire::kProtoUdp && q.offset + 4U <= left &&
                           wire::load16(quoted + q.offset) == wire::kGreUdpPort;
    return wire::is_tunnel(q, quoted, left) || from_port;
}

// From the network, where nobody has an address of this router, or one of a pool or a subscriber:
// sites' packets come out of tunnels (BCP 38, RFC 3704 §2.1). A longer route inside a pool, or a
// connected network, is somebody else's all the same, so the lookup table decides.
template <unsigned Family>
bool ours(const Tables& t, const std::uint8_t* source) {
    if constexpr (Family == 4)
        return t.lpm4->lookup(source).is_ours();
    else
        return t.lpm6->lookup(source).is_ours();
}

bool forged_source(const Tables& t, const Packet& p) {
    return p.family == 4 ? t.sources4.may_hold(p.ip + 12) && ours<4>(t, p.ip + 12)
                         : t.sources6.may_hold(p.ip + 8) && ours<6>(t, p.ip + 8);
}

// For a packet whose source the filter may hold. true: it ended here.
template <unsigned Family>
[[gnu::noinline]] bool refuse_source(Context& c, Packet& p) {
    const std::uint8_t* source = p.ip + wire::ip_layout(Family).source;
    if (Family == 4 && link_local4(source)) {
        exit_with(c, p, Exit::DropMartianSource);
        return true;
    }
    if (!ours<Family>(*c.tables, source)) return false;
    exit_with(c, p, Exit::DropIngressSource);
    return true;
}

void to_kernel(Context& c, Burst& b, Packet& p) {
    if (forged_source(*c.tables, p)) return exit_with(c, p, Exit::DropIngressSource);
    punt(c, b, p);
}

// For an address of this router: a tunnel packet, or the kernel's business.
template <unsigned Family>
void local_packet(Context& c, Burst& b, unsigned i) {
    Packet& p = b.packets[i];
    const wire::Upper u = wire::upper(p.ip, Family, p.length);
    p.upper = u.offset;
    p.protocol = u.protocol;
    if (u.fragment) [[unlikely]] {
        if (wire::may_be_tunnel(u, p.ip, p.length)) return exit_with(c, p, Exit::DropOuterFragment);
        return to_kernel(c, b, p);
    }
    if (wire::is_tunnel(u, p.ip, p.length)) {
        // No sender puts options or extension headers in front of a tunnel's header.
        if (u.offset != wire::ip_layout(Family).header)
            return exit_with(c, p, Exit::DropOuterOptions);
        b.decapsulate.add(i);
        return;
    }
    if (about_a_tunnel(p, u)) return take_tunnel_icmp(c, p, u.offset);
    to_kernel(c, b, p);
}

// What most packets from the ISPs are: IPv4 without options or fragmentation, UDP to the tunnels'
// port, or GRE.
bool plain_tunnel4(const Packet& p) {
    constexpr std::uint64_t kFragment = 0xffbf;  // all but DF, as the bytes lie in memory
    std::uint64_t words;
    std::memcpy(&words, p.ip + 4, 8);
    if (p.ip[0] != 0x45 || (words >> 16 & kFragment) != 0) return false;
    const auto protocol = static_cast<std::uint8_t>(words >> 40);
    return protocol == wire::kProtoGre || (protocol == wire::kProtoUdp && p.length >= 24 &&
                                           wire::load16(p.ip + 22) == wire::kGreUdpPort);
}

template <unsigned Family>
void not_a_subscriber(Context& c, Burst& b, unsigned i) {
    Packet& p = b.packets[i];
    switch (p.target.kind()) {
        case TargetKind::Local:
            return local_packet<Family>(c, b, i);
        // A forged source would have the error sent to whose it is.
        case TargetKind::Pool:
            if (forged_source(*c.tables, p)) return exit_with(c, p, Exit::DropIngressSource);
            return fail_with(c, b, i, IcmpError::NoSubscriber, Exit::DropNoSubscriber);
        case TargetKind::Blackhole:
            if (forged_source(*c.tables, p)) return exit_with(c, p, Exit::DropIngressSource);
            return discard(c, b, i);
        case TargetKind::Elsewhere:
            return exit_with(c, p, Exit::DropNoPort);
        case TargetKind::Subscriber:  // not here
        case TargetKind::NextHop:
        case TargetKind::Glean:
        case TargetKind::None:
            return exit_with(c, p, Exit::DropTransit);
    }
    exit_with(c, p, Exit::DropNoRoute);
}

// An ICMP error of ours on its way back to the source.
void own_packet(Context& c, Burst& b, unsigned i) {
    Packet& p = b.packets[i];
    if (p.target.kind() == TargetKind::Subscriber)
        b.steer.add(i);
    else if (p.target.kind() == TargetKind::NextHop)
        b.forward.add(i);
    else
        exit_with(c, p, Exit::DropNoRoute);
}

// One family's packets: all addresses at once, then each by what it is for.
template <unsigned Family, typename Table, typename Sources>
void look_up(Context& c, Burst& b, const Table& table, const Sources& sources,
             const PacketList& list) {
    if (list.count == 0) return;
    constexpr wire::IpLayout kLayout = wire::ip_layout(Family);
    const SubscriberRow* const subscribers = &c.tables->subscribers[0];
    std::array<const std::uint8_t*, kBurst> addresses;
    std::array<Target, kBurst> targets;
    std::array<std::uint16_t, kBurst> answer;
    unsigned questions = 0;
    for (unsigned k = 0; k < list.count; ++k) {
        const std::uint8_t* address = b.packets[list.index[k]].ip + kLayout.destination;
        // Tunnel packets all go to one address of this router, whose /128 is the longest walk of
        // all: asked once for each run of equal ones.
        const bool again = Family == 6 && questions != 0 &&
                           std::memcmp(address, addresses[questions - 1], kLayout.address) == 0;
        addresses[questions - (again ? 1U : 0U)] = address;
        questions += again ? 0U : 1U;
        answer[k] = static_cast<std::uint16_t>(questions - 1);
    }
    table.lookup_batch(addresses.data(), targets.data(), questions);
    for (unsigned k = 0; k < list.count; ++k) {
        const unsigned i = list.index[k];
        Packet& p = b.packets[i];
        p.target = targets[answer[k]];
        if ((p.flags & Packet::kOwn) != 0) [[unlikely]] {
            own_packet(c, b, i);
        } else if (p.target.kind() == TargetKind::Subscriber) {
            // Link-local sources stay on their link (RFC 4291 §2.5.6, RFC 3927 §7). Those of IPv4
            // are in the filter.
            if (Family == 6 && local_scope6(p.ip + 8)) [[unlikely]] {
                exit_with(c, p, Exit::DropMartianSource);
                continue;
            }
            if (sources.may_hold(p.ip + kLayout.source) && refuse_source<Family>(c, p)) [[unlikely]]
                continue;
            __builtin_prefetch(&subscribers[p.target.index()]);
            b.steer.add(i);
        } else if (Family == 4 && p.target.kind() == TargetKind::Local && plain_tunnel4(p)) {
            p.upper = 20;
            p.protocol = p.ip[9];
            b.decapsulate.add(i);
        } else {
            not_a_subscriber<Family>(c, b, i);
        }
    }
}

}  // namespace

void stage_lookup(Context& c, Burst& b) {
    const Tables& t = *c.tables;
    look_up<4>(c, b, *t.lpm4, t.sources4, b.lookup4);
    look_up<6>(c, b, *t.lpm6, t.sources6, b.lookup6);
}

}  // namespace dr
