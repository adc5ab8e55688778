// Echo requests of a site to an address of this router, and the replies to them (RFC 792, RFC 4443
// §4.2). Pure; a worker calls them.
#pragma once

#include <cstdint>
#include <cstring>

#include "dataplane/wire/checksum.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"

namespace dr {

// A whole echo request behind a plain header: one with options or extension headers is not copied
// into an answer.
inline bool is_ping(const Packet& p, const wire::Upper& u) {
    const unsigned header = wire::ip_layout(p.family).header;
    if (u.fragment || u.offset != header || p.length < header + sizeof(wire::Icmp)) return false;
    const std::uint8_t* icmp = p.ip + header;
    return p.family == 4 ? u.protocol == wire::kProtoIcmp && icmp[0] == 8 && icmp[1] == 0
                         : u.protocol == wire::kProtoIcmp6 && icmp[0] == 128 && icmp[1] == 0;
}

// `p`, which is_ping(), becomes its reply at `ip`, p.length bytes, from the address that was
// pinged. Its checksum is updated and not computed (RFC 1624), so that what was damaged stays so:
// the addresses only change places, and the type by 8 or 1.
inline void write_echo_reply(std::uint8_t* ip, const Packet& p) {
    const unsigned header = wire::ip_layout(p.family).header;
    std::memcpy(ip + header, p.ip + header, p.length - header);
    const std::uint8_t request = ip[header];
    const std::uint8_t reply = p.family == 4 ? 0 : 129;
    ip[header] = reply;
    Be16 sum;
    std::memcpy(&sum, ip + header + 2, sizeof sum);
    std::uint32_t next = static_cast<std::uint16_t>(~sum.host());
    next += static_cast<std::uint16_t>(~(request << 8)) + (unsigned{reply} << 8);
    next = (next & 0xffff) + (next >> 16);
    next = (next & 0xffff) + (next >> 16);
    sum = Be16::from(static_cast<std::uint16_t>(~next));
    std::memcpy(ip + header + 2, &sum, sizeof sum);
    if (p.family == 6) {
        wire::Ipv6 h{};
        h.version_class_label = Be32::from(0x60000000U);
        h.payload_length = Be16::from(static_cast<std::uint16_t>(p.length - header));
        h.next_header = wire::kProtoIcmp6;
        h.hop_limit = 64;
        std::memcpy(h.source.data(), p.ip + 24, 16);
        std::memcpy(h.destination.data(), p.ip + 8, 16);
        std::memcpy(ip, &h, sizeof h);
        return;
    }
    wire::Ipv4 h{};
    h.version_ihl = 0x45;
    h.total_length = Be16::from(p.length);
    h.ttl = 64;
    h.protocol = wire::kProtoIcmp;
    std::memcpy(&h.source, p.ip + 16, 4);
    std::memcpy(&h.destination, p.ip + 12, 4);
    std::memcpy(ip, &h, sizeof h);
    const auto whole = wire::checksum(ip, header);
    std::memcpy(ip + 10, &whole, 2);
}

}  // namespace dr
