// Headers around a message of the tunnel protocol.
#include "dataplane/wire/outer.h"

#include <cstring>

#include "dataplane/wire/checksum.h"
#include "dataplane/wire/headers.h"
#include "dataplane/wire/ip_layout.h"
#include "dataplane/wire/udp_checksum.h"

namespace dr::wire {
namespace {

constexpr std::uint8_t kTtl = 64;

template <typename T>
std::uint8_t* put(std::uint8_t* at, const T& header) {
    std::memcpy(at, &header, sizeof header);
    return at + sizeof header;
}

std::uint8_t* put_ipv4(std::uint8_t* at, const Endpoint& from, const Endpoint& to,
                       std::uint8_t protocol, unsigned payload) {
    Ipv4 ip{};
    ip.version_ihl = 0x45;
    ip.total_length = Be16::from(static_cast<std::uint16_t>(sizeof ip + payload));
    ip.fragment = Be16::from(Ipv4::kDontFragment);
    ip.ttl = kTtl;
    ip.protocol = protocol;
    std::memcpy(&ip.source, from.address.data(), 4);
    std::memcpy(&ip.destination, to.address.data(), 4);
    ip.checksum = checksum(&ip, sizeof ip);
    return put(at, ip);
}

std::uint8_t* put_ipv6(std::uint8_t* at, const Endpoint& from, const Endpoint& to,
                       std::uint8_t protocol, unsigned payload) {
    Ipv6 ip{};
    ip.version_class_label = Be32::from(6U << 28);
    ip.payload_length = Be16::from(static_cast<std::uint16_t>(payload));
    ip.next_header = protocol;
    ip.hop_limit = kTtl;
    ip.source = from.address;
    ip.destination = to.address;
    return put(at, ip);
}

}  // namespace

unsigned outer_size(const Endpoint& to) {
    const std::size_t ip = to.family == 4 ? sizeof(Ipv4) : sizeof(Ipv6);
    const std::size_t udp = to.port != 0 ? sizeof(Udp) : 0;
    return static_cast<unsigned>(ip + udp + sizeof(GreKey));
}

void write_outer(std::uint8_t* at, const Endpoint& from, const Endpoint& to, std::uint32_t key,
                 unsigned message_size) {
    const bool udp = to.port != 0;
    const auto gre_size = static_cast<unsigned>(sizeof(GreKey) + message_size);
    const unsigned payload = gre_size + (udp ? static_cast<unsigned>(sizeof(Udp)) : 0U);
    const std::uint8_t protocol = udp ? kProtoUdp : kProtoGre;
    at = to.family == 4 ? put_ipv4(at, from, to, protocol, payload)
                        : put_ipv6(at, from, to, protocol, payload);
    if (udp) {
        at = put(at, Udp{Be16::from(from.port),
                         Be16::from(to.port),
                         Be16::from(static_cast<std::uint16_t>(payload)),
                         {}});
    }
    put(at, GreKey{Be16::from(kGreKeyPresent), Be16::from(kEtherKeepalive), Be32::from(key)});
}

namespace {

// The next header, taken off the front of `rest`; false: cut short.
template <typename Header>
bool take(std::span<const std::uint8_t>& rest, Header& header) {
    if (rest.size() < sizeof header) return false;
    std::memcpy(&header, rest.data(), sizeof header);
    rest = rest.subspan(sizeof header);
    return true;
}

// Of the IP packet without padding: its protocol, and its payload in `rest`; 0: not sound, or not
// as a peer sends it.
std::uint8_t take_ipv4(std::span<const std::uint8_t>& rest) {
    const auto whole = rest;
    Ipv4 ip;
    constexpr std::uint16_t kFragment = Ipv4::kMoreFragments | Ipv4::kOffsetMask;
    if (!take(rest, ip) || ip.version_ihl != 0x45 || (ip.fragment.host() & kFragment) != 0 ||
        !checksum_ok(&ip, sizeof ip) || ip.total_length.host() < sizeof ip ||
        ip.total_length.host() > whole.size())
        return 0;
    rest = whole.subspan(sizeof ip, ip.total_length.host() - sizeof ip);
    return ip.protocol;
}

std::uint8_t take_ipv6(std::span<const std::uint8_t>& rest) {
    Ipv6 ip;
    if (!take(rest, ip) || ip.payload_length.host() > rest.size()) return 0;
    rest = rest.first(ip.payload_length.host());
    return ip.next_header;
}

bool take_udp(const std::uint8_t* ip, unsigned family, std::span<const std::uint8_t>& rest,
              std::uint16_t* port) {
    const auto whole = rest;
    Udp udp;
    if (!take(rest, udp) || udp.length.host() < sizeof udp || udp.length.host() > whole.size() ||
        udp.source_port.host() == 0)
        return false;
    rest = whole.subspan(sizeof udp, udp.length.host() - sizeof udp);
    *port = udp.source_port.host();
    return udp.checksum.raw == 0 ||
           checksum_ok(whole.data(), udp.length.host(), udp_pseudo_sum(ip, family, udp.length));
}

}  // namespace

std::optional<OuterMessage> read_outer(std::span<const std::uint8_t> packet) {
    if (packet.empty()) return std::nullopt;
    const std::uint8_t family = packet[0] >> 4;
    if (family != 4 && family != 6) return std::nullopt;
    auto rest = packet;
    const std::uint8_t protocol = family == 4 ? take_ipv4(rest) : take_ipv6(rest);
    std::uint16_t port = 0;
    if (protocol == kProtoUdp ? !take_udp(packet.data(), family, rest, &port)
                              : protocol != kProtoGre)
        return std::nullopt;
    GreKey gre;
    if (!take(rest, gre) || gre.flags.host() != kGreKeyPresent ||
        gre.protocol.host() != kEtherKeepalive)
        return std::nullopt;
    OuterMessage out{{family, port, {}}, {family, 0, {}}, gre.key.host(), rest};
    const IpLayout at = ip_layout(family);
    std::memcpy(out.source.address.data(), packet.data() + at.source, at.address);
    std::memcpy(out.destination.address.data(), packet.data() + at.destination, at.address);
    return out;
}

}  // namespace dr::wire
