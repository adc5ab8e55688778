// The table writer: turns transactions of protocol.h into rows that workers read.
//
// A transaction is judged by the state it would leave behind: bounds, references, ownership of
// prefixes and tunnel ids, and capacities are checked completely before a table is touched, so a
// refused one changes nothing. The order of records within a transaction only matters where several
// name the same object (the last one counts).
//
// What concurrent readers see, per subscriber: a map never names a line whose slot is empty. So
// slots are stored before the map; what goes away leaves the map (or, for a whole subscriber, the
// lookup table) first, and its slots, rows, index and bucket map are reused only after a grace
// period (qsbr.h). A tunnel whose line the policy does not name is installed for uplink
// (decapsulation) and has no slot.
//
// Ownership of prefixes is by exact prefix; a longer prefix of another subscriber inside it wins by
// longest match. That subscribers' prefixes lie inside pools and do not overlap is drd's to check.
//
// One thread: the writer.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/southbound/protocol.h"
#include "dataplane/southbound/transaction.h"
#include "dataplane/tables/rib.h"
#include "dataplane/tables/tables.h"
#include "dataplane/writer/liveness_link.h"
#include "dataplane/writer/outcome.h"

namespace dr::southbound {

struct WriterHooks {
    // Zeroes the slot's counters after its tunnel was deleted or replaced by another one. Called
    // when the grace period of the old tunnel is over; a tunnel that reused the slot earlier loses
    // what it had counted until then.
    std::function<void(std::uint32_t slot)> zero_tunnel_counters;
    // Tables::tunnel_keys[slot] is new, changed or gone (number 0).
    std::function<void(std::uint32_t slot)> tunnel_key_changed{};
    // A policy is new, changed or gone: before any subscriber that uses it so.
    std::function<void(LivePolicy policy)> policy_changed{};
    // A subscriber that has, or had, tunnels with keys.
    std::function<void(LiveSubscriber subscriber)> keyed_subscriber_changed{};
};

// A pool as installed.
struct Pool {
    std::uint32_t id;
    IpPrefix prefix;
    bool announce;
};

class TableWriter final {
  public:
    TableWriter(Tables& tables, Rib& rib, WriterHooks hooks = {});
    ~TableWriter();
    TableWriter(const TableWriter&) = delete;
    TableWriter& operator=(const TableWriter&) = delete;

    // More tunnels with keys than `most` are refused; at first there is no limit.
    void limit_keyed_tunnels(std::uint32_t most);

    // All of it, or nothing and the reason. force: even if it drops most subscribers (more than
    // half of 10 or more, or all of 1 or more) or, while a sync runs, takes the loss of pools,
    // policies, subscribers, their prefixes or tunnels since its beginning above half of 10 or
    // more. An update that takes prefixes or tunnels away outside a sync needs no force.
    Outcome commit(const Transaction& transaction, bool force);

    // What liveness has found out. A tunnel with a key carries nothing before the first choice that
    // names it; an endpoint and a choice outlast commits that change something else. What concerns
    // a tunnel or a subscriber that is gone by now is passed over.
    void serve(std::span<const BindRequest> binds, std::span<const ChoiceRequest> choices);

    // Mark and sweep. sync_end() deletes everything that no transaction has upserted since
    // sync_begin(); when it is refused nothing is deleted and the sync goes on. sync_abort() sweeps
    // nothing.
    void sync_begin();
    Outcome sync_end(bool force);
    void sync_abort();
    [[nodiscard]] bool syncing() const;
    // A sync was completed since start.
    [[nodiscard]] bool synced() const;

    // What is due: gives back what outlived its grace period, and looks again for the next hops of
    // tunnels, at most `budget` of them, if routes have changed. Call it every few milliseconds.
    void housekeeping(std::uint32_t budget = 16'384);
    // The two halves of housekeeping(). refresh(): true when all next hops are up to date.
    void reclaim();
    bool refresh(std::uint32_t budget);

    // Grows by one with each successful commit and sync_end.
    [[nodiscard]] std::uint64_t epoch() const;
    // Fills epoch, rows, capacity, digest, around_own and memory (without the counters'). Prefix
    // rows count the whole lookup table (routes, neighbours, pools).
    void fill(State* state) const;
    [[nodiscard]] std::array<std::uint32_t, kTables> rows() const;

    [[nodiscard]] std::vector<Pool> pools() const;
    // What the ports must take from the kernel: the pools, and the subscribers' prefixes outside
    // all pools. Goes through all subscribers.
    [[nodiscard]] std::vector<IpPrefix> steered() const;
    // Grows when pools() or steered() changes.
    [[nodiscard]] std::uint64_t pools_generation() const;
    // The local addresses of all tunnels, without duplicates, and a number that grows when the set
    // may have changed.
    [[nodiscard]] std::vector<IpAddress> local_addresses() const;
    [[nodiscard]] std::uint64_t local_addresses_generation() const;

    // The line number of a name in a policy; -1: none. For tests and for reports.
    [[nodiscard]] int line_number(std::uint32_t policy, const std::string& name) const;
    // kNoRow: none.
    [[nodiscard]] SubscriberIndex find_subscriber(std::uint32_t id) const;

  private:
    struct Core;
    std::unique_ptr<Core> core_;
};

}  // namespace dr::southbound
