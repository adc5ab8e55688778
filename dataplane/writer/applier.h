// Carries out a plan that was found good. The order within one subscriber is the one that
// table_writer.h promises to readers; what is unpublished goes into a batch of the graveyard.
//
// One thread: the writer.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/tables/rib.h"
#include "dataplane/writer/live_book.h"
#include "dataplane/writer/plan.h"

namespace dr::southbound {

class Applier final {
  public:
    // What it changes; all outlives the object.
    struct Installed {
        Rib& rib;
        Books& books;
        MapPool& maps;
        SubscriberTable& subscribers;
        TunnelTable& tunnels;
        Graveyard& graveyard;
        LiveBook& live;
    };
    explicit Applier(const Installed& installed) : now_(installed) {}

    // Not ok: all is applied, but for prefixes that the lookup table has no room for.
    Outcome apply(Plan& plan);

  private:
    using Slots = std::array<std::uint32_t, kMaxLines>;

    void pools(const Plan& plan);
    void policies(Plan& plan);
    void erase_subscriber(const Plan& plan, const SubscriberChange& change);
    bool put_subscriber(const Plan& plan, const SubscriberChange& change);
    void follow(const Plan::Follower& follower);
    void steer(std::uint32_t index, const Policy& policy, std::uint16_t mask,
               const ClassMasks& masks);
    Slots install_tunnels(std::uint32_t index, const SubscriberView& view,
                          const PolicyShape& shape);
    void remove_tunnel(std::uint32_t index, TunnelId id);
    void set_keys(const SubscriberView& view, const PolicyShape& shape);
    bool put_prefixes(const Plan& plan, std::uint32_t index, const SubscriberView& view,
                      const SubscriberView& before, bool again);
    void remove_prefix(const Plan& plan, const IpPrefix& prefix, std::uint32_t index);

    Installed now_;
};

}  // namespace dr::southbound
