// A tunnel record as the row that workers read: the ready-made outer header of rows.h.
#pragma once

#include "base/ip.h"
#include "dataplane/southbound/protocol.h"
#include "dataplane/tables/rows.h"

namespace dr::southbound {

// A tunnel with its endpoint as it is known now.
struct BoundTunnel {
    TunnelRecord record;
    // GRE-in-UDP.
    bool any_port;  // the peer's source port may be any
    bool entropy;   // ours carries the flow's
    // Automatic: the peer may send in the other encapsulation too.
    bool either = false;
    // GRE-in-UDP: packets with UDP checksum 0 arrive, or nothing can tell.
    bool zero_checksums = true;
};

// Fills everything but next_hop. The record was accepted by decode(). Writer, on a row that no
// worker can reach.
void build_tunnel_row(const BoundTunnel& tunnel, SubscriberIndex subscriber, TunnelRow* row);
// As configured: with entropy where no port of the peer is.
void build_tunnel_row(const TunnelRecord& record, SubscriberIndex subscriber, TunnelRow* row);

// All that build_tunnel_row() fills is equal.
[[nodiscard]] bool same_tunnel(const TunnelRow& a, const TunnelRow& b);

// The GRE key, the outer destination and the outer source of a row that was built.
[[nodiscard]] TunnelId tunnel_id(const TunnelRow& row);
[[nodiscard]] IpAddress remote_address(const TunnelRow& row);
[[nodiscard]] IpAddress local_address(const TunnelRow& row);

}  // namespace dr::southbound
