// Ethernet frames as the emulator sees them: what they are, and the ICMP errors about them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace dr::linkem {

inline constexpr std::size_t kEthernetBytes = 14;
inline constexpr std::uint8_t kTcp = 6, kUdp = 17, kGre = 47, kIcmp4 = 1, kIcmp6 = 58;

using Bytes = std::span<std::uint8_t>;
using ConstBytes = std::span<const std::uint8_t>;

std::uint16_t load16(ConstBytes bytes, std::size_t offset);  // network order
void store16(Bytes bytes, std::size_t offset, std::uint16_t value);

struct Packet {
    // Keepalive and Data are in a tunnel: native GRE, or GRE-in-UDP with port 4754 at either end.
    // Upkeep keeps the link itself alive: ARP, neighbour discovery, MLD, and all that is not IP.
    enum class Kind : std::uint8_t { Upkeep, Other, Keepalive, Data };

    Kind kind = Kind::Upkeep;
    std::uint8_t family = 0;    // 4, 6, or 0 for what is not (sound) IP
    std::uint8_t protocol = 0;  // above IP and an IPv6 fragment header
    bool later_fragment = false;
    bool may_fragment = false;      // IPv4 without DF
    std::uint32_t frame_bytes = 0;  // as received
    std::uint32_t ip_bytes = 0;     // by its header; 0 for what is not IP
    std::uint32_t transport = 0;    // offset of the header above IP in the frame; 0: none
};

// `frame` begins with its Ethernet header. VLAN tags are not looked into.
Packet parse(ConstBytes frame);

// As parse, of an IP packet that begins at `offset` and may be cut short, as ICMP errors quote
// them.
Packet parse_quoted(ConstBytes frame, std::size_t offset);

// The frame with ICMP fragmentation needed (RFC 1191) or packet too big (RFC 8201) to the sender of
// `frame`, from the address that it was sent to. Nothing for what gets no ICMP errors (RFC 1122
// 3.2.2, RFC 4443 2.4 e): multicast, later fragments, ICMP errors.
std::optional<std::vector<std::uint8_t>> too_big(ConstBytes frame, const Packet& packet,
                                                 std::uint32_t mtu);

// The frames of an IPv4 packet split to `mtu` (RFC 791 3.2). Empty when it has options, or when
// the MTU leaves no room.
std::vector<std::vector<std::uint8_t>> fragments(ConstBytes frame, const Packet& packet,
                                                 std::uint32_t mtu);

}  // namespace dr::linkem
