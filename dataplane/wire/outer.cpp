#include "dataplane/wire/outer.h"

#include <cstring>

#include "dataplane/wire/checksum.h"
#include "dataplane/wire/headers.h"

namespace dr::keepalive {
namespace {

constexpr std::uint8_t kTtl = 64;

template <typename T>
std::uint8_t* put(std::uint8_t* at, const T& header) {
    std::memcpy(at, &header, sizeof header);
    return at + sizeof header;
}

std::uint8_t* put_ipv4(std::uint8_t* at, const wire::Endpoint& from, const wire::Endpoint& to,
                       std::uint8_t protocol, unsigned payload) {
    wire::Ipv4 ip{};
    ip.version_ihl = 0x45;
    ip.total_length = Be16::from(static_cast<std::uint16_t>(sizeof ip + payload));
    ip.fragment = Be16::from(wire::Ipv4::kDontFragment);
    ip.ttl = kTtl;
    ip.protocol = protocol;
    std::memcpy(&ip.source, from.address.data(), 4);
    std::memcpy(&ip.destination, to.address.data(), 4);
    ip.checksum = wire::checksum(&ip, sizeof ip);
    return put(at, ip);
}

std::uint8_t* put_ipv6(std::uint8_t* at, const wire::Endpoint& from, const wire::Endpoint& to,
                       std::uint8_t protocol, unsigned payload) {
    wire::Ipv6 ip{};
    ip.version_class_label = Be32::from(6U << 28);
    ip.payload_length = Be16::from(static_cast<std::uint16_t>(payload));
    ip.next_header = protocol;
    ip.hop_limit = kTtl;
    ip.source = from.address;
    ip.destination = to.address;
    return put(at, ip);
}

}  // namespace

unsigned outer_size(const wire::Endpoint& to) {
    const std::size_t ip = to.family == 4 ? sizeof(wire::Ipv4) : sizeof(wire::Ipv6);
    const std::size_t udp = to.port != 0 ? sizeof(wire::Udp) : 0;
    return static_cast<unsigned>(ip + udp + sizeof(wire::GreKey));
}

void write_outer(std::uint8_t* at, const wire::Endpoint& from, const wire::Endpoint& to,
                 std::uint32_t key, unsigned message_size) {
    const bool udp = to.port != 0;
    const auto gre_size = static_cast<unsigned>(sizeof(wire::GreKey) + message_size);
    const unsigned payload = gre_size + (udp ? static_cast<unsigned>(sizeof(wire::Udp)) : 0U);
    const std::uint8_t protocol = udp ? wire::kProtoUdp : wire::kProtoGre;
    at = to.family == 4 ? put_ipv4(at, from, to, protocol, payload)
                        : put_ipv6(at, from, to, protocol, payload);
    if (udp) {
        at = put(at, wire::Udp{Be16::from(from.port),
                               Be16::from(to.port),
                               Be16::from(static_cast<std::uint16_t>(payload)),
                               {}});
    }
    put(at, wire::GreKey{Be16::from(wire::kGreKeyPresent), Be16::from(wire::kEtherKeepalive),
                         Be32::from(key)});
}

}  // namespace dr::keepalive
