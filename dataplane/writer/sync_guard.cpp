// How much a sync may take away.
#include "dataplane/writer/sync_guard.h"

#include <algorithm>
#include <string>

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

Outcome SyncGuard::check(const Plan& plan, const Books& books, std::uint32_t tunnels) const {
    const std::uint32_t live = books.subscribers();
    const std::uint32_t gone = plan.deleted_subscribers;
    if (most(gone, live) || (live >= 1 && gone == live))
        return needs_force(syncing_ ? "the sync" : "the transaction", gone, live, "subscribers");
    return syncing_ ? check_sync(plan, books, tunnels) : Outcome{};
}

// Only what takes something away is refused: what was forced before has made the rest fewer.
Outcome SyncGuard::check_sync(const Plan& plan, const Books& books, std::uint32_t tunnels) const {
    const Loss now = loss_with(plan, books);
    if (now.gone_pools > loss_.gone_pools && most(now.gone_pools, now.pools))
        return needs_force("the sync", now.gone_pools, now.pools, "pools");
    if (now.gone_policies > loss_.gone_policies && most(now.gone_policies, now.policies))
        return needs_force("the sync", now.gone_policies, now.policies, "policies");
    if (now.gone_subscribers > loss_.gone_subscribers &&
        most(now.gone_subscribers, now.subscribers))
        return needs_force("the sync", now.gone_subscribers, now.subscribers, "subscribers");
    if (now.gone_prefixes > loss_.gone_prefixes && most(now.gone_prefixes, now.prefixes))
        return needs_force("the sync", now.gone_prefixes, now.prefixes, "subscribers' prefixes");
    const std::uint32_t left = tunnels + plan.new_tunnels - plan.gone_tunnels;
    const std::uint32_t gone = now.tunnels > left ? now.tunnels - left : 0;
    if (plan.gone_tunnels > plan.new_tunnels && most(gone, now.tunnels))
        return needs_force("the sync", gone, now.tunnels, "tunnels");
    return {};
}

SyncGuard::Loss SyncGuard::loss_with(const Plan& plan, const Books& books) const {
    Loss with = loss_;
    for (const PoolChange& change : plan.changes.pools)
        with.gone_pools += !change.upsert && books.pools().contains(change.id) ? 1 : 0;
    for (const PolicyChange& change : plan.changes.policies)
        with.gone_policies += !change.upsert && books.policies().contains(change.id) ? 1 : 0;
    with.gone_subscribers += plan.deleted_subscribers;
    with.gone_prefixes += plan.old_prefixes[0] + plan.old_prefixes[1];
    return with;
}

void SyncGuard::begin(const Books& books, std::uint32_t tunnels) {
    if (!unfinished_) {
        loss_ = {};
        loss_.pools = static_cast<std::uint32_t>(books.pools().size());
        loss_.policies = static_cast<std::uint32_t>(books.policies().size());
        loss_.subscribers = books.subscribers();
        loss_.prefixes = books.prefixes();
        loss_.tunnels = tunnels;
    }
    unfinished_ = syncing_ = true;
}

void SyncGuard::complete() {
    unfinished_ = syncing_ = false;
    synced_ = true;
}

// What was forced is known: it counts as gone before the sync.
void SyncGuard::note(const Plan& plan, const Books& books, std::uint32_t tunnels, bool force) {
    if (!syncing_) return;
    const Loss now = loss_with(plan, books);
    if (!force) {
        loss_ = now;
        return;
    }
    loss_.pools -= std::min(loss_.pools, now.gone_pools - loss_.gone_pools);
    loss_.policies -= std::min(loss_.policies, now.gone_policies - loss_.gone_policies);
    loss_.subscribers -= std::min(loss_.subscribers, plan.deleted_subscribers);
    loss_.prefixes -= std::min(loss_.prefixes, now.gone_prefixes - loss_.gone_prefixes);
    loss_.tunnels = std::min(loss_.tunnels, tunnels + plan.new_tunnels - plan.gone_tunnels);
}

}  // namespace dr::southbound
