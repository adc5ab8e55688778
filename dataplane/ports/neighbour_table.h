// Neighbours (ARP, ND) that the kernel has learned on the mirrored ports. Also decides which
// neighbours to ask the kernel for: missing ones, and stale ones that the data plane still uses.
// Independent of netlink.
//
// Thread: the writer. Times are in milliseconds of a steady clock.
#pragma once

#include <array>
#include <functional>
#include <map>
#include <utility>

#include "dataplane/tables/rib.h"

namespace dr {

class NeighbourTable final {
  public:
    using Key = std::pair<std::uint16_t, IpAddress>;  // port, address
    // Asks the kernel to resolve, or to verify.
    using Ask = std::function<void(std::uint16_t port, const IpAddress& address)>;

    NeighbourTable(Rib& rib, Ask ask) : rib_(rib), ask_(std::move(ask)) {}
    NeighbourTable(const NeighbourTable&) = delete;
    NeighbourTable& operator=(const NeighbourTable&) = delete;

    // The kernel knows its MAC address. stale: not verified lately.
    void set(std::uint16_t port, const IpAddress& address, const wire::Mac& mac, bool stale);
    // Why the kernel does not know it.
    enum class Unknown : std::uint8_t {
        Forgotten,  // the entry is gone
        Asked,      // the question is under way
        Failed      // nobody has answered
    };
    void remove(std::uint16_t port, const IpAddress& address, Unknown why, std::uint64_t now_ms);
    void mark() { ++generation_; }
    void sweep(std::uint64_t now_ms);

    // When a link loses its carrier the kernel forgets its neighbours. As soon as the link is back,
    // the previous MAC addresses of neighbours that routes and tunnels use are used again, and the
    // kernel is asked at once. They are used until the kernel answers, because its first question
    // is often lost in a switch that is not ready yet, and it repeats the question only after a
    // second.
    void link_down(std::uint16_t port, std::uint64_t now_ms);
    void link_up(std::uint16_t port, std::uint64_t now_ms);

    // The user of an address. Each has a rate of its own at which the kernel is asked, so
    // destinations of arbitrary packets take nothing from gateways.
    enum class Need : std::uint8_t {
        Gateway,     // of a route; always asked
        TunnelEnd,   // on a connected network; 200 a second
        Destination  // of a packet, on a connected network: 64 at once, then 20 a second. What does
                     // not answer stays in the kernel's table for up to 18 s, and the kernel
                     // throws out others, gateways too, from 512 (gc_thresh2) on.
    };
    // The data plane needs this neighbour. The kernel is asked at once if the rate allows, and at
    // most once a second.
    void want(std::uint16_t port, const IpAddress& address, Need need, std::uint64_t now_ms);
    // Asks again about stale entries, each every 10 s at most: those that routes and tunnels lead
    // through first. The kernel verifies by a unicast probe and tells whether it is reachable or
    // gone.
    void refresh(std::uint64_t now_ms);

    [[nodiscard]] std::size_t size() const { return entries_.size(); }

  private:
    struct Entry {
        std::uint32_t generation{};
        bool stale{};
        std::uint64_t asked_ms{};
        wire::Mac mac{};
        std::uint64_t believed_until_ms{};  // 0: the kernel knows it
    };
    struct Forgotten {
        wire::Mac mac{};
        std::uint64_t at_ms{};
        bool by_link{};  // with its carrier, not by itself
    };
    // GCRA (ITU-T I.371).
    struct Rate {
        std::uint64_t gap_ms;
        std::uint64_t at_once;
        std::uint64_t whole_at = 0;
        bool take(std::uint64_t now_ms);
    };
    struct Asking {
        Rate rate;
        std::map<Key, std::uint64_t> last{};  // when asked
    };
    void forget(std::map<Key, Entry>::iterator at);
    void verify(const Key& key, Entry& entry, std::uint64_t now_ms);

    Rib& rib_;
    Ask ask_;
    std::map<Key, Entry> entries_;
    std::map<Key, Forgotten> forgotten_;
    Asking gateways_{{0, 1}};
    Asking tunnel_ends_{{5, 200}};
    std::array<Asking, 2> destinations_{Asking{{50, 64}}, Asking{{50, 64}}};  // IPv4, IPv6
    Rate verified_{5, 200};
    Key verify_next_{};  // where the next round over the entries begins
    std::uint32_t generation_ = 0;
};

}  // namespace dr
