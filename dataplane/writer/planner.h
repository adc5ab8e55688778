// Judges a transaction by the state that it would leave behind: bounds, references, ownership of
// prefixes and tunnel ids, capacities. It sees what is installed as const, so that a refused
// transaction has changed nothing. The bucket maps that a plan needs are its own until it is
// carried out. Where rows are short it waits for those whose grace period is about to end.
//
// One thread: the writer.
#pragma once

#include <cstdint>
#include <functional>

#include "dataplane/tables/rib.h"
#include "dataplane/tables/tables.h"
#include "dataplane/writer/live_book.h"
#include "dataplane/writer/plan.h"
#include "dataplane/writer/sync_guard.h"

namespace dr::southbound {

inline constexpr std::uint32_t kMaxPools = 4096;
inline constexpr std::uint32_t kMaxPolicies = 4096;

class Planner final {
  public:
    // What is installed; all outlives the object.
    struct Installed {
        const Capacity& capacity;
        const Lpm4& lpm4;
        const Lpm6& lpm6;
        const Rib& rib;
        const Books& books;
        const SubscriberTable& subscribers;
        const TunnelTable& tunnels;
        const LiveBook& live;
        const SyncGuard& guard;
    };
    // `reclaim` gives back what outlived its grace period; false: nothing waits any more.
    Planner(const Installed& installed, std::function<bool()> reclaim)
        : now_(installed), reclaim_(std::move(reclaim)) {}

    // More tunnels with keys than `most` are refused.
    void limit_keyed_tunnels(std::uint32_t most) { keyed_limit_ = most; }

    // Fills the plan, whose changes are set. force: what the guard would refuse is accepted.
    Outcome judge(Plan& plan, bool force) const;

  private:
    Outcome pools(const Plan& plan) const;
    Outcome policies(Plan& plan) const;
    Outcome subscribers(Plan& plan) const;
    Outcome subscriber(Plan& plan, SubscriberChange& change) const;
    Outcome ownership(Plan& plan) const;
    Outcome own_prefixes(Plan& plan, const SubscriberChange& change) const;
    Outcome own_tunnels(Plan& plan, const SubscriberChange& change) const;
    void removed_prefixes(Plan& plan) const;
    Outcome policy_users(const Plan& plan) const;
    Outcome capacity(const Plan& plan) const;
    Outcome rows(const Plan& plan) const;
    Outcome lookup(const Plan& plan) const;
    Outcome maps(Plan& plan) const;
    Outcome map(Plan& plan, std::uint32_t policy, const ClassMasks& masks,
                std::uint32_t record) const;
    PlannedPolicy* planned(Plan& plan, std::uint32_t policy) const;
    [[nodiscard]] bool groups_suffice(const Plan& plan, unsigned family_index) const;
    [[nodiscard]] std::uint32_t rows_needed(const SubscriberChange& change) const;
    // The subscriber whose prefix or tunnel it is keeps it in the end; 0: nobody.
    [[nodiscard]] bool keeps(const Plan& plan, std::uint32_t owner, std::uint32_t other) const;
    // Waits for a grace period, within limits, while is_short() holds.
    template <typename Short>
    void reclaim_while(Short&& is_short) const;

    Installed now_;
    std::function<bool()> reclaim_;
    std::uint32_t keyed_limit_ = kMaxTunnelSlots;
};

}  // namespace dr::southbound
