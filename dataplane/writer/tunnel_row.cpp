// The outer header of a tunnel, made from its record.
#include "dataplane/writer/tunnel_row.h"

#include <cstddef>
#include <cstring>

#include "dataplane/southbound/codec.h"
#include "dataplane/wire/headers.h"

namespace dr::southbound {
namespace {

constexpr std::uint8_t kTtl = 64;

// One's complement sum of a header of 16-bit words, RFC 1071.
std::uint16_t checksum(const std::uint8_t* data, std::size_t length) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < length; i += 2)
        sum += static_cast<std::uint32_t>(data[i] << 8 | data[i + 1]);
    sum = (sum & 0xffffU) + (sum >> 16);
    sum = (sum & 0xffffU) + (sum >> 16);
    return static_cast<std::uint16_t>(~sum & 0xffffU);
}

std::size_t put_ipv4(const TunnelRecord& t, std::uint8_t protocol, std::uint8_t* to) {
    wire::Ipv4 ip{};
    ip.version_ihl = 0x45;
    ip.fragment = Be16::from(wire::Ipv4::kDontFragment);
    ip.ttl = kTtl;
    ip.protocol = protocol;
    std::memcpy(&ip.source, t.local.data(), 4);
    std::memcpy(&ip.destination, t.remote.data(), 4);
    std::memcpy(to, &ip, sizeof ip);
    ip.checksum = Be16::from(checksum(to, sizeof ip));
    std::memcpy(to, &ip, sizeof ip);
    return sizeof ip;
}

std::size_t put_ipv6(const TunnelRecord& t, std::uint8_t protocol, std::uint8_t* to) {
    wire::Ipv6 ip{};
    ip.version_class_label = Be32::from(6U << 28);
    ip.next_header = protocol;
    ip.hop_limit = kTtl;
    ip.source = t.local;
    ip.destination = t.remote;
    std::memcpy(to, &ip, sizeof ip);
    return sizeof ip;
}

std::size_t put_udp(const BoundTunnel& t, std::uint8_t* to) {
    const std::uint16_t port = t.record.remote_port;
    wire::Udp udp{};
    udp.source_port = Be16::from(t.entropy ? wire::kEntropyPortBase : wire::kGreUdpPort);
    udp.destination_port = Be16::from(port == 0 ? wire::kGreUdpPort : port);
    std::memcpy(to, &udp, sizeof udp);
    return sizeof udp;
}

IpAddress address_at(const TunnelRow& row, std::size_t ipv4_offset, std::size_t ipv6_offset) {
    IpAddress address;
    const bool ipv6 = (row.flags & TunnelRow::kIpv6) != 0;
    address.family = ipv6 ? 6 : 4;
    std::memcpy(address.bytes.data(), row.header.data() + (ipv6 ? ipv6_offset : ipv4_offset),
                ipv6 ? 16 : 4);
    return address;
}

}  // namespace

void build_tunnel_row(const TunnelRecord& record, SubscriberIndex subscriber, TunnelRow* row) {
    build_tunnel_row(BoundTunnel{record, record.remote_port == 0, record.remote_port == 0},
                     subscriber, row);
}

void build_tunnel_row(const BoundTunnel& tunnel, SubscriberIndex subscriber, TunnelRow* row) {
    const TunnelRecord& record = tunnel.record;
    const bool udp = has_ports(record.encapsulation);
    const bool ipv6 = record.family == 6;
    const std::uint8_t protocol = udp ? wire::kProtoUdp : wire::kProtoGre;
    row->header.fill(0);
    std::uint8_t* at = row->header.data();
    at += ipv6 ? put_ipv6(record, protocol, at) : put_ipv4(record, protocol, at);
    if (udp) at += put_udp(tunnel, at);
    // The protocol type is the inner packet's, filled in for each.
    const wire::GreKey gre{Be16::from(wire::kGreKeyPresent), {}, Be32::from(record.id)};
    std::memcpy(at, &gre, sizeof gre);

    row->subscriber = subscriber.value & 0xffffffU;
    row->flags = static_cast<std::uint8_t>(
        (udp ? TunnelRow::kUdp : 0) | (ipv6 ? TunnelRow::kIpv6 : 0) |
        (udp && tunnel.any_port ? TunnelRow::kAnyPort : 0) |
        (udp && tunnel.entropy ? TunnelRow::kEntropy : 0) |
        (udp && !tunnel.zero_checksums ? TunnelRow::kChecksum : 0) |
        (tunnel.either ? TunnelRow::kEither : 0) | (is_learned(record) ? TunnelRow::kDisabled : 0));
    row->mtu = record.mtu;
}

bool same_tunnel(const TunnelRow& a, const TunnelRow& b) {
    return a.header == b.header && a.subscriber == b.subscriber && a.flags == b.flags &&
           a.mtu == b.mtu;
}

TunnelId tunnel_id(const TunnelRow& row) {
    Be32 key;
    std::memcpy(&key, row.header.data() + row.header_length() - sizeof key, sizeof key);
    return {key.host()};
}

IpAddress remote_address(const TunnelRow& row) {
    return address_at(row, offsetof(wire::Ipv4, destination), offsetof(wire::Ipv6, destination));
}

IpAddress local_address(const TunnelRow& row) {
    return address_at(row, offsetof(wire::Ipv4, source), offsetof(wire::Ipv6, source));
}

}  // namespace dr::southbound
