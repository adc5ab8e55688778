// TCP MSS clamp on SYN segments, both directions: what does not fit the tunnel is never announced.
#pragma once

#include "dataplane/worker/context.h"

namespace dr {

// The rare part: finds the option (RFC 9293 §3.2) and lowers it to `limit`.
void clamp_mss(std::uint8_t* tcp, unsigned length, std::uint16_t limit);

// A TCP segment that may carry the option: SYN, its whole header there. p.upper and p.protocol are
// known.
inline bool has_mss(const Packet& p) {
    return p.protocol == wire::kProtoTcp && (p.flags & Packet::kLaterFragment) == 0 &&
           p.upper + 20U <= p.length && (p.ip[p.upper + 13U] & 0x02) != 0;
}

// The largest packet inside a tunnel that leaves by `hop`: the tunnel's MTU, or what the port has
// room for. Without a next hop, which is row 0: the tunnel's.
inline unsigned room_in(const TunnelRow& row, const NextHopRow& hop) {
    const unsigned room = hop.mtu - row.header_length();
    return row.mtu < room ? row.mtu : room;
}

// A SYN announces what may come back: through the tunnel that its packet came out of, and through
// the one that it goes into, which takes `mtu` bytes of inner packet.
inline void maybe_clamp_mss(const Tables& t, const Packet& p, unsigned mtu) {
    if (!has_mss(p)) [[likely]]
        return;
    if (p.from != nullptr) {
        const std::uint32_t next = p.from->next_hop.load(std::memory_order_acquire);
        const unsigned back = room_in(*p.from, t.next_hop(next));
        mtu = back < mtu ? back : mtu;
    }
    clamp_mss(p.ip + p.upper, p.length - p.upper,
              static_cast<std::uint16_t>(mtu - (p.family == 4 ? 40 : 60)));
}

}  // namespace dr
