// Is a packet its tunnel's? The tunnel's row against the outer header: key, encapsulation, both
// ends (proto/TUNNEL.md §2).
#pragma once

#include <cstring>

#include "dataplane/wire/load.h"
#include "dataplane/worker/context.h"

namespace dr {

// GRE-in-UDP with a bound port: the peer's is part of its endpoint.
inline bool bound_port(const TunnelRow& row, const Packet& p) {
    return (row.flags & (TunnelRow::kUdp | TunnelRow::kAnyPort)) != TunnelRow::kUdp ||
           std::memcmp(row.header.data() + row.header_length() - 14, p.ip + p.upper, 2) == 0;
}

// All at once. The row's header is what this router sends, so its destination is the peer.
template <unsigned Family>
bool bound_to(const TunnelRow& row, const Packet& p, const std::uint8_t* gre) {
    constexpr wire::IpLayout kLayout = wire::ip_layout(Family);
    constexpr unsigned kFlags = TunnelRow::kUdp | TunnelRow::kIpv6 | TunnelRow::kDisabled;
    const unsigned kind = (p.protocol == wire::kProtoUdp ? TunnelRow::kUdp : 0U) |
                          (Family == 6 ? TunnelRow::kIpv6 : 0U);
    if ((row.flags & kFlags) != kind) return false;
    const std::uint8_t* const ours = row.header.data();
    return std::memcmp(row.key(), gre + 4, 4) == 0 &&
           std::memcmp(ours + kLayout.destination, p.ip + kLayout.source, kLayout.address) == 0 &&
           std::memcmp(ours + kLayout.source, p.ip + kLayout.destination, kLayout.address) == 0 &&
           bound_port(row, p);
}

// For a packet that bound_to() refuses. true: it is the tunnel's all the same. false: it ended
// here, as a keepalive or by the exit that says why.
bool not_bound(Context& c, Packet& p, const std::uint8_t* gre);

// Of p.from. false: the packet ended here.
inline bool check_tunnel(Context& c, Packet& p, const std::uint8_t* gre) {
    const bool bound = p.family == 4 ? bound_to<4>(*p.from, p, gre) : bound_to<6>(*p.from, p, gre);
    if (!bound) [[unlikely]]
        return not_bound(c, p, gre);
    return true;
}

}  // namespace dr
