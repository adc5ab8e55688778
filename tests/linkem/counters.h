// What a link counts, per direction. Declared once: the enum and the names in JSON follow.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace dr::linkem {

// Frames end in `sent` or in one of the drop_* counters. An injected ICMP error counts at the
// direction whose packet caused it (icmp_sent) and nowhere else.
#define LINKEM_COUNTERS(X)                                                          \
    X(received, "frames taken from the interface")                                  \
    X(received_bytes, "their bytes, Ethernet header included")                      \
    X(sent, "frames given to the other interface; duplicates and fragments count")  \
    X(sent_bytes, "their bytes")                                                    \
    X(upkeep, "ARP and neighbour discovery, passed unimpaired")                     \
    X(duplicated, "second copies made")                                             \
    X(reordered, "packets held back so that later ones overtake them")              \
    X(fragmented, "IPv4 packets without DF split at the MTU")                       \
    X(icmp_sent, "ICMP errors given back to the sender of a packet above the MTU")  \
    X(translated, "packets whose addresses or ports the NAT changed")               \
    X(drop_cut, "the direction was cut")                                            \
    X(drop_keepalive, "tunnel keepalives in a black hole for keepalives")           \
    X(drop_data, "tunnel data in a black hole for data")                            \
    X(drop_mtu, "longer than the MTU")                                              \
    X(drop_loss, "independent loss")                                                \
    X(drop_burst_loss, "Gilbert-Elliott loss")                                      \
    X(drop_queue, "the queue in front of the rate limit was full")                  \
    X(drop_nat_unmapped, "to an address or port that the NAT has no mapping for")   \
    X(drop_nat_refused, "of a kind that the NAT does not translate, or table full") \
    X(drop_buffers, "no buffer free: more in flight than --frames")                 \
    X(drop_offload, "a segment of TSO or longer than a buffer: offloads are on")    \
    X(drop_send, "the other interface did not take it")                             \
    X(drop_overrun, "lost by the kernel before they could be read")

enum class Counter : std::uint8_t {
#define X(name, help) name,
    LINKEM_COUNTERS(X)
#undef X
};

inline constexpr std::array kCounterNames{
#define X(name, help) #name,
    LINKEM_COUNTERS(X)
#undef X
};

class Counters {
  public:
    void add(Counter which, std::uint64_t n = 1) { values_[static_cast<std::size_t>(which)] += n; }
    std::uint64_t operator[](Counter which) const {
        return values_[static_cast<std::size_t>(which)];
    }

  private:
    std::array<std::uint64_t, kCounterNames.size()> values_{};
};

}  // namespace dr::linkem
