// Checks of an IP header that must hold before anything in it is believed (RFC 1812 §5.2.2,
// RFC 8200 §3).
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "dataplane/wire/checksum.h"
#include "dataplane/wire/headers.h"
#include "dataplane/wire/load.h"

namespace dr {

enum class IpFault : std::uint8_t { None, Short, Header, Checksum };

inline std::uint16_t ipv4_length(const std::uint8_t* ip) {
    return wire::load16(ip + 2);
}
inline std::uint16_t ipv6_length(const std::uint8_t* ip) {
    return static_cast<std::uint16_t>(wire::load16(ip + 4) + 40);
}

// available: bytes from the header on.
inline IpFault check_ipv4(const std::uint8_t* ip, unsigned available, bool verify_checksum) {
    if (available < 20) return IpFault::Short;
    const unsigned header = (ip[0] & 15U) * 4U;
    const unsigned total = ipv4_length(ip);
    if (ip[0] >> 4 != 4 || header < 20 || total < header || total > available)
        return IpFault::Header;
    // A fragment that reaches beyond the largest packet (RFC 791 §3.2).
    if ((wire::load16(ip + 6) & 0x1fffU) * 8U + total - header > 65535U) return IpFault::Header;
    if (verify_checksum && !wire::checksum_ok(ip, header)) return IpFault::Checksum;
    return IpFault::None;
}

// The common case of the above in few steps: no options, no fragment, nothing wrong. false: see
// check_ipv4(). available >= 20.
inline bool plain_ipv4(const std::uint8_t* ip, unsigned available, bool verify_checksum) {
    std::uint64_t first, second;
    std::uint32_t third;
    std::memcpy(&first, ip, 8);
    std::memcpy(&second, ip + 8, 8);
    std::memcpy(&third, ip + 16, 4);
    // As the bytes lie in memory: version and header length; fragment offset and MF, not DF.
    if ((first & 0xffbf0000000000ffULL) != 0x45) return false;
    const unsigned total = __builtin_bswap16(static_cast<std::uint16_t>(first >> 16));
    if (total - 20U > available - 20U) return false;
    return !verify_checksum || wire::checksum_ok20(first, second, third);
}

inline IpFault check_ipv6(const std::uint8_t* ip, unsigned available) {
    if (available < 40) return IpFault::Short;
    if (ip[0] >> 4 != 6 || wire::load16(ip + 4) + 40U > available || wire::load16(ip + 4) > 65495)
        return IpFault::Header;
    return IpFault::None;
}

// What the first octet of an IPv4 address says about forwarding: one load a packet instead of a
// comparison for each kind.
enum class Octet : std::uint8_t { Host, Perhaps, Never };  // Perhaps: 169.254 is link-local
inline constexpr auto kOctets = [] {
    std::array<Octet, 256> octets{};
    for (unsigned first = 224; first < 256; ++first) octets[first] = Octet::Never;
    octets[0] = octets[127] = Octet::Never;
    octets[169] = Octet::Perhaps;
    return octets;
}();

// Sources that no router forwards: RFC 1812 §5.3.7, RFC 4291 §2.5-2.7.
inline bool martian_source4(const std::uint8_t* ip) {
    return kOctets[ip[12]] == Octet::Never;
}
inline bool multicast6(const std::uint8_t* address) {
    return address[0] == 0xff;
}
// The unspecified address, loopback, or an IPv4 address in IPv6 (RFC 4291 §2.5.5.2), which means
// nothing on a wire (RFC 4942 §2.2).
inline bool unusable6(const std::uint8_t* address) {
    std::uint64_t hi, lo;
    std::memcpy(&hi, address, 8);
    std::memcpy(&lo, address + 8, 8);
    if (hi != 0) [[likely]]
        return false;
    lo = __builtin_bswap64(lo);
    return lo <= 1 || lo >> 32 == 0xffff;
}
inline bool martian_source6(const std::uint8_t* ip) {
    return multicast6(ip + 8) || unusable6(ip + 8);
}
// Link-local: never forwarded (RFC 3927 §7).
inline bool link_local4(const std::uint8_t* address) {
    return wire::load16(address) == 0xa9fe;  // 169.254
}
// Destinations that no router forwards to: RFC 1812 §5.3.7, RFC 4291 §2.5.2-2.5.3.
inline bool unroutable_destination4(const std::uint8_t* ip) {
    const Octet octet = kOctets[ip[16]];
    return octet != Octet::Host && (octet == Octet::Never || link_local4(ip + 16));
}
inline bool group_destination4(const std::uint8_t* ip) {
    return ip[16] >= 224;
}
// Link-local or multicast: never forwarded.
inline bool local_scope6(const std::uint8_t* address) {
    return multicast6(address) || (address[0] == 0xfe && (address[1] & 0xc0) == 0x80);
}

inline bool unroutable_destination6(const std::uint8_t* ip) {
    return local_scope6(ip + 24) || unusable6(ip + 24);
}

}  // namespace dr
