#include "ur/outer.h"

#include <algorithm>
#include <cstring>

#include "dataplane/wire/byte_order.h"
#include "dataplane/wire/udp_checksum.h"

namespace dr::ur {

namespace {

using wire::Endpoint;

constexpr std::uint8_t kUdp = 17, kGre = 47;
constexpr std::uint16_t kKeyPresent = 0x2000, kMessageType = 0x88b5;
constexpr std::size_t kGreSize = 8, kUdpSize = 8, kIp4Size = 20, kIp6Size = 40;

struct [[gnu::packed]] Ip4 {
    std::uint8_t version_length, tos;
    Be16 length, id, fragment;
    std::uint8_t ttl, protocol;
    Be16 checksum;
    std::array<std::uint8_t, 4> source, destination;
};
struct [[gnu::packed]] Ip6 {
    Be32 first;
    Be16 payload;
    std::uint8_t next, hop_limit;
    std::array<std::uint8_t, 16> source, destination;
};
struct [[gnu::packed]] Udp {
    Be16 source, destination, length, checksum;
};
struct [[gnu::packed]] Gre {
    Be16 flags, type;
    Be32 key;
};

// The Internet checksum's sum, not folded (RFC 1071).
std::uint32_t sum_of(std::span<const std::uint8_t> bytes, std::uint32_t sum = 0) {
    for (std::size_t i = 0; i < bytes.size(); ++i)
        sum += i % 2 == 0 ? static_cast<std::uint32_t>(bytes[i] << 8) : bytes[i];
    return sum;
}
std::uint16_t fold(std::uint32_t sum) {
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

template <typename Header>
std::span<const std::uint8_t> bytes_of(const Header& header) {
    return {reinterpret_cast<const std::uint8_t*>(&header), sizeof header};
}
template <typename Header>
void append(std::vector<std::uint8_t>& out, const Header& header) {
    const std::size_t at = out.size();
    out.resize(at + sizeof header);
    std::memcpy(out.data() + at, &header, sizeof header);
}
// The next header, taken off the front of `rest`; false: cut short.
template <typename Header>
bool take(std::span<const std::uint8_t>& rest, Header& header) {
    if (rest.size() < sizeof header) return false;
    std::memcpy(&header, rest.data(), sizeof header);
    rest = rest.subspan(sizeof header);
    return true;
}

void append_ip(std::vector<std::uint8_t>& out, const Endpoint& from, const Endpoint& to,
               std::uint8_t protocol, std::size_t payload) {
    if (from.family == 4) {
        Ip4 ip{};
        ip.version_length = 0x45;
        ip.length = Be16::from(static_cast<std::uint16_t>(kIp4Size + payload));
        ip.fragment = Be16::from(0x4000);
        ip.ttl = 64;
        ip.protocol = protocol;
        std::copy_n(from.address.begin(), 4, ip.source.begin());
        std::copy_n(to.address.begin(), 4, ip.destination.begin());
        ip.checksum = Be16::from(static_cast<std::uint16_t>(~fold(sum_of(bytes_of(ip)))));
        return append(out, ip);
    }
    Ip6 ip{};
    ip.first = Be32::from(6U << 28);
    ip.payload = Be16::from(static_cast<std::uint16_t>(payload));
    ip.next = protocol;
    ip.hop_limit = 64;
    ip.source = from.address;
    ip.destination = to.address;
    append(out, ip);
}

struct IpEnd {
    std::uint8_t protocol = 0;
    Endpoint source;
    IpAddress destination;
    std::uint32_t pseudo_sum = 0;  // of the addresses
};

// Leaves the payload in `rest`.
bool take_ip4(std::span<const std::uint8_t>& rest, IpEnd& out) {
    const auto whole = rest;
    Ip4 ip;
    if (!take(rest, ip) || ip.version_length != 0x45 || (ip.fragment.host() & 0x3fff) != 0 ||
        fold(sum_of(bytes_of(ip))) != 0xffff || ip.length.host() < kIp4Size ||
        ip.length.host() > whole.size())
        return false;
    rest = whole.subspan(kIp4Size, ip.length.host() - kIp4Size);
    out.protocol = ip.protocol;
    out.source.family = 4;
    std::copy(ip.source.begin(), ip.source.end(), out.source.address.begin());
    out.destination.family = 4;
    std::copy(ip.destination.begin(), ip.destination.end(), out.destination.bytes.begin());
    out.pseudo_sum = sum_of(ip.destination, sum_of(ip.source));
    return true;
}

bool take_ip6(std::span<const std::uint8_t>& rest, IpEnd& out) {
    Ip6 ip;
    if (!take(rest, ip) || ip.payload.host() > rest.size()) return false;
    rest = rest.first(ip.payload.host());
    out.protocol = ip.next;
    out.source.family = 6;
    out.source.address = ip.source;
    out.destination = {6, ip.destination};
    out.pseudo_sum = sum_of(ip.destination, sum_of(ip.source));
    return true;
}

bool take_udp(std::span<const std::uint8_t>& rest, IpEnd& end) {
    const auto whole = rest;
    Udp udp;
    if (!take(rest, udp) || udp.length.host() < kUdpSize || udp.length.host() > whole.size())
        return false;
    const auto datagram = whole.first(udp.length.host());
    rest = datagram.subspan(kUdpSize);
    end.source.port = udp.source.host();
    if (end.source.port == 0) return false;
    if (udp.checksum.host() == 0) return true;
    return fold(sum_of(datagram, end.pseudo_sum + kUdp + udp.length.host())) == 0xffff;
}

}  // namespace

std::vector<std::uint8_t> make_outer(const Endpoint& from, const Endpoint& to, std::uint32_t key,
                                     std::span<const std::uint8_t> message, bool zero_checksum) {
    const bool udp = to.port != 0;
    const std::size_t payload = message.size() + kGreSize + (udp ? kUdpSize : 0);
    std::vector<std::uint8_t> out;
    out.reserve(kIp6Size + payload);
    append_ip(out, from, to, udp ? kUdp : kGre, payload);
    if (udp)
        append(out, Udp{Be16::from(from.port), Be16::from(to.port),
                        Be16::from(static_cast<std::uint16_t>(payload)), Be16::from(0)});
    append(out, Gre{Be16::from(kKeyPresent), Be16::from(kMessageType), Be32::from(key)});
    out.insert(out.end(), message.begin(), message.end());
    if (udp && !zero_checksum)
        wire::write_udp_checksum(out.data(), from.family == 4 ? kIp4Size : kIp6Size);
    return out;
}

std::optional<Received> read_outer(std::span<const std::uint8_t> packet) {
    if (packet.empty()) return std::nullopt;
    auto rest = packet;
    IpEnd end;
    const unsigned version = packet[0] >> 4;
    if (version == 4 ? !take_ip4(rest, end) : version != 6 || !take_ip6(rest, end))
        return std::nullopt;
    if (end.protocol == kUdp ? !take_udp(rest, end) : end.protocol != kGre) return std::nullopt;
    Gre gre;
    if (!take(rest, gre) || gre.flags.host() != kKeyPresent || gre.type.host() != kMessageType)
        return std::nullopt;
    return Received{end.source, end.destination, gre.key.host(), rest};
}

Endpoint to_endpoint(const IpAddress& address, std::uint16_t port) {
    return {address.family, port, address.bytes};
}

IpAddress to_address(const Endpoint& endpoint) {
    return {static_cast<std::uint8_t>(endpoint.family), endpoint.address};
}

std::string to_string(const Endpoint& endpoint) {
    if (!endpoint.known()) return {};
    std::string address = dr::to_string(to_address(endpoint));
    if (endpoint.port == 0) return address;
    return (endpoint.family == 6 ? "[" + address + "]" : address) + ":" +
           std::to_string(endpoint.port);
}

}  // namespace dr::ur
