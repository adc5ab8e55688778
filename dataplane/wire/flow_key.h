// From an IP packet to its flow: the upper-layer header, the two ends, the hash.
// Exactly proto/TUNNEL.md §3. Pure functions; every read is bounded by `length`.
#pragma once

#include <cstdint>
#include <cstring>

#include "dataplane/wire/flow_hash.h"
#include "dataplane/wire/headers.h"
#include "dataplane/wire/load.h"

namespace dr::wire {

// Where the upper-layer header of an IP packet is.
struct Upper {
    std::uint16_t offset;   // from the IP header
    std::uint8_t protocol;  // after any IPv6 extension headers
    bool fragment;          // any fragment, the first included
    bool later_fragment;    // offset not 0: no upper-layer header in it
};

// The IPv4 header must have been validated (header length within `length`).
inline Upper upper4(const std::uint8_t* ip) {
    Ipv4 h;
    std::memcpy(&h, ip, sizeof h);
    const std::uint16_t fragment = h.fragment.host();
    return {static_cast<std::uint16_t>(h.header_length()), h.protocol,
            (fragment & (Ipv4::kMoreFragments | Ipv4::kOffsetMask)) != 0,
            (fragment & Ipv4::kOffsetMask) != 0};
}

// IPv6 extension headers that are followed, at most; a longer chain has no upper layer.
inline constexpr int kMaxExtensionHeaders = 8;

// Skips hop-by-hop options, routing header and destination options up to the upper layer or to a
// fragment header (RFC 8200 §4), where the search ends: what follows it is in the first fragment
// alone, and all fragments must look alike. A chain that is too long, or that runs out of `length`,
// ends as protocol 59 (no next header).
inline Upper upper6(const std::uint8_t* ip, unsigned length) {
    Upper u{40, ip[6], false, false};
    for (int headers = 0; headers <= kMaxExtensionHeaders; ++headers) {
        const bool options = u.protocol == kProtoHopByHop || u.protocol == kProtoRouting ||
                             u.protocol == kProtoDestOpts;
        if (!options && u.protocol != kProtoFragment) return u;
        if (headers == kMaxExtensionHeaders || u.offset + 8U > length) break;
        const std::uint8_t* header = ip + u.offset;
        const unsigned size = options ? (header[1] + 1U) * 8U : 8U;
        if (u.offset + size > length) break;
        u.protocol = header[0];
        u.offset = static_cast<std::uint16_t>(u.offset + size);
        if (options) continue;
        u.fragment = true;
        u.later_fragment = ((header[2] << 8 | header[3]) & 0xfff8) != 0;
        return u;
    }
    u.protocol = kProtoNone;
    return u;
}

// `family`: 4 or 6, that of the packet; conditions as of upper4() and upper6().
[[gnu::always_inline]] inline Upper upper(const std::uint8_t* ip, unsigned family,
                                          unsigned length) {
    return family == 4 ? upper4(ip) : upper6(ip, length);
}

// A tunnel packet by its headers: GRE, or UDP to the port of GRE-in-UDP (RFC 8086 §8). A later
// fragment shows no port: see may_be_tunnel(). `length`: bytes of the IP packet that can be read.
[[gnu::always_inline]] inline bool is_tunnel(const Upper& u, const std::uint8_t* ip,
                                             unsigned length) {
    return u.protocol == kProtoGre || (u.protocol == kProtoUdp && u.offset + 4U <= length &&
                                       load16(ip + u.offset + 2) == kGreUdpPort);
}
inline bool may_be_tunnel(const Upper& u, const std::uint8_t* ip, unsigned length) {
    return is_tunnel(u, ip, length) || (u.protocol == kProtoUdp && u.later_fragment);
}

// ICMP errors carry the packet they are about. RFC 792; RFC 4443 §2.1 (types below 128).
inline bool is_icmp4_error(std::uint8_t type) {
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}
inline bool is_icmp6_error(std::uint8_t type) {
    return type < 128;
}

namespace detail {

struct PortPair {
    std::uint16_t source;
    std::uint16_t destination;
};
inline PortPair ports(const std::uint8_t* ip, unsigned length, const Upper& u) {
    const bool has = (u.protocol == kProtoTcp || u.protocol == kProtoUdp) && !u.fragment &&
                     u.offset + 4U <= length;
    if (!has) return {0, 0};
    return {load16(ip + u.offset), load16(ip + u.offset + 2)};
}

}  // namespace detail

// The hash of an IPv4 packet. `length`: bytes of the IP packet that can be read.
// `depth` 1: this is the packet inside an ICMP error, and another error inside it is not followed.
inline std::uint32_t flow_hash4(const std::uint8_t* ip, unsigned length, const Upper& u,
                                std::uint32_t seed, int depth = 0) {
    if (u.protocol == kProtoIcmp && !u.fragment && depth == 0 && u.offset + 8U + 20U <= length &&
        is_icmp4_error(ip[u.offset])) [[unlikely]] {
        const std::uint8_t* quoted = ip + u.offset + 8;
        const unsigned left = length - u.offset - 8;
        if (quoted[0] >> 4 == 4 && (quoted[0] & 15U) >= 5)
            return flow_hash4(quoted, left, upper4(quoted), seed, 1);
    }
    const detail::PortPair p = detail::ports(ip, length, u);
    return dr_flow_hash(dr_flow_end4(load32(ip + 12), p.source),
                        dr_flow_end4(load32(ip + 16), p.destination), u.protocol, seed);
}

inline std::uint32_t flow_hash6(const std::uint8_t* ip, unsigned length, const Upper& u,
                                std::uint32_t seed, int depth = 0) {
    if (u.protocol == kProtoIcmp6 && !u.fragment && depth == 0 && u.offset + 8U + 40U <= length &&
        is_icmp6_error(ip[u.offset])) [[unlikely]] {
        const std::uint8_t* quoted = ip + u.offset + 8;
        const unsigned left = length - u.offset - 8;
        if (quoted[0] >> 4 == 6) return flow_hash6(quoted, left, upper6(quoted, left), seed, 1);
    }
    const detail::PortPair p = detail::ports(ip, length, u);
    return dr_flow_hash(dr_flow_end6(load64(ip + 8), load64(ip + 16), p.source),
                        dr_flow_end6(load64(ip + 24), load64(ip + 32), p.destination), u.protocol,
                        seed);
}

}  // namespace dr::wire
