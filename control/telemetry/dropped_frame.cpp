// Parses the first bytes of a dropped frame.
#include "control/telemetry/dropped_frame.h"

#include <algorithm>

#include "dataplane/wire/headers.h"

namespace dr::control {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::uint16_t word(Bytes bytes, std::size_t at) {
    return static_cast<std::uint16_t>(bytes[at] << 8 | bytes[at + 1]);
}

IpAddress address(Bytes bytes, std::size_t at, std::uint8_t family) {
    IpAddress a{family, {}};
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(at), family == 4 ? 4 : 16,
                a.bytes.begin());
    return a;
}

// `rest`: what follows the header; empty for a later fragment.
std::optional<DroppedIp> read_ip(Bytes bytes, std::uint16_t type, Bytes* rest) {
    *rest = {};
    const bool v4 = type == wire::kEtherIpv4;
    const std::size_t least = v4 ? 20 : 40;
    if ((!v4 && type != wire::kEtherIpv6) || bytes.size() < least) return std::nullopt;
    const std::size_t header = v4 ? std::max<std::size_t>(least, (bytes[0] & 15U) * 4U) : least;
    DroppedIp ip;
    ip.source = address(bytes, v4 ? 12 : 8, v4 ? 4 : 6);
    ip.destination = address(bytes, v4 ? 16 : 24, v4 ? 4 : 6);
    ip.protocol = bytes[v4 ? 9 : 6];
    const bool later = v4 && (word(bytes, 6) & wire::Ipv4::kOffsetMask) != 0;
    if (!later && header <= bytes.size()) *rest = bytes.subspan(header);
    const bool ports = ip.protocol == wire::kProtoUdp || ip.protocol == wire::kProtoTcp;
    if (ports && rest->size() >= 4) {
        ip.source_port = word(*rest, 0);
        ip.destination_port = word(*rest, 2);
    }
    return ip;
}

void read_gre(Bytes gre, DroppedFrame& frame) {
    if (gre.size() < sizeof(wire::GreKey) || word(gre, 0) != wire::kGreKeyPresent) return;
    frame.key = static_cast<std::uint32_t>(word(gre, 4)) << 16 | word(gre, 6);
    const std::uint16_t type = word(gre, 2);
    frame.keepalive = type == wire::kEtherKeepalive;
    Bytes rest;
    frame.inner = read_ip(gre.subspan(sizeof(wire::GreKey)), type, &rest);
}

}  // namespace

DroppedFrame read_frame(Bytes head) {
    DroppedFrame frame;
    constexpr std::size_t kEthernet = sizeof(wire::Ethernet), kTag = 4;
    if (head.size() < kEthernet) return frame;
    std::copy_n(head.begin(), 6, frame.destination_mac.begin());
    std::copy_n(head.begin() + 6, 6, frame.source_mac.begin());
    frame.ether_type = word(head, 12);
    Bytes rest = head.subspan(kEthernet);
    const bool tagged =
        frame.ether_type == wire::kEtherVlan || frame.ether_type == wire::kEtherServiceVlan;
    if (tagged && rest.size() >= kTag) {
        frame.vlan = word(rest, 0) & 0xfffU;
        frame.ether_type = word(rest, 2);
        rest = rest.subspan(kTag);
    }
    Bytes upper;
    frame.ip = read_ip(rest, frame.ether_type, &upper);
    if (!frame.ip) return frame;
    if (frame.ip->protocol == wire::kProtoGre)
        read_gre(upper, frame);
    else if (frame.ip->protocol == wire::kProtoUdp &&
             frame.ip->destination_port == wire::kGreUdpPort && upper.size() >= sizeof(wire::Udp))
        read_gre(upper.subspan(sizeof(wire::Udp)), frame);
    return frame;
}

}  // namespace dr::control
