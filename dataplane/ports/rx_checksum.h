// Decides when to trust a NIC's verdict on checksums of received packets. "Good" must refer to the
// header that the worker reads next. For a packet that the NIC has recognized as a tunnel, drivers
// report the inner header's checksum there and the outer one's elsewhere, or nowhere. Such packets,
// and unmarked ones, are checked in software.
#pragma once

#include <rte_mbuf.h>

#include "dataplane/ports/port.h"

namespace dr {

// The first IPv4 header of the frame has a right checksum.
inline bool ipv4_checksum_known(const Port& port, const rte_mbuf& mbuf) {
    constexpr std::uint64_t kMask = RTE_MBUF_F_RX_IP_CKSUM_MASK | RTE_MBUF_F_RX_OUTER_IP_CKSUM_BAD;
    return port.rx_checksum_ipv4 && (mbuf.ol_flags & kMask) == RTE_MBUF_F_RX_IP_CKSUM_GOOD &&
           (mbuf.packet_type & RTE_PTYPE_TUNNEL_MASK) == 0;
}

// The UDP header directly behind the frame's first IP header has a right checksum.
inline bool udp_checksum_known(const Port& port, const rte_mbuf& mbuf) {
    return port.rx_checksum_udp &&
           (mbuf.ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK) == RTE_MBUF_F_RX_L4_CKSUM_GOOD &&
           (mbuf.packet_type & RTE_PTYPE_TUNNEL_MASK) == 0;
}

}  // namespace dr
