// The kernel's routes: of several routes to one prefix the one with the lowest metric is in the
// Rib. Independent of netlink.
//
// Thread: the writer.
#pragma once

#include <map>
#include <set>
#include <vector>

#include "dataplane/tables/rib.h"

namespace dr {

// Where a route leads.
struct RouteTarget {
    // Elsewhere: over an interface that is not a port.
    enum class Kind : std::uint8_t { Gateway, Connected, Blackhole, Elsewhere };
    Kind kind{};
    std::uint16_t port{};     // Gateway, Connected
    IpAddress gateway;        // Gateway; its family may differ from the prefix's (RFC 5549)
    std::vector<Via> more{};  // Gateway: the other next hops of a multipath route
    Discard discard{};        // Blackhole
    friend bool operator==(const RouteTarget&, const RouteTarget&) = default;
};

class RouteTable final {
  public:
    explicit RouteTable(Rib& rib) : rib_(rib) {}
    RouteTable(const RouteTable&) = delete;
    RouteTable& operator=(const RouteTable&) = delete;

    enum class How : std::uint8_t {
        Replace,  // in the place of the one of its prefix and metric
        Prepend,  // before those of its prefix and metric; the first one is used
        Append,   // after them
        Join,     // as one more next hop of the route with its prefix and metric
        Dump,     // part of a listing of all routes: several, if it is met twice since mark()
    };
    // Adds the route or changes it. several: it has next hops that are removed one by one.
    void set(const IpPrefix& prefix, std::uint32_t metric, const RouteTarget& target, How how,
             bool several = false);
    // false: it was one of several, or is not the one in use, so the remaining routes are unknown:
    // list the routes again.
    bool remove(const IpPrefix& prefix, std::uint32_t metric, const RouteTarget& target);
    [[nodiscard]] bool has(const IpPrefix& prefix, std::uint32_t metric) const;

    // Mark and sweep: sweep() removes what was not set since mark().
    void mark() { ++generation_; }
    void sweep();

    [[nodiscard]] std::size_t size() const { return prefixes_.size(); }
    // Routes that found no room in the lookup table or the next hop table, ever.
    [[nodiscard]] std::uint64_t refused() const { return refused_; }
    // Prefixes whose route waits for room now.
    [[nodiscard]] std::size_t waiting() const { return waiting_.size(); }
    // Tries some of the waiting routes again. A bounded amount of work; call it often.
    void retry();

  private:
    struct Entry {
        std::uint32_t metric;
        std::uint32_t generation;
        RouteTarget target;
        bool several;
    };
    struct Prefix {
        std::vector<Entry> entries;  // by metric
        bool installed = false;
        RouteTarget target;       // as installed
        NextHopIndex next_hop{};  // held
    };
    void install(const IpPrefix& prefix, Prefix& state);
    bool move_connected(const IpPrefix& prefix, Prefix& state, Target target);
    void uninstall(const IpPrefix& prefix, Prefix& state);
    void release(Prefix& state);  // what the installed target holds
    NextHopIndex acquire(const RouteTarget& target);

    Rib& rib_;
    std::map<IpPrefix, Prefix> prefixes_;
    std::uint32_t generation_ = 0;
    std::uint64_t refused_ = 0;
    std::set<IpPrefix> waiting_;
    IpPrefix retry_next_{};
};

}  // namespace dr
