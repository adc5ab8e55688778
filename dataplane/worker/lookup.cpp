// Stage 2: what the destination is. Subscribers' packets go on to steering, tunnel packets to
// decapsulation, packets of our own making to wherever the tables say; the rest ends here.
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
    const unsigned header = v4 ? 20 : 40;
    if (u.offset + 8U + header > p.length) return false;
    const std::uint8_t type = p.ip[u.offset];
    if (v4 ? !wire::is_icmp4_error(type) : !wire::is_icmp6_error(type)) return false;
    const std::uint8_t* quoted = p.ip + u.offset + 8;
    const unsigned left = p.length - u.offset - 8U;
    if (quoted[0] >> 4 != (v4 ? 4 : 6)) return false;
    const wire::Upper q = v4 ? wire::upper4(quoted) : wire::upper6(quoted, left);
    return q.protocol == wire::kProtoGre ||
           (q.protocol == wire::kProtoUdp && q.offset + 4U <= left &&
            (load_be16(quoted + q.offset) == wire::kGreUdpPort ||
             load_be16(quoted + q.offset + 2) == wire::kGreUdpPort));
}

// For an address of this router: a tunnel packet, or the kernel's business.
void local_packet(Context& c, Burst& b, unsigned i) {
    Packet& p = b.packets[i];
    const wire::Upper u = p.family == 4 ? wire::upper4(p.ip) : wire::upper6(p.ip, p.length);
    p.upper = u.offset;
    p.protocol = u.protocol;
    if (u.fragment) [[unlikely]] {
        // Only a first fragment shows its port; a later one of UDP may be a tunnel's.
        const bool tunnel = u.protocol == wire::kProtoGre ||
                            (u.protocol == wire::kProtoUdp &&
                             (u.later_fragment ||
                              (u.offset + 4U <= p.length &&
                               wire::detail::load16(p.ip + u.offset + 2) == wire::kGreUdpPort)));
        if (tunnel) return exit_with(c, p, Exit::DropOuterFragment);
        return punt(c, b, p);
    }
    if (u.protocol == wire::kProtoGre ||
        (u.protocol == wire::kProtoUdp && u.offset + 4U <= p.length &&
         wire::detail::load16(p.ip + u.offset + 2) == wire::kGreUdpPort)) {
        b.decapsulate.add(i);
        return;
    }
    if (about_a_tunnel(p, u)) return exit_with(c, p, Exit::DropTunnelIcmp);
    punt(c, b, p);
}

void from_network(Context& c, Burst& b, unsigned i) {
    Packet& p = b.packets[i];
    switch (p.target.kind()) {
        case TargetKind::Subscriber:
            // Link-local sources stay on their link (RFC 4291 §2.5.6).
            if (p.family == 6 && local_scope6(p.ip + 8)) [[unlikely]]
                return exit_with(c, p, Exit::DropMartianSource);
            __builtin_prefetch(&c.tables->subscribers[p.target.index()]);
            b.steer.add(i);
            return;
        case TargetKind::Local:
            return local_packet(c, b, i);
        case TargetKind::Pool:
            return exit_with(c, p, Exit::DropNoSubscriber);
        case TargetKind::Blackhole:
            return exit_with(c, p, Exit::DropBlackhole);
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

}  // namespace

void stage_lookup(Context& c, Burst& b) {
    LookupBatch batch;
    for (const unsigned i : b.lookup) {
        Packet& p = b.packets[i];
        batch.add(p.family, p.ip + (p.family == 4 ? 16 : 24), &p.target);
    }
    batch.run(*c.tables);
    for (const unsigned i : b.lookup) {
        const Packet& p = b.packets[i];
        if ((p.flags & Packet::kOwn) == 0) [[likely]]
            from_network(c, b, i);
        else
            own_packet(c, b, i);
    }
}

}  // namespace dr
