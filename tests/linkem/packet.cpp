#include "tests/linkem/packet.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "dataplane/wire/checksum.h"

namespace dr::linkem {
namespace {

constexpr std::uint16_t kIpv4Type = 0x0800, kIpv6Type = 0x86dd;
constexpr std::uint16_t kKeepaliveType = 0x88b5, kGreInUdpPort = 4754;
constexpr std::uint16_t kDontFragment = 0x4000, kMoreFragments = 0x2000, kFragmentOffset = 0x1fff;
constexpr std::uint8_t kIpv6Fragment = 44;
constexpr std::size_t kIpv4Bytes = 20, kIpv6Bytes = 40, kIcmpBytes = 8;

std::uint64_t add16(ConstBytes bytes, std::uint64_t sum) {
    return wire::checksum_add(bytes.data(), bytes.size(), sum);
}

void store_checksum(Bytes bytes, std::size_t offset, std::uint64_t sum) {
    const std::uint16_t raw = static_cast<std::uint16_t>(~wire::checksum_fold(sum));
    std::memcpy(&bytes[offset], &raw, 2);
}

Packet::Kind tunnel_kind(ConstBytes frame, std::size_t gre) {
    if (frame.size() >= gre + 4 && load16(frame, gre + 2) == kKeepaliveType)
        return Packet::Kind::Keepalive;
    return Packet::Kind::Data;
}

bool neighbour_discovery(ConstBytes frame, const Packet& packet) {
    if (packet.protocol != kIcmp6 || packet.later_fragment || frame.size() <= packet.transport)
        return false;
    const auto type = frame[packet.transport];
    return (type >= 130 && type <= 137) || type == 143;
}

Packet::Kind kind_of(ConstBytes frame, const Packet& packet) {
    if (packet.later_fragment)
        return packet.protocol == kGre || packet.protocol == kUdp ? Packet::Kind::Data
                                                                  : Packet::Kind::Other;
    if (packet.protocol == kGre) return tunnel_kind(frame, packet.transport);
    if (packet.protocol == kUdp && frame.size() >= packet.transport + 8 &&
        (load16(frame, packet.transport) == kGreInUdpPort ||
         load16(frame, packet.transport + 2) == kGreInUdpPort))
        return tunnel_kind(frame, packet.transport + 8);
    if (packet.family == 6 && neighbour_discovery(frame, packet)) return Packet::Kind::Upkeep;
    return Packet::Kind::Other;
}

bool parse_ipv4(ConstBytes frame, std::size_t ip, Packet& packet) {
    if (frame.size() < ip + kIpv4Bytes || frame[ip] >> 4 != 4) return false;
    const std::size_t header = std::size_t{frame[ip] & 0xfU} * 4;
    packet.ip_bytes = load16(frame, ip + 2);
    if (header < kIpv4Bytes || packet.ip_bytes < header || frame.size() < ip + header) return false;
    const auto flags = load16(frame, ip + 6);
    packet.family = 4;
    packet.protocol = frame[ip + 9];
    packet.may_fragment = (flags & kDontFragment) == 0;
    packet.later_fragment = (flags & kFragmentOffset) != 0;
    packet.transport = static_cast<std::uint32_t>(ip + header);
    return true;
}

bool parse_ipv6(ConstBytes frame, std::size_t ip, Packet& packet) {
    if (frame.size() < ip + kIpv6Bytes || frame[ip] >> 4 != 6) return false;
    packet.ip_bytes = static_cast<std::uint32_t>(kIpv6Bytes) + load16(frame, ip + 4);
    packet.family = 6;
    packet.protocol = frame[ip + 6];
    packet.transport = static_cast<std::uint32_t>(ip + kIpv6Bytes);
    if (packet.protocol == kIpv6Fragment && frame.size() >= packet.transport + 8) {
        packet.protocol = frame[packet.transport];
        packet.later_fragment = load16(frame, packet.transport + 2) >> 3 != 0;
        packet.transport += 8;
    }
    return true;
}

bool icmp_error(ConstBytes frame, const Packet& packet) {
    if (frame.size() <= packet.transport) return false;
    const auto type = frame[packet.transport];
    if (packet.family == 6) return packet.protocol == kIcmp6 && type < 128;
    return packet.protocol == kIcmp4 && type != 0 && type != 8;
}

bool multicast(ConstBytes frame, const Packet& packet) {
    if (packet.family == 6) return frame[kEthernetBytes + 24] == 0xff;
    return frame[kEthernetBytes + 16] >= 224;
}

std::vector<std::uint8_t> to_sender(ConstBytes frame, std::size_t bytes) {
    std::vector<std::uint8_t> answer(bytes);
    std::copy_n(frame.begin() + 6, 6, answer.begin());
    std::copy_n(frame.begin(), 6, answer.begin() + 6);
    std::copy_n(frame.begin() + 12, 2, answer.begin() + 12);
    return answer;
}

std::vector<std::uint8_t> fragmentation_needed(ConstBytes frame, const Packet& packet,
                                               std::uint32_t mtu) {
    // RFC 1812 4.3.2.3: as much as fits 576 bytes.
    const auto quoted = std::min<std::size_t>(
        {576 - kIpv4Bytes - kIcmpBytes, packet.ip_bytes, frame.size() - kEthernetBytes});
    const std::size_t ip = kEthernetBytes, icmp = ip + kIpv4Bytes;
    auto answer = to_sender(frame, icmp + kIcmpBytes + quoted);
    const Bytes out(answer);
    out[ip] = 0x45;
    store16(out, ip + 2, static_cast<std::uint16_t>(kIpv4Bytes + kIcmpBytes + quoted));
    out[ip + 8] = 64;
    out[ip + 9] = kIcmp4;
    std::copy_n(frame.begin() + ip + 16, 4, out.begin() + ip + 12);
    std::copy_n(frame.begin() + ip + 12, 4, out.begin() + ip + 16);
    store_checksum(out, ip + 10, add16(out.subspan(ip, kIpv4Bytes), 0));
    out[icmp] = 3;
    out[icmp + 1] = 4;
    store16(out, icmp + 6, static_cast<std::uint16_t>(mtu));
    std::copy_n(frame.begin() + ip, quoted, out.begin() + icmp + kIcmpBytes);
    store_checksum(out, icmp + 2, add16(out.subspan(icmp), 0));
    return answer;
}

std::vector<std::uint8_t> packet_too_big(ConstBytes frame, const Packet& packet,
                                         std::uint32_t mtu) {
    // RFC 4443 2.4 c: as much as fits the least IPv6 MTU.
    const auto quoted = std::min<std::size_t>(
        {1280 - kIpv6Bytes - kIcmpBytes, packet.ip_bytes, frame.size() - kEthernetBytes});
    const std::size_t ip = kEthernetBytes, icmp = ip + kIpv6Bytes;
    auto answer = to_sender(frame, icmp + kIcmpBytes + quoted);
    const Bytes out(answer);
    out[ip] = 0x60;
    store16(out, ip + 4, static_cast<std::uint16_t>(kIcmpBytes + quoted));
    out[ip + 6] = kIcmp6;
    out[ip + 7] = 64;
    std::copy_n(frame.begin() + ip + 24, 16, out.begin() + ip + 8);
    std::copy_n(frame.begin() + ip + 8, 16, out.begin() + ip + 24);
    out[icmp] = 2;
    store16(out, icmp + 4, static_cast<std::uint16_t>(mtu >> 16));
    store16(out, icmp + 6, static_cast<std::uint16_t>(mtu));
    std::copy_n(frame.begin() + ip, quoted, out.begin() + icmp + kIcmpBytes);
    const std::array<std::uint8_t, 8> pseudo{0, 0, out[ip + 4], out[ip + 5], 0,
                                             0, 0, kIcmp6};  // RFC 8200 8.1, without the addresses
    store_checksum(out, icmp + 2, add16(out.subspan(ip + 8), add16(pseudo, 0)));
    return answer;
}

}  // namespace

std::uint16_t load16(ConstBytes bytes, std::size_t offset) {
    return static_cast<std::uint16_t>(bytes[offset] << 8 | bytes[offset + 1]);
}

void store16(Bytes bytes, std::size_t offset, std::uint16_t value) {
    bytes[offset] = static_cast<std::uint8_t>(value >> 8);
    bytes[offset + 1] = static_cast<std::uint8_t>(value);
}

Packet parse_quoted(ConstBytes frame, std::size_t offset) {
    Packet packet;
    packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
    if (frame.size() <= offset) return packet;
    const bool sound = frame[offset] >> 4 == 4 ? parse_ipv4(frame, offset, packet)
                                               : parse_ipv6(frame, offset, packet);
    if (!sound) packet = {.frame_bytes = packet.frame_bytes};
    return packet;
}

Packet parse(ConstBytes frame) {
    Packet packet;
    packet.frame_bytes = static_cast<std::uint32_t>(frame.size());
    if (frame.size() < kEthernetBytes) return packet;
    const auto type = load16(frame, 12);
    if (type != kIpv4Type && type != kIpv6Type) return packet;
    packet = parse_quoted(frame, kEthernetBytes);
    if (packet.family == 0 || packet.ip_bytes > frame.size() - kEthernetBytes)
        packet = {.kind = Packet::Kind::Other, .frame_bytes = packet.frame_bytes};
    else
        packet.kind = kind_of(frame, packet);
    return packet;
}

std::optional<std::vector<std::uint8_t>> too_big(ConstBytes frame, const Packet& packet,
                                                 std::uint32_t mtu) {
    if (packet.later_fragment || icmp_error(frame, packet) || multicast(frame, packet))
        return std::nullopt;
    return packet.family == 4 ? fragmentation_needed(frame, packet, mtu)
                              : packet_too_big(frame, packet, mtu);
}

std::vector<std::vector<std::uint8_t>> fragments(ConstBytes frame, const Packet& packet,
                                                 std::uint32_t mtu) {
    const std::size_t ip = kEthernetBytes;
    if (packet.transport != ip + kIpv4Bytes || mtu < kIpv4Bytes + 8) return {};
    const auto old = load16(frame, ip + 6);
    const ConstBytes payload = frame.subspan(packet.transport, packet.ip_bytes - kIpv4Bytes);
    const std::size_t room = (mtu - kIpv4Bytes) / 8 * 8;
    std::vector<std::vector<std::uint8_t>> result;
    for (std::size_t at = 0; at < payload.size(); at += room) {
        const auto part = payload.subspan(at, std::min(room, payload.size() - at));
        std::vector<std::uint8_t> one(frame.begin(), frame.begin() + packet.transport);
        one.insert(one.end(), part.begin(), part.end());
        const bool last = at + part.size() == payload.size();
        store16(one, ip + 2, static_cast<std::uint16_t>(kIpv4Bytes + part.size()));
        const auto flags = last ? old & kMoreFragments : kMoreFragments;
        store16(one, ip + 6,
                static_cast<std::uint16_t>(flags | ((old & kFragmentOffset) + at / 8)));
        store16(one, ip + 10, 0);
        store_checksum(one, ip + 10, add16(ConstBytes(one).subspan(ip, kIpv4Bytes), 0));
        result.push_back(std::move(one));
    }
    return result;
}

}  // namespace dr::linkem
