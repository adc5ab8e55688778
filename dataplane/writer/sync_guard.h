// What is refused without force: a transaction that drops most subscribers, and a sync that takes
// most of any kind of row away, with however many transactions. A store that is wrong or empty
// meets this guard; an operator's explicit deletions carry force, and outside a sync an update may
// take any tunnel away.
//
// One thread: the writer.
#pragma once

#include <cstdint>

#include "dataplane/writer/outcome.h"
#include "dataplane/writer/plan.h"

namespace dr::southbound {

class SyncGuard final {
  public:
    [[nodiscard]] bool syncing() const { return syncing_; }
    // A sync was completed since start.
    [[nodiscard]] bool synced() const { return synced_; }

    // `tunnels`, here and below: how many are installed.
    void begin(const Books& books, std::uint32_t tunnels);
    void complete();
    void abort() { syncing_ = false; }

    // Whether the plan may be carried out without force.
    [[nodiscard]] Outcome check(const Plan& plan, const Books& books, std::uint32_t tunnels) const;
    // The plan is about to be carried out.
    void note(const Plan& plan, const Books& books, std::uint32_t tunnels, bool force);

  private:
    // What a sync has taken away so far, of what there was when it began. If the syncs before it
    // were aborted: since the first of them began, so that several in a row cannot take half of the
    // rows each.
    struct Loss {
        std::uint32_t pools{};  // before the sync; the others likewise
        std::uint32_t policies{};
        std::uint32_t subscribers{};
        std::uint32_t tunnels{};
        std::uint32_t gone_pools{};
        std::uint32_t gone_policies{};
        std::uint32_t gone_subscribers{};
        // Of subscribers. A store that gives other subscribers the same numbers deletes none of
        // them, but moves all.
        std::uint32_t prefixes{};
        std::uint32_t gone_prefixes{};
    };
    [[nodiscard]] Loss loss_with(const Plan& plan, const Books& books) const;
    [[nodiscard]] Outcome check_sync(const Plan& plan, const Books& books,
                                     std::uint32_t tunnels) const;

    bool syncing_{};
    bool unfinished_{};  // a sync has begun, and none was completed since
    bool synced_{};
    Loss loss_;
};

}  // namespace dr::southbound
