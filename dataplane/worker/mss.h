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

// mtu: the tunnel's, bytes of inner packet.
inline void maybe_clamp_mss(const Packet& p, unsigned mtu) {
    if (!has_mss(p)) [[likely]]
        return;
    clamp_mss(p.ip + p.upper, p.length - p.upper,
              static_cast<std::uint16_t>(mtu - (p.family == 4 ? 40 : 60)));
}

}  // namespace dr
