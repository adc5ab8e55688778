// TCP MSS clamp on SYN segments, both directions: what does not fit the tunnel is never announced.
#pragma once

#include "dataplane/worker/context.h"

namespace dr {

// The rare part: finds the option (RFC 9293 §3.2) and lowers it to `limit`.
void clamp_mss(std::uint8_t* tcp, unsigned length, std::uint16_t limit);

// p.upper and p.protocol are known. mtu: the tunnel's, bytes of inner packet.
inline void maybe_clamp_mss(const Packet& p, unsigned mtu) {
    if (p.protocol != wire::kProtoTcp || (p.flags & Packet::kLaterFragment) != 0) return;
    if (p.upper + 20U > p.length) return;
    std::uint8_t* tcp = p.ip + p.upper;
    if ((tcp[13] & 0x02) == 0) [[likely]]
        return;
    clamp_mss(tcp, p.length - p.upper, static_cast<std::uint16_t>(mtu - (p.family == 4 ? 40 : 60)));
}

}  // namespace dr
