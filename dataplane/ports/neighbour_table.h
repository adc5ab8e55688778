// Neighbours (ARP, ND) that the kernel has learned on the mirrored ports, and the questions to ask
// it: what is missing, and what has gone stale while the data plane still uses it. Knows nothing of
// netlink.
//
// Thread: the writer. Times are in milliseconds of a steady clock.
#pragma once

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
    void remove(std::uint16_t port, const IpAddress& address);
    void mark() { ++generation_; }
    void sweep();

    // The data plane wants to know this one. Asked at once if the rate allows, and not more often
    // than once a second.
    void want(std::uint16_t port, const IpAddress& address, std::uint64_t now_ms);
    // Asks again about stale entries, each every 10 s at most. The kernel verifies by a unicast
    // probe and tells whether it is reachable or gone.
    void refresh(std::uint64_t now_ms);

    [[nodiscard]] std::size_t size() const { return entries_.size(); }

  private:
    struct Entry {
        wire::Mac mac{};
        NextHopIndex next_hop{};  // held
        std::uint32_t generation{};
        bool stale{};
        std::uint64_t asked_ms{};
    };
    bool allowed(std::uint64_t now_ms);
    void forget(std::map<Key, Entry>::iterator at);

    Rib& rib_;
    Ask ask_;
    std::map<Key, Entry> entries_;
    std::map<Key, std::uint64_t> wanted_;  // when asked last
    std::uint32_t generation_ = 0;
    std::uint64_t second_ = 0;  // for the rate limit
    unsigned asked_in_second_ = 0;
};

}  // namespace dr
