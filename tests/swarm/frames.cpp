#include "tests/swarm/frames.h"

#include <cstring>

#include "dataplane/wire/checksum.h"

namespace dr::swarm {

namespace {

constexpr unsigned kEthernet = sizeof(wire::Ethernet);

template <typename T>
T read(std::span<const std::uint8_t> bytes, unsigned at) {
    T value;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    return value;
}

wire::Ipv4 ipv4_header(std::uint8_t protocol, unsigned length) {
    wire::Ipv4 ip{};
    ip.version_ihl = 0x45;
    ip.total_length = Be16::from(static_cast<std::uint16_t>(length));
    ip.fragment = Be16::from(wire::Ipv4::kDontFragment);
    ip.ttl = 64;
    ip.protocol = protocol;
    return ip;
}

void put_ethernet(std::uint16_t type, std::uint8_t* out) {
    const wire::Ethernet ethernet{kDrMac, kNetworkMac, Be16::from(type)};
    std::memcpy(out, &ethernet, sizeof ethernet);
}

Arrived read_gre(std::span<const std::uint8_t> bytes, wire::Endpoint source) {
    Arrived arrived;
    if (bytes.size() < sizeof(wire::GreKey)) return arrived;
    const auto gre = read<wire::GreKey>(bytes, 0);
    if (gre.flags.host() != wire::kGreKeyPresent) return arrived;
    arrived.kind = gre.protocol.host() == wire::kEtherKeepalive ? Arrived::Kind::Keepalive
                                                                : Arrived::Kind::TunnelData;
    arrived.key = gre.key.host();
    arrived.source = source;
    arrived.payload = bytes.subspan(sizeof gre);
    return arrived;
}

// What follows an IP header. Only the tunnels' own UDP port is theirs.
Arrived read_transport(std::uint8_t protocol, std::span<const std::uint8_t> bytes,
                       wire::Endpoint source) {
    if (protocol == wire::kProtoGre) return read_gre(bytes, source);
    if (protocol != wire::kProtoUdp || bytes.size() < sizeof(wire::Udp)) return {};
    const auto udp = read<wire::Udp>(bytes, 0);
    const unsigned length = udp.length.host();
    if (length < sizeof udp || length > bytes.size()) return {};
    source.port = udp.source_port.host();
    return read_gre(bytes.subspan(sizeof udp, length - sizeof udp), source);
}

Arrived read_ipv4(std::span<const std::uint8_t> bytes) {
    if (bytes.size() < sizeof(wire::Ipv4)) return {};
    const auto ip = read<wire::Ipv4>(bytes, 0);
    const unsigned length = ip.total_length.host();
    if (ip.version_ihl != 0x45 || length < sizeof ip || length > bytes.size()) return {};
    wire::Endpoint source{4, 0, {}};
    std::memcpy(source.address.data(), &ip.source, 4);
    Arrived arrived =
        read_transport(ip.protocol, bytes.subspan(sizeof ip, length - sizeof ip), source);
    if (arrived.kind != Arrived::Kind::Other) return arrived;
    arrived.kind = Arrived::Kind::Plain;
    arrived.inner_source = ip.source.host();
    return arrived;
}

Arrived read_ipv6(std::span<const std::uint8_t> bytes) {
    if (bytes.size() < sizeof(wire::Ipv6)) return {};
    const auto ip = read<wire::Ipv6>(bytes, 0);
    const unsigned length = ip.payload_length.host();
    if (sizeof ip + length > bytes.size()) return {};
    return read_transport(ip.next_header, bytes.subspan(sizeof ip, length), {6, 0, ip.source});
}

}  // namespace

TunnelHeader::TunnelHeader(const wire::Endpoint& ur, const wire::Endpoint& dr, std::uint32_t key)
    : v6_(ur.family == 6), udp_(ur.port != 0) {
    put_ethernet(v6_ ? wire::kEtherIpv6 : wire::kEtherIpv4, bytes_.data());
    unsigned at = kEthernet;
    const std::uint8_t protocol = udp_ ? wire::kProtoUdp : wire::kProtoGre;
    if (v6_) {
        const wire::Ipv6 ip{Be32::from(6U << 28), {}, protocol, 64, ur.address, dr.address};
        std::memcpy(&bytes_[at], &ip, sizeof ip);
        at += sizeof ip;
    } else {
        wire::Ipv4 ip = ipv4_header(protocol, 0);
        std::memcpy(&ip.source, ur.address.data(), 4);
        std::memcpy(&ip.destination, dr.address.data(), 4);
        std::memcpy(&bytes_[at], &ip, sizeof ip);
        at += sizeof ip;
    }
    if (udp_) {
        const wire::Udp udp{Be16::from(ur.port), Be16::from(dr.port), {}, {}};
        std::memcpy(&bytes_[at], &udp, sizeof udp);
        at += sizeof udp;
    }
    const wire::GreKey gre{Be16::from(wire::kGreKeyPresent), {}, Be32::from(key)};
    std::memcpy(&bytes_[at], &gre, sizeof gre);
    size_ = static_cast<std::uint8_t>(at + sizeof gre);
}

unsigned TunnelHeader::write(std::uint16_t protocol, std::span<const std::uint8_t> payload,
                             std::span<std::uint8_t> out) const {
    const unsigned size = size_ + static_cast<unsigned>(payload.size());
    if (size > out.size()) return 0;
    std::memcpy(out.data(), bytes_.data(), size_);
    std::memcpy(out.data() + size_, payload.data(), payload.size());
    const Be16 type = Be16::from(protocol);
    std::memcpy(out.data() + size_ - 6, &type, sizeof type);
    const auto after_ip = [&](unsigned header) {
        return Be16::from(static_cast<std::uint16_t>(size - kEthernet - header));
    };
    unsigned ip_size = sizeof(wire::Ipv6);
    if (v6_) {
        const Be16 length = after_ip(ip_size);
        std::memcpy(out.data() + kEthernet + 4, &length, sizeof length);
    } else {
        ip_size = sizeof(wire::Ipv4);
        auto ip = read<wire::Ipv4>(out, kEthernet);
        ip.total_length = after_ip(0);
        ip.checksum = wire::checksum(&ip, sizeof ip);
        std::memcpy(out.data() + kEthernet, &ip, sizeof ip);
    }
    if (udp_) {
        const Be16 length = after_ip(ip_size);
        std::memcpy(out.data() + kEthernet + ip_size + 4, &length, sizeof length);
    }
    return size;
}

void write_inner(std::uint32_t source, std::uint32_t destination, std::uint32_t flow,
                 std::span<std::uint8_t, kInnerPacket> out) {
    wire::Ipv4 ip = ipv4_header(wire::kProtoUdp, kInnerPacket);
    ip.source = Be32::from(source);
    ip.destination = Be32::from(destination);
    ip.checksum = wire::checksum(&ip, sizeof ip);
    const wire::Udp udp{Be16::from(static_cast<std::uint16_t>(1'024 + flow % 60'000)),
                        Be16::from(9),
                        Be16::from(static_cast<std::uint16_t>(kInnerPacket - sizeof ip)),
                        {}};
    std::memset(out.data(), 0, out.size());
    std::memcpy(out.data(), &ip, sizeof ip);
    std::memcpy(out.data() + sizeof ip, &udp, sizeof udp);
}

unsigned write_plain(std::uint32_t source, std::uint32_t destination, std::uint32_t flow,
                     std::span<std::uint8_t> out) {
    if (out.size() < kEthernet + kInnerPacket) return 0;
    put_ethernet(wire::kEtherIpv4, out.data());
    write_inner(source, destination, flow, out.subspan<kEthernet, kInnerPacket>());
    return kEthernet + kInnerPacket;
}

Arrived read_frame(std::span<const std::uint8_t> frame) {
    if (frame.size() < kEthernet) return {};
    const std::uint16_t type = read<wire::Ethernet>(frame, 0).type.host();
    if (type == wire::kEtherIpv4) return read_ipv4(frame.subspan(kEthernet));
    if (type == wire::kEtherIpv6) return read_ipv6(frame.subspan(kEthernet));
    return {};
}

}  // namespace dr::swarm
