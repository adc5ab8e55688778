// The checksum of UDP over IPv4 and IPv6: RFC 768, RFC 8200 §8.1.
#pragma once

#include <cstdint>
#include <cstring>

#include "dataplane/wire/checksum.h"
#include "dataplane/wire/headers.h"
#include "dataplane/wire/ip_layout.h"

namespace dr::wire {

// The sum of the pseudo header: addresses of the IP header at `ip`, protocol, and the length as it
// stands in the UDP header.
inline std::uint64_t udp_pseudo_sum(const std::uint8_t* ip, unsigned family, Be16 length) {
    const std::uint64_t addresses =
        family == 4 ? checksum_add(ip + kIpv4Layout.source, 2UL * kIpv4Layout.address, 0)
                    : checksum_add(ip + kIpv6Layout.source, 2UL * kIpv6Layout.address, 0);
    return addresses + (std::uint32_t{kProtoUdp} << 8) + length.raw;
}

// Fills in the checksum, which is never 0. `ip`: the packet, whole and contiguous; `offset`: of its
// UDP header, whose length is right.
inline void write_udp_checksum(std::uint8_t* ip, unsigned offset) {
    Udp udp;
    std::memcpy(&udp, ip + offset, sizeof udp);
    udp.checksum = {};
    std::memcpy(ip + offset, &udp, sizeof udp);
    udp.checksum =
        checksum(ip + offset, udp.length.host(), udp_pseudo_sum(ip, ip[0] >> 4, udp.length));
    if (udp.checksum.raw == 0) udp.checksum = Be16::from(0xffff);
    std::memcpy(ip + offset, &udp, sizeof udp);
}

}  // namespace dr::wire
