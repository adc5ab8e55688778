// The rows that workers read. Cache-line sized, in arrays indexed by u32.
//
// Concurrency: every field a worker reads is either immutable from the moment the row's index is
// published (release) until its grace period is over (qsbr.h), or a single atomic with one writer,
// named beside it. "writer" is the main lcore, which serves what liveness lcores ask for, too.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "dataplane/tables/types.h"
#include "dataplane/wire/headers.h"
#include "dataplane/wire/ip_layout.h"

namespace dr {

inline constexpr std::size_t kCacheLine = 64;
inline constexpr std::uint32_t kNoRow = 0;  // row 0 of every table is reserved and never valid

// The tunnels of a subscriber. slot[k] is the tunnel row for line number k of its policy (0: no
// such tunnel); lines 12-15 are in SubscriberTable::extra, which few sites need.
struct alignas(kCacheLine) SubscriberRow {
    std::atomic<std::uint32_t> seed;  // of the flow hash; writer
    // Index of the bucket map of class 0 in the low 24 bits, class c is that + c; 0: no tunnel.
    // During a planned move the bits above hold kMoving and the place on the MoveBoard. Writer.
    std::atomic<std::uint32_t> map;
    std::atomic<std::uint32_t> id;      // drd's stable id; writer
    std::atomic<std::uint32_t> policy;  // drd's policy id; writer
    static constexpr std::uint32_t kMoving = 1U << 31;
    static constexpr std::uint32_t kMapMask = (1U << 24) - 1;
    [[nodiscard]] static constexpr unsigned place_of(std::uint32_t map) { return map >> 24 & 63; }
    static constexpr unsigned kInline = 12;
    std::array<std::atomic<std::uint32_t>, kInline> slot;  // writer
};
static_assert(sizeof(SubscriberRow) == 64);

// Bucket -> line number (a slot of SubscriberRow). Shared by all subscribers with the same policy
// class and the same set of eligible lines. Immutable once published.
struct alignas(kCacheLine) BucketMap {
    std::array<std::uint8_t, 256> line;
    static constexpr std::uint8_t kNone = 0xff;  // every bucket: no eligible line
};
static_assert(sizeof(BucketMap) == 256);

// A tunnel: its ready-made outer header and everything that decapsulation checks. Immutable once
// published, except `next_hop`.
struct alignas(kCacheLine) TunnelRow {
    // The outer header as sent: IPv4 (20) or IPv6 (40), UDP (8) when GRE-in-UDP, GRE with key (8).
    // Lengths are 0, IPv4 checksum is over the header with length 0 and TOS 0, IPv4 id 0 with DF,
    // TTL 64, UDP source port as configured (entropy base when kEntropy), UDP checksum 0 (but see
    // kChecksum). IPv4 outer: bytes 0-27 (GRE) or 0-35; IPv6 outer: 0-47 or 0-55. The rest is 0.
    std::array<std::uint8_t, 56> header;
    std::uint32_t subscriber : 24;  // SubscriberIndex
    std::uint32_t flags : 8;
    std::uint16_t mtu;                    // largest inner packet, bytes
    std::atomic<std::uint16_t> next_hop;  // of the outer destination; 0: unresolved; writer

    static constexpr std::uint8_t kUdp = 1;       // GRE-in-UDP
    static constexpr std::uint8_t kIpv6 = 2;      // outer IPv6
    static constexpr std::uint8_t kEntropy = 4;   // UDP source port carries entropy
    static constexpr std::uint8_t kDisabled = 8;  // neither encapsulate nor decapsulate
    static constexpr std::uint8_t kEither =
        16;  // the peer may send in the other encapsulation; then its port is free
    static constexpr std::uint8_t kAnyPort = 32;   // the peer's UDP source port is free
    static constexpr std::uint8_t kChecksum = 64;  // UDP checksums are right, and not 0
    // Bytes of outer header by the low two flag bits.
    static constexpr std::array<std::uint8_t, 4> kHeaderLength{28, 36, 48, 56};
    [[nodiscard]] unsigned header_length() const {
        return 28 + (flags & kUdp) * 8 + (flags & kIpv6) * 10;  // no load on the way to the key
    }
    [[nodiscard]] unsigned family() const { return (flags & kIpv6) != 0 ? 6 : 4; }
    // In `header`: the GRE key, and both ends' addresses, of family().
    [[nodiscard]] const std::uint8_t* key() const { return header.data() + header_length() - 4; }
    [[nodiscard]] const std::uint8_t* local() const {
        return header.data() + wire::ip_layout(family()).source;
    }
    [[nodiscard]] const std::uint8_t* peer() const {
        return header.data() + wire::ip_layout(family()).destination;
    }
};
static_assert(sizeof(TunnelRow) == 64);

// The Ethernet side of a next hop. Immutable once published; NextHopTable maps a stable
// NextHopIndex to the current row.
struct alignas(32) NextHopRow {
    wire::Mac destination;
    wire::Mac source;
    std::uint16_t port;
    std::uint16_t mtu;      // of the port, bytes of IP packet
    std::uint8_t resolved;  // 0: `destination` is not known yet
    std::uint8_t family;    // 4 or 6, of `address`
    std::array<std::uint8_t, 14> reserved;
};
static_assert(sizeof(NextHopRow) == 32);

}  // namespace dr
