// Header formats as they stand on the wire. Plain data, no I/O; all multi-byte fields are in
// network order (Be16, Be32). All structs are packed: they may lie at any address.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/wire/byte_order.h"

namespace dr::wire {

using Mac = std::array<std::uint8_t, 6>;

inline constexpr std::uint16_t kEtherIpv4 = 0x0800;
inline constexpr std::uint16_t kEtherArp = 0x0806;
inline constexpr std::uint16_t kEtherVlan = 0x8100;
inline constexpr std::uint16_t kEtherServiceVlan = 0x88a8;  // the outer tag of IEEE 802.1ad
inline constexpr std::uint16_t kEtherIpv6 = 0x86dd;
// GRE protocol type of the tunnel protocol's own messages (IEEE 802 local experimental).
inline constexpr std::uint16_t kEtherKeepalive = 0x88b5;

inline constexpr std::uint8_t kProtoHopByHop = 0;
inline constexpr std::uint8_t kProtoIcmp = 1;
inline constexpr std::uint8_t kProtoTcp = 6;
inline constexpr std::uint8_t kProtoUdp = 17;
inline constexpr std::uint8_t kProtoRouting = 43;
inline constexpr std::uint8_t kProtoFragment = 44;
inline constexpr std::uint8_t kProtoGre = 47;
inline constexpr std::uint8_t kProtoIcmp6 = 58;
inline constexpr std::uint8_t kProtoNone = 59;
inline constexpr std::uint8_t kProtoDestOpts = 60;

// GRE-in-UDP destination port, RFC 8086 §8.
inline constexpr std::uint16_t kGreUdpPort = 4754;
// Entropy source ports, RFC 8086 §3.2.1.
inline constexpr std::uint16_t kEntropyPortBase = 49152;
inline constexpr std::uint16_t kEntropyPortMask = 0x3fff;

// GRE flag word (RFC 2784 §2.1, RFC 2890 §2): key present, version 0, nothing else. The only
// value that a data packet of a tunnel may carry.
inline constexpr std::uint16_t kGreKeyPresent = 0x2000;

struct [[gnu::packed]] Ethernet {
    Mac destination;
    Mac source;
    Be16 type;
};
static_assert(sizeof(Ethernet) == 14);

// RFC 791 §3.1.
struct [[gnu::packed]] Ipv4 {
    std::uint8_t version_ihl;
    std::uint8_t tos;
    Be16 total_length;
    Be16 id;
    Be16 fragment;  // flags (3 bits) and offset in 8-byte units (13 bits)
    std::uint8_t ttl;
    std::uint8_t protocol;
    Be16 checksum;
    Be32 source;
    Be32 destination;

    static constexpr std::uint16_t kDontFragment = 0x4000;
    static constexpr std::uint16_t kMoreFragments = 0x2000;
    static constexpr std::uint16_t kOffsetMask = 0x1fff;
    [[nodiscard]] constexpr unsigned header_length() const { return (version_ihl & 15U) * 4U; }
};
static_assert(sizeof(Ipv4) == 20);

using Ipv6Address = std::array<std::uint8_t, 16>;

// RFC 8200 §3.
struct [[gnu::packed]] Ipv6 {
    Be32 version_class_label;
    Be16 payload_length;
    std::uint8_t next_header;
    std::uint8_t hop_limit;
    Ipv6Address source;
    Ipv6Address destination;
};
static_assert(sizeof(Ipv6) == 40);

struct [[gnu::packed]] Udp {
    Be16 source_port;
    Be16 destination_port;
    Be16 length;
    Be16 checksum;
};
static_assert(sizeof(Udp) == 8);

// GRE with key, RFC 2890 §2.
struct [[gnu::packed]] GreKey {
    Be16 flags;
    Be16 protocol;
    Be32 key;
};
static_assert(sizeof(GreKey) == 8);

struct [[gnu::packed]] Tcp {
    Be16 source_port;
    Be16 destination_port;
    Be32 sequence;
    Be32 acknowledgement;
    std::uint8_t data_offset;
    std::uint8_t flags;
    Be16 window;
    Be16 checksum;
    Be16 urgent;
};
static_assert(sizeof(Tcp) == 20);

// RFC 792 and RFC 4443 §2.1 share this shape.
struct [[gnu::packed]] Icmp {
    std::uint8_t type;
    std::uint8_t code;
    Be16 checksum;
    Be32 rest;
};
static_assert(sizeof(Icmp) == 8);

// RFC 8200 §4.5.
struct [[gnu::packed]] Ipv6Fragment {
    std::uint8_t next_header;
    std::uint8_t reserved;
    Be16 offset_flags;
    Be32 id;
};
static_assert(sizeof(Ipv6Fragment) == 8);

}  // namespace dr::wire
