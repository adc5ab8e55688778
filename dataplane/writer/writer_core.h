// Inside the table writer: its own state beside the tables, and the plan that a transaction becomes
// before anything is applied. Used by table_writer.cpp, plan*.cpp, apply.cpp and reclaim.cpp only.
//
//   transaction --decode--> Changes --judge--> Plan --apply--> tables, and a Batch of what to give
//   back after the grace period
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "dataplane/southbound/codec.h"
#include "dataplane/tables/bucket_map.h"
#include "dataplane/writer/id_map.h"
#include "dataplane/writer/index_pool.h"
#include "dataplane/writer/map_runs.h"
#include "dataplane/writer/prefix_index.h"
#include "dataplane/writer/table_writer.h"
#include "dataplane/writer/tunnel_row.h"

namespace dr::southbound {

inline constexpr std::uint32_t kMaxPools = 4096;
inline constexpr std::uint32_t kMaxPolicies = 4096;

using LineName = std::array<char, 32>;

// Eligible lines by class, bit n: line number n; 0 beyond the policy's classes.
using ClassMasks = std::array<std::uint16_t, kMaxClasses>;
struct ClassMasksHash {
    std::size_t operator()(const ClassMasks& masks) const {
        std::uint64_t h = 0;
        for (const std::uint16_t mask : masks) h = (h ^ mask) * 0x9e3779b97f4a7c15ULL;
        return h ^ h >> 32;
    }
};
using MapsByMasks = std::unordered_map<ClassMasks, std::uint32_t, ClassMasksHash>;

// A policy's lines and classes, in terms of the numbers that drd gives to the lines. These are the
// numbers in keepalives (proto/TUNNEL.md §8), in bucket maps and in subscribers' slots.
//
// drd keeps a line's number while the policy names the line, and gives a number that has just
// become free last. A worker that still holds a map made before a number changed its meaning finds
// the slot of the new line: a tunnel of the same subscriber, never an empty slot or another's.
struct PolicyShape {
    PolicyShape() = default;
    explicit PolicyShape(const PolicyView& view);

    std::array<LineName, kMaxLines> names{};  // by number; empty: no line has it
    std::vector<Tiers> classes;

    // -1: none.
    [[nodiscard]] int number_of(const LineName& name) const;
    // Bits of the lines on which this subscriber has a tunnel.
    [[nodiscard]] std::uint16_t mask_of(const SubscriberView& subscriber) const;
};

struct Policy {
    std::uint32_t id{};
    std::vector<std::uint8_t> body;
    PolicyShape shape;
    std::uint32_t subscribers{};
    std::uint32_t mark{};
    MapsByMasks groups;              // -> map of class 0
    std::vector<BucketMaps> makers;  // by class, once liveness needs one
};

// The consecutive maps of one (policy, eligible lines), by map of class 0.
struct MapGroup {
    std::uint32_t policy{};
    std::uint32_t subscribers{};
    ClassMasks masks{};
    std::uint8_t classes{};
};

// By SubscriberIndex. A prefix belongs to the subscriber that PrefixIndex names, a tunnel slot to
// the one in its row.
struct Subscriber {
    std::unique_ptr<std::uint8_t[]> body;  // its record as received; null: not in use
    Policy* policy{};
    std::uint32_t map{};  // of class 0, as its row names it
    std::uint32_t mark{};
    std::uint32_t touched{};  // number of the latest plan that changes it
    std::uint32_t cleanup{};  // number of the latest batch that is to clear its unused slots
    std::uint16_t mask{};     // lines with a slot
    bool incomplete{};  // the lookup table had no room for a prefix: an equal record is applied
                        // again

    [[nodiscard]] SubscriberView view() const { return view_of(body.get()); }
};

// What liveness has decided of a subscriber that has tunnels with keys.
struct Live {
    std::uint32_t incarnation{};
    bool chosen{};
    std::uint32_t place = kMoves;  // on the MoveBoard; kMoves: none
    liveness::Choice choice{};
};

// An endpoint that keepalives were believed from, by tunnel slot.
struct Learned {
    BindRequest bind;
    // What was configured then: another word of the operator counts again.
    std::array<std::uint8_t, 16> remote{};
    std::uint16_t remote_port{};
    bool ports{};  // it was configured with UDP ports: GRE-in-UDP or automatic
};

struct PoolEntry {
    PoolRecord record{};
    std::uint32_t mark{};
    [[nodiscard]] IpPrefix prefix() const {
        return {{record.family, record.address}, record.length};
    }
};

// The last word of a transaction on each object it names.
struct PoolChange {
    std::uint32_t id;
    std::uint32_t record;
    std::optional<PoolRecord> upsert;
};
struct PolicyChange {
    std::uint32_t id;
    std::uint32_t record;
    std::optional<PolicyView> upsert;
};
struct SubscriberChange {
    std::uint32_t id;
    std::uint32_t record;
    std::optional<SubscriberView> upsert;
    // Found out by the plan:
    std::uint32_t index = 0;  // as installed; 0: not there
    bool same = false;        // nothing to do but to mark it
    std::uint16_t mask = 0;
    ClassMasks masks{};
};
struct Changes {
    std::vector<PoolChange> pools;
    std::vector<PolicyChange> policies;
    std::vector<SubscriberChange> subscribers;
};

struct PlannedPolicy {
    Policy* installed{};
    const PolicyChange* change{};    // null: the policy stays as it is
    PolicyShape shape;               // when it changes
    MapsByMasks groups;              // new maps, already filled
    std::vector<BucketMaps> makers;  // by class, once one is needed

    [[nodiscard]] const PolicyShape& final_shape() const {
        return change != nullptr ? shape : installed->shape;
    }
};

struct PrefixHash {
    std::size_t operator()(const IpPrefix& prefix) const { return prefix_tag(prefix); }
};

struct Plan {
    Changes changes;
    std::unordered_map<std::uint32_t, PlannedPolicy> policies;
    // Subscribers that no record names but whose policy changes, with their new masks.
    struct Follower {
        std::uint32_t index;
        std::uint16_t mask;
        ClassMasks masks;
    };
    std::vector<Follower> followers;
    // Installed maps that the plan counts on: they stay while it is carried out, even when their
    // last subscriber of before leaves them first.
    std::vector<std::uint32_t> pinned;
    // What upserted subscribers of this transaction hold in the end, and the record that says so.
    std::unordered_map<IpPrefix, std::uint32_t, PrefixHash> prefixes;
    std::unordered_map<std::uint32_t, std::uint32_t> tunnel_slots;
    std::uint32_t new_subscribers{};
    std::uint32_t deleted_subscribers{};
    std::uint32_t new_rows{};
    std::int64_t new_keyed{};  // tunnels with keys, less those that go
    // While a sync runs: tunnels that appear, and that go.
    std::uint32_t new_tunnels{};
    std::uint32_t gone_tunnels{};
    std::array<std::uint32_t, 2> new_prefixes{};  // IPv4, IPv6
    std::array<std::uint32_t, 2> old_prefixes{};  // that go away
    std::vector<IpPrefix> inserted;               // prefixes that may need new groups
};

// What a sync has taken away so far from what there was when it began, or when the first of several
// that came to no end began: each may not take half of what the one before has left.
struct SyncLoss {
    std::uint32_t pools{};
    std::uint32_t policies{};
    std::uint32_t subscribers{};
    std::uint32_t tunnels{};  // before the sync; the others likewise
    std::uint32_t gone_pools{};
    std::uint32_t gone_policies{};
    std::uint32_t gone_subscribers{};
    // Of subscribers. A store that numbers other subscribers alike deletes none, but moves them
    // all.
    std::uint32_t prefixes{};
    std::uint32_t gone_prefixes{};
};

// What was unpublished by one commit, to be given back together.
struct Batch {
    Qsbr::Token token{};
    std::uint32_t number{};
    std::vector<std::uint32_t> rows;
    std::vector<std::uint32_t> slots;
    std::vector<std::uint32_t> subscribers;
    std::vector<std::uint32_t> cleanups;
    std::vector<std::pair<std::uint32_t, std::uint8_t>> maps;  // first map, classes

    [[nodiscard]] bool empty() const {
        return rows.empty() && slots.empty() && subscribers.empty() && cleanups.empty() &&
               maps.empty();
    }
};

struct TableWriter::Core {
    Core(Tables& tables_in, Rib& rib_in, WriterHooks hooks_in);

    // plan.cpp, plan_subscribers.cpp: judge() leaves the tables as they are; on failure discard()
    // the plan.
    Outcome decode(const Transaction& transaction, Changes* changes) const;
    Outcome judge(Plan* plan, bool force);
    void discard(Plan* plan);

    Outcome plan_pools(const Plan& plan) const;
    Outcome plan_policies(Plan* plan);
    Outcome plan_subscribers(Plan* plan);
    Outcome plan_subscriber(Plan* plan, SubscriberChange* change);
    Outcome plan_ownership(Plan* plan);
    void plan_removed_prefixes(Plan* plan);
    Outcome plan_policy_users(const Plan& plan) const;
    Outcome plan_maps(Plan* plan);
    Outcome plan_map(Plan* plan, std::uint32_t policy, const ClassMasks& masks,
                     std::uint32_t record);
    Outcome check_guard(const Plan& plan) const;
    Outcome check_sync_guard(const Plan& plan) const;
    [[nodiscard]] SyncLoss loss_with(const Plan& plan) const;
    void begin_loss();
    void note_loss(const Plan& plan, bool force);
    Outcome check_capacity(const Plan& plan);
    // Waits for a grace period, within limits, while is_short() holds.
    template <typename Short>
    void reclaim_while(Short&& is_short);
    PlannedPolicy* planned(Plan* plan, std::uint32_t policy);
    bool groups_suffice(const Plan& plan, unsigned family_index) const;
    std::uint32_t rows_needed(const SubscriberChange& change) const;

    // apply.cpp
    Outcome apply(Plan* plan);
    void apply_pools(const Plan& plan);
    void apply_policies(Plan* plan);
    void apply_delete(const Plan& plan, const SubscriberChange& change);
    bool apply_upsert(const Plan& plan, const SubscriberChange& change);
    void apply_follower(const Plan::Follower& follower);
    void apply_keys(const SubscriberView& view, const PolicyShape& shape);
    void set_key(std::uint32_t slot, const TunnelKeys& keys);
    std::array<std::uint32_t, kMaxLines> apply_tunnels(std::uint32_t index,
                                                       const SubscriberView& view,
                                                       const PolicyShape& shape);
    [[nodiscard]] bool in_pool(const IpPrefix& prefix) const;
    void note_steering(const IpPrefix& prefix);
    bool apply_prefixes(const Plan& plan, std::uint32_t index, const SubscriberView& view,
                        const std::uint8_t* old_body, bool again);
    std::uint32_t install_tunnel(std::uint32_t index, const TunnelRecord& record);
    std::uint16_t next_hop_of(const TunnelRow& row) const;
    void remove_tunnel(std::uint32_t index, TunnelId id);
    void set_map(std::uint32_t index, Policy* policy, std::uint16_t mask, const ClassMasks& masks);
    void replace_map(std::uint32_t index, std::uint32_t map, std::uint32_t place = kMoves);
    void release_map(std::uint32_t map);
    void store_slot(std::uint32_t index, unsigned line, std::uint32_t row);
    void count_local(const TunnelRow& row, int by);
    void close_batch();

    // apply_live.cpp
    void serve(std::span<const BindRequest> binds, std::span<const ChoiceRequest> choices);
    void serve_bind(const BindRequest& bind);
    void serve_choice(const ChoiceRequest& request);
    void serve_starved();
    bool publish_choice(std::uint32_t index);
    std::uint32_t maps_for(Policy* policy, const ClassMasks& masks);
    std::uint32_t mixed_maps(Policy* policy, const SubscriberView& view, const Live& state);
    void take_place(Live* state, const Policy& policy, const SubscriberView& view);
    void leave_place(Live* state);
    bool rebind(std::uint32_t index, const TunnelRecord& record);
    [[nodiscard]] BoundTunnel bound(const TunnelRecord& record) const;
    void forget_stale_endpoint(const TunnelRecord& record);
    [[nodiscard]] ClassMasks masks_of(const SubscriberView& view, const PolicyShape& shape,
                                      std::uint32_t index) const;
    void tell_policy(const Policy& policy) const;
    void tell_subscriber(std::uint32_t index, const SubscriberView& view, const Policy& policy);
    void tell_gone(std::uint32_t index, std::uint32_t id);

    // reclaim.cpp
    void reclaim();
    void free_batch(Batch& batch);
    void clear_unused_slots(std::uint32_t index);
    bool refresh(std::uint32_t budget);

    // memory_report.cpp
    void report_memory(State* state) const;
    [[nodiscard]] Memory records_memory() const;
    [[nodiscard]] Memory keys_memory() const;

    [[nodiscard]] std::uint32_t owner_of(const IpPrefix& prefix) const;
    [[nodiscard]] bool holds(std::uint32_t index, const IpPrefix& prefix) const;
    [[nodiscard]] std::uint32_t live_subscribers() const {
        return static_cast<std::uint32_t>(ids.size());
    }

    Tables& tables;
    Rib& rib;
    WriterHooks hooks;

    std::unordered_map<std::uint32_t, PoolEntry> pools;
    std::unordered_map<std::uint32_t, std::unique_ptr<Policy>> policies;
    IdMap ids;  // subscriber id -> index
    PrefixIndex prefixes;
    std::vector<Subscriber> subscribers;
    std::vector<MapGroup> map_groups;
    std::map<IpAddress, std::uint32_t> locals;  // tunnels by local address

    std::unordered_map<std::uint32_t, Live> lives;       // by index; those with keys
    std::unordered_map<std::uint32_t, Learned> learned;  // by tunnel slot
    // What had to wait for room: subscribers' choices by index, endpoints by tunnel.
    std::unordered_set<std::uint32_t> starved_choices;
    std::unordered_set<std::uint32_t> starved_binds;
    std::uint32_t incarnation{};
    std::uint32_t keyed_tunnels{};
    std::uint32_t keyed_limit = kMaxTunnelSlots;
    std::uint64_t places_taken{};  // of the MoveBoard

    IndexPool subscriber_indices;
    IndexPool tunnel_rows;
    MapRuns map_runs;

    std::deque<Batch> batches;  // oldest first
    Batch open;

    std::array<std::uint64_t, 3> digest{};
    std::uint64_t body_bytes{};  // of the subscribers' records
    std::uint64_t epoch{};
    std::uint64_t pools_generation{};
    std::uint64_t locals_generation{};
    std::uint32_t tunnels{};
    std::uint32_t highest_slot{};
    std::uint32_t keyed_slots{};  // slots below may have had a key
    std::uint32_t plan_number{};
    std::uint32_t batch_number{};
    std::uint32_t mark = 1;
    bool syncing{};
    bool sync_unfinished{};
    SyncLoss loss;
    bool synced{};

    std::uint64_t refreshed_generation{};
    std::uint32_t refresh_cursor{};
    std::uint32_t refresh_left{};
};

}  // namespace dr::southbound
