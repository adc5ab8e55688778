// Packets that do not fit their tunnel's row: the other encapsulation of an automatic tunnel, a
// keepalive from a new endpoint, or a drop that says what did not fit.
// Exits: drop.unknown_tunnel drop.stale_generation drop.encap_mismatch drop.outer_source
//   drop.outer_destination.
#include "dataplane/worker/binding.h"

namespace dr {

namespace {

bool right_key(const TunnelRow& row, const std::uint8_t* gre) {
    return std::memcmp(row.key(), gre + 4, 4) == 0;
}
// Both ends' addresses; the families must be the same.
bool from_peer(const TunnelRow& row, const Packet& p) {
    const wire::IpLayout at = wire::ip_layout(p.family);
    return std::memcmp(row.peer(), p.ip + at.source, at.address) == 0;
}
bool to_local(const TunnelRow& row, const Packet& p) {
    const wire::IpLayout at = wire::ip_layout(p.family);
    return std::memcmp(row.local(), p.ip + at.destination, at.address) == 0;
}

// Why a packet is not its tunnel's, in the order of proto/TUNNEL.md §2.
Exit refuse(const Packet& p, const std::uint8_t* gre) {
    const TunnelRow& row = *p.from;
    const bool udp = (row.flags & TunnelRow::kUdp) != 0;
    if (!right_key(row, gre)) return Exit::DropStaleGeneration;
    if (udp != (p.protocol == wire::kProtoUdp) || row.family() != p.family)
        return Exit::DropEncapMismatch;
    if ((row.flags & TunnelRow::kDisabled) != 0) return Exit::DropUnknownTunnel;
    return from_peer(row, p) && bound_port(row, p) ? Exit::DropOuterDestination
                                                   : Exit::DropOuterSource;
}

// From the peer of an automatic tunnel, in the encapsulation that this end does not send in: the
// two ends do not change it at the same moment.
bool bound_otherwise(const Packet& p, const std::uint8_t* gre) {
    const TunnelRow& row = *p.from;
    const bool udp = (row.flags & TunnelRow::kUdp) != 0;
    return (row.flags & (TunnelRow::kEither | TunnelRow::kDisabled)) == TunnelRow::kEither &&
           row.family() == p.family && udp != (p.protocol == wire::kProtoUdp) &&
           right_key(row, gre) && from_peer(row, p) && to_local(row, p);
}

// Keepalives are taken from any source, in either encapsulation: that is how an endpoint is
// learned.
bool keepalive_from_elsewhere(const Packet& p, const std::uint8_t* gre) {
    const TunnelRow& row = *p.from;
    return wire::load16(gre + 2) == wire::kEtherKeepalive && row.family() == p.family &&
           right_key(row, gre) && to_local(row, p);
}

}  // namespace

bool not_bound(Context& c, Packet& p, const std::uint8_t* gre) {
    if (bound_otherwise(p, gre)) return true;
    if (keepalive_from_elsewhere(p, gre))
        take_keepalive(c, p, gre, false);
    else
        exit_with(c, p, refuse(p, gre));
    return false;
}

}  // namespace dr
