// Strong index types and the tagged result of a lookup. No DPDK headers here.
#pragma once

#include <cstdint>

namespace dr {

// An index that cannot be mixed up with another kind of index.
template <typename Tag>
struct Index {
    std::uint32_t value{};
    friend constexpr bool operator==(Index, Index) = default;
    friend constexpr auto operator<=>(Index, Index) = default;
};

using SubscriberIndex = Index<struct SubscriberTag>;
using NextHopIndex = Index<struct NextHopTag>;

// The GRE key of a tunnel: low 24 bits slot, high 8 bits generation (proto/TUNNEL.md §2).
struct TunnelId {
    std::uint32_t value{};
    [[nodiscard]] constexpr std::uint32_t slot() const { return value & 0xffffffU; }
    [[nodiscard]] constexpr std::uint32_t generation() const { return value >> 24; }
    friend constexpr bool operator==(TunnelId, TunnelId) = default;
};

// How a route discards packets.
enum class Discard : std::uint8_t {
    Silent = 0,       // blackhole
    Unreachable = 1,  // the sender is told so
    Prohibited = 2,   // likewise
};

// The result of a lookup: 4 bits of kind, of which the lookup tables use the highest for
// themselves, and 28 bits of index.
enum class TargetKind : std::uint8_t {
    None = 0,        // no prefix covers it
    Subscriber = 1,  // index: SubscriberIndex
    NextHop = 2,     // index: NextHopIndex
    Local = 3,       // an address of this router; index: port number
    Pool = 4,        // inside a pool, no subscriber has it
    Blackhole = 5,   // a route that discards; see Target::discarding()
    Glean = 6,       // on a connected network, not resolved yet; index: port number
    Elsewhere = 7,   // a route over an interface that is not a port
};

class Target {
  public:
    constexpr Target() = default;
    constexpr Target(TargetKind kind, std::uint32_t index)
        : raw_((static_cast<std::uint32_t>(kind) << 28) | (index & 0x0fffffffU)) {}
    static constexpr Target from_raw(std::uint32_t raw) {
        Target t;
        t.raw_ = raw;
        return t;
    }
    // A route that discards. subscriber: the owner of the prefix (24 bits); 0: none.
    static constexpr Target discarding(Discard how, std::uint32_t subscriber = 0) {
        return {TargetKind::Blackhole, static_cast<std::uint32_t>(how) << 24 | subscriber};
    }
    // Of a target of kind Blackhole.
    [[nodiscard]] constexpr Discard discard() const { return static_cast<Discard>(index() >> 24); }
    [[nodiscard]] constexpr std::uint32_t discarded_subscriber() const {
        return index() & 0xffffffU;
    }
    [[nodiscard]] constexpr TargetKind kind() const { return static_cast<TargetKind>(raw_ >> 28); }
    [[nodiscard]] constexpr std::uint32_t index() const { return raw_ & 0x0fffffffU; }
    [[nodiscard]] constexpr std::uint32_t raw() const { return raw_; }
    // Addresses of this router, its pools and its subscribers: no host in the network has one.
    [[nodiscard]] constexpr bool is_ours() const {
        return kind() == TargetKind::Subscriber || kind() == TargetKind::Local ||
               kind() == TargetKind::Pool ||
               (kind() == TargetKind::Blackhole && discarded_subscriber() != 0);
    }
    friend constexpr bool operator==(Target, Target) = default;

  private:
    std::uint32_t raw_{};
};
static_assert(sizeof(Target) == 4);

inline constexpr unsigned kMaxLines = 16;     // of a subscriber, and of a policy
inline constexpr unsigned kMaxClasses = 8;    // of a policy
inline constexpr unsigned kMaxPrefixes = 64;  // of a subscriber
inline constexpr std::uint32_t kMaxTunnelSlots = 1U << 24;
inline constexpr unsigned kMaxPorts = 16;

}  // namespace dr
