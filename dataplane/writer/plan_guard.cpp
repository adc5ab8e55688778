// What is refused without force: a transaction that drops most subscribers, and a sync that takes
// most of any kind of row away, with however many transactions. A store that is wrong or empty
// meets this guard; an operator's explicit deletions carry force, and outside a sync an update may
// take any tunnel away.
#include <algorithm>

#include "dataplane/writer/writer_core.h"

namespace dr::southbound {
namespace {

// Fewer rows than this may go: one cannot tell a mistake from a change of mind.
constexpr std::uint32_t kGuarded = 10;

bool most(std::uint32_t gone, std::uint32_t of) {
    return of >= kGuarded && gone > of / 2;
}

Outcome needs_force(const char* doer, std::uint32_t gone, std::uint32_t of, const char* what) {
    return {Status::NeedsForce, 0,
            std::string(doer) + " would delete " + std::to_string(gone) + " of " +
                std::to_string(of) + " " + what + ": needs force"};
}

}  // namespace

Outcome TableWriter::Core::check_guard(const Plan& plan) const {
    const std::uint32_t live = live_subscribers();
    const std::uint32_t gone = plan.deleted_subscribers;
    if (most(gone, live) || (live >= 1 && gone == live))
        return needs_force(syncing ? "the sync" : "the transaction", gone, live, "subscribers");
    return syncing ? check_sync_guard(plan) : Outcome{};
}

// Only what takes something away is refused: what was forced before has made the rest fewer.
Outcome TableWriter::Core::check_sync_guard(const Plan& plan) const {
    const SyncLoss now = loss_with(plan);
    if (now.gone_pools > loss.gone_pools && most(now.gone_pools, now.pools))
        return needs_force("the sync", now.gone_pools, now.pools, "pools");
    if (now.gone_policies > loss.gone_policies && most(now.gone_policies, now.policies))
        return needs_force("the sync", now.gone_policies, now.policies, "policies");
    if (now.gone_subscribers > loss.gone_subscribers && most(now.gone_subscribers, now.subscribers))
        return needs_force("the sync", now.gone_subscribers, now.subscribers, "subscribers");
    if (now.gone_prefixes > loss.gone_prefixes && most(now.gone_prefixes, now.prefixes))
        return needs_force("the sync", now.gone_prefixes, now.prefixes, "subscribers' prefixes");
    const std::uint32_t left = tunnels + plan.new_tunnels - plan.gone_tunnels;
    const std::uint32_t gone = now.tunnels > left ? now.tunnels - left : 0;
    if (plan.gone_tunnels > plan.new_tunnels && most(gone, now.tunnels))
        return needs_force("the sync", gone, now.tunnels, "tunnels");
    return {};
}

SyncLoss TableWriter::Core::loss_with(const Plan& plan) const {
    SyncLoss with = loss;
    for (const PoolChange& change : plan.changes.pools)
        with.gone_pools += !change.upsert && pools.contains(change.id) ? 1 : 0;
    for (const PolicyChange& change : plan.changes.policies)
        with.gone_policies += !change.upsert && policies.contains(change.id) ? 1 : 0;
    with.gone_subscribers += plan.deleted_subscribers;
    with.gone_prefixes += plan.old_prefixes[0] + plan.old_prefixes[1];
    return with;
}

void TableWriter::Core::begin_loss() {
    loss = {static_cast<std::uint32_t>(pools.size()),
            static_cast<std::uint32_t>(policies.size()),
            live_subscribers(),
            tunnels,
            0,
            0,
            0,
            static_cast<std::uint32_t>(prefixes.size()),
            0};
}

// Before the plan is carried out. What was forced is known: it counts as gone before the sync.
void TableWriter::Core::note_loss(const Plan& plan, bool force) {
    if (!syncing) return;
    const SyncLoss now = loss_with(plan);
    if (!force) {
        loss = now;
        return;
    }
    loss.pools -= std::min(loss.pools, now.gone_pools - loss.gone_pools);
    loss.policies -= std::min(loss.policies, now.gone_policies - loss.gone_policies);
    loss.subscribers -= std::min(loss.subscribers, plan.deleted_subscribers);
    loss.prefixes -= std::min(loss.prefixes, now.gone_prefixes - loss.gone_prefixes);
    loss.tunnels = std::min(loss.tunnels, tunnels + plan.new_tunnels - plan.gone_tunnels);
}

}  // namespace dr::southbound
