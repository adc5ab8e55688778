// The packet inside a tunnel packet: sound, with a source of the subscriber's own, sent on to where
// its destination is (proto/TUNNEL.md §2). Used by decapsulate.cpp.
// Exits: drop.gre_protocol drop.inner_format drop.ecn.
#pragma once

#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"

namespace dr {

// A data packet that came out of a tunnel ends here for what is in it; liveness counts it as
// received.
void refuse_inner(Context& c, Packet& p, std::uint32_t slot, Exit exit);

// Combines the ECN fields of the outer and the inner header (RFC 6040 §4.2). false: the packet has
// to be dropped.
bool combine_ecn(std::uint8_t* inner, unsigned inner_family, std::uint8_t outer);

// From here on p describes the inner packet. false: finished, or in `keepalives`.
inline bool enter_inner(Context& c, Burst& b, unsigned i, const std::uint8_t* gre,
                        std::uint32_t slot, PacketList& keepalives) {
    Packet& p = b.packets[i];
    const std::uint16_t type = wire::load16(gre + 2);
    if (type == wire::kEtherKeepalive) [[unlikely]] {
        expect_keepalive(c, slot);
        keepalives.add(i);
        return false;
    }
    if (type != wire::kEtherIpv4 && type != wire::kEtherIpv6) {
        exit_with(c, p, Exit::DropGreProtocol);
        return false;
    }
    const std::uint8_t outer_tos =
        p.family == 4 ? p.ip[1] : static_cast<std::uint8_t>(wire::load16(p.ip) >> 4);
    std::uint8_t* inner = p.ip + (gre - p.ip) + sizeof(wire::GreKey);
    const auto available = static_cast<unsigned>(p.ip + p.length - inner);
    const unsigned family = type == wire::kEtherIpv4 ? 4 : 6;
    const bool sound = family == 4 ? (available >= 20 && plain_ipv4(inner, available, true)) ||
                                         check_ipv4(inner, available, true) == IpFault::None
                                   : check_ipv6(inner, available) == IpFault::None;
    if (!sound) {
        refuse_inner(c, p, slot, Exit::DropInnerFormat);
        return false;
    }
    const unsigned ecn = family == 4 ? inner[1] : static_cast<unsigned>(inner[1]) >> 4;
    if (((ecn ^ outer_tos) & 3U) != 0 && !combine_ecn(inner, family, outer_tos)) [[unlikely]] {
        refuse_inner(c, p, slot, Exit::DropEcn);
        return false;
    }
    p.ip = inner;
    p.family = static_cast<std::uint8_t>(family);
    p.length = family == 4 ? ipv4_length(inner) : ipv6_length(inner);
    return true;
}

// Checks the sources of packets that enter_inner() has entered, and sends each on by its
// destination. `slot`: by number of the packet in the burst.
void route_inner4(Context& c, Burst& b, const PacketList& list, const std::uint32_t* slot);
void route_inner6(Context& c, Burst& b, const PacketList& list, const std::uint32_t* slot);

}  // namespace dr
