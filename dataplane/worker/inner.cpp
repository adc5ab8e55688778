// What is inside tunnel packets: ECN, the source, and where each packet goes on.
// Exits: drop.no_route drop.no_port drop.no_subscriber drop.inner_source drop.nested_tunnel
//   drop.to_router drop.hairpin_self drop.no_neighbour.
#include "dataplane/worker/inner.h"

#include "dataplane/keepalive/handover.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/echo.h"

namespace dr {

namespace {

// ECN of the inner packet after decapsulation, RFC 6040 figure 4; 0xff: drop.
constexpr std::array<std::uint8_t, 16> kEcn{
    // outer: Not-ECT, ECT(1), ECT(0), CE
    0, 0, 0, 0xff,  // inner Not-ECT
    1, 1, 1, 3,     // inner ECT(1)
    2, 1, 2, 3,     // inner ECT(0)
    3, 3, 3, 3,     // inner CE
};

bool unroutable_destination(const Packet& p) {
    return p.family == 4 ? unroutable_destination4(p.ip) : unroutable_destination6(p.ip);
}

void route(Context& c, Burst& b, unsigned i) {
    Packet& p = b.packets[i];
    switch (p.target.kind()) {
        [[likely]] case TargetKind::NextHop
            : if (unroutable_destination(p)) [[unlikely]] return exit_with(c, p, Exit::DropNoRoute);
        b.forward.add(i);
        return;
        case TargetKind::Subscriber:
            if (p.target.index() == p.from->subscriber)
                return exit_with(c, p, Exit::DropHairpinSelf);
            __builtin_prefetch(&c.tables->subscribers[p.target.index()]);
            b.steer.add(i);
            return;
        case TargetKind::Local: {
            const wire::Upper u = wire::upper(p.ip, p.family, p.length);
            const bool nested = wire::may_be_tunnel(u, p.ip, p.length);
            if (!nested && is_ping(p, u))
                return fail_with(c, b, i, IcmpError::Echo, Exit::DropToRouter);
            return exit_with(c, p, nested ? Exit::DropNestedTunnel : Exit::DropToRouter);
        }
        case TargetKind::Pool:
            return fail_with(c, b, i, IcmpError::NoSubscriber, Exit::DropNoSubscriber);
        case TargetKind::Blackhole:
            return discard(c, b, i);
        case TargetKind::Elsewhere:
            return exit_with(c, p, Exit::DropNoPort);
        case TargetKind::Glean:
            if (unroutable_destination(p)) return exit_with(c, p, Exit::DropNoRoute);
            ask_for_neighbour(c, p);
            return exit_with(c, p, Exit::DropNoNeighbour);
        case TargetKind::None:
            return fail_with(c, b, i, IcmpError::NoRoute, Exit::DropNoRoute);
    }
    exit_with(c, p, Exit::DropNoRoute);
}

// Source and destination of the inner packets of one family, looked up in one batch.
template <unsigned Family, typename Table>
void check_and_route(Context& c, Burst& b, const Table& table, const PacketList& list,
                     const std::uint32_t* slot) {
    constexpr wire::IpLayout kLayout = wire::ip_layout(Family);
    std::array<const std::uint8_t*, 2UL * kBurst> addresses;
    std::array<Target, 2UL * kBurst> targets;
    for (unsigned k = 0; k < list.count; ++k) {
        const std::uint8_t* ip = b.packets[list.index[k]].ip;
        addresses[2UL * k] = ip + kLayout.source;
        addresses[2UL * k + 1] = ip + kLayout.destination;
    }
    table.lookup_batch(addresses.data(), targets.data(), 2 * list.count);
    for (unsigned k = 0; k < list.count; ++k) {
        const unsigned i = list.index[k];
        Packet& p = b.packets[i];
        const Target source = targets[2UL * k];
        // What is sent to a subscriber may be discarded; what it sends is not.
        if (source != Target(TargetKind::Subscriber, p.from->subscriber) &&
            !(source.kind() == TargetKind::Blackhole &&
              source.discarded_subscriber() == p.from->subscriber)) [[unlikely]] {
            refuse_inner(c, p, slot[i], Exit::DropInnerSource);
            continue;
        }
        p.target = targets[2UL * k + 1];
        southbound::TunnelCounters& counters = c.tunnel_counters[slot[i]];
        count_up(counters.uplink_packets);
        count_up(counters.uplink_bytes, p.length);
        route(c, b, i);
    }
}

}  // namespace

void refuse_inner(Context& c, Packet& p, std::uint32_t slot, Exit exit) {
    const KeepaliveHandover* const handover = c.shared->keepalive;
    if (handover != nullptr) {
        std::atomic<std::uint32_t>& count = handover->refused[c.config.number][slot];
        count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }
    exit_with(c, p, exit);
}

bool combine_ecn(std::uint8_t* inner, unsigned inner_family, std::uint8_t outer) {
    const unsigned now =
        inner_family == 4 ? inner[1] & 3U : static_cast<unsigned>(inner[1] >> 4) & 3U;
    const std::uint8_t then = kEcn[now * 4 + (outer & 3U)];
    if (then == now) return true;
    if (then == 0xff) return false;
    if (inner_family == 6) {
        inner[1] = static_cast<std::uint8_t>((inner[1] & 0xcfU) | static_cast<unsigned>(then) << 4);
        return true;
    }
    wire::Ipv4 h;
    std::memcpy(&h, inner, sizeof h);
    const Be16 before = Be16::from(static_cast<std::uint16_t>(inner[0] << 8 | inner[1]));
    inner[1] = static_cast<std::uint8_t>((inner[1] & 0xfcU) | then);
    const Be16 after = Be16::from(static_cast<std::uint16_t>(inner[0] << 8 | inner[1]));
    const Be16 sum = wire::checksum_update(h.checksum, before, after);
    std::memcpy(inner + 10, &sum, 2);
    return true;
}

void route_inner4(Context& c, Burst& b, const PacketList& list, const std::uint32_t* slot) {
    check_and_route<4>(c, b, *c.tables->lpm4, list, slot);
}

void route_inner6(Context& c, Burst& b, const PacketList& list, const std::uint32_t* slot) {
    check_and_route<6>(c, b, *c.tables->lpm6, list, slot);
}

}  // namespace dr
