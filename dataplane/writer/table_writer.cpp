#include "dataplane/writer/table_writer.h"

#include <algorithm>

#include "dataplane/writer/writer_core.h"

namespace dr::southbound {
namespace {

// Target holds 28 bits of subscriber index, a tunnel row 24.
constexpr std::uint32_t kMaxSubscriberRows = 1U << 24;

constexpr std::size_t at(Table table) {
    return static_cast<std::size_t>(table);
}

}  // namespace

TableWriter::Core::Core(Tables& tables_in, Rib& rib_in, WriterHooks hooks_in)
    : tables(tables_in),
      rib(rib_in),
      hooks(std::move(hooks_in)),
      subscribers(1),
      map_groups(tables_in.maps.size()),
      subscriber_indices(std::min(tables_in.subscribers.size(), kMaxSubscriberRows)),
      tunnel_rows(tables_in.tunnels.size()),
      map_runs(tables_in.maps.size()) {}

TableWriter::TableWriter(Tables& tables, Rib& rib, WriterHooks hooks)
    : core_(std::make_unique<Core>(tables, rib, std::move(hooks))) {}

TableWriter::~TableWriter() = default;

Outcome TableWriter::commit(const Transaction& transaction, bool force) {
    core_->reclaim();
    Plan plan;
    Outcome outcome = core_->decode(transaction, &plan.changes);
    if (!outcome.ok()) return outcome;
    outcome = core_->judge(&plan, force);
    if (outcome.ok()) {
        core_->note_loss(plan, force);
        return core_->apply(&plan);
    }
    core_->discard(&plan);
    return outcome;
}

void TableWriter::limit_keyed_tunnels(std::uint32_t most) {
    core_->keyed_limit = most;
}

void TableWriter::serve(std::span<const BindRequest> binds,
                        std::span<const ChoiceRequest> choices) {
    core_->serve(binds, choices);
}

void TableWriter::sync_begin() {
    if (!core_->sync_unfinished) core_->begin_loss();
    core_->sync_unfinished = true;
    core_->syncing = true;
    ++core_->mark;
}

Outcome TableWriter::sync_end(bool force) {
    if (!core_->syncing) return {Status::BadSequence, 0, "SyncEnd without SyncBegin"};
    core_->reclaim();
    Plan plan;
    for (std::uint32_t index = 1; index < core_->subscribers.size(); ++index) {
        const Subscriber& subscriber = core_->subscribers[index];
        if (subscriber.body == nullptr || subscriber.mark == core_->mark) continue;
        plan.changes.subscribers.push_back({subscriber.view().record.id, 0, std::nullopt});
    }
    for (const auto& [id, policy] : core_->policies) {
        if (policy->mark != core_->mark) plan.changes.policies.push_back({id, 0, std::nullopt});
    }
    for (const auto& [id, pool] : core_->pools) {
        if (pool.mark != core_->mark) plan.changes.pools.push_back({id, 0, std::nullopt});
    }
    std::sort(plan.changes.policies.begin(), plan.changes.policies.end(),
              [](const PolicyChange& a, const PolicyChange& b) { return a.id < b.id; });
    Outcome outcome = core_->judge(&plan, force);
    if (!outcome.ok()) {
        core_->discard(&plan);
        return outcome;
    }
    core_->syncing = false;
    core_->sync_unfinished = false;
    core_->synced = true;
    return core_->apply(&plan);
}

void TableWriter::sync_abort() {
    core_->syncing = false;
}

bool TableWriter::syncing() const {
    return core_->syncing;
}

bool TableWriter::synced() const {
    return core_->synced;
}

void TableWriter::housekeeping(std::uint32_t budget) {
    core_->reclaim();
    core_->refresh(budget);
}

void TableWriter::reclaim() {
    core_->reclaim();
}

bool TableWriter::refresh(std::uint32_t budget) {
    return core_->refresh(budget);
}

std::uint64_t TableWriter::epoch() const {
    return core_->epoch;
}

std::array<std::uint32_t, kTables> TableWriter::rows() const {
    std::array<std::uint32_t, kTables> rows{};
    rows[at(Table::Pools)] = static_cast<std::uint32_t>(core_->pools.size());
    rows[at(Table::Policies)] = static_cast<std::uint32_t>(core_->policies.size());
    rows[at(Table::Subscribers)] = core_->live_subscribers();
    rows[at(Table::Tunnels)] = core_->tunnels;
    rows[at(Table::Prefixes4)] = core_->tables.lpm4->size();
    rows[at(Table::Prefixes6)] = core_->tables.lpm6->size();
    rows[at(Table::Maps)] = core_->map_runs.in_use();
    rows[at(Table::Groups4)] = core_->tables.lpm4->groups_used();
    rows[at(Table::Groups6)] = core_->tables.lpm6->groups_used();
    return rows;
}

void TableWriter::fill(State* state) const {
    const Tables& t = core_->tables;
    state->epoch = core_->epoch;
    state->rows = rows();
    state->digest = core_->digest;
    state->capacity = {kMaxPools,          kMaxPolicies,         t.capacity.subscribers,
                       t.capacity.tunnels, t.capacity.prefixes4, t.capacity.prefixes6,
                       t.capacity.maps,    t.capacity.groups4,   t.capacity.groups6};
    core_->report_memory(state);
    const SubscriberIndex around = core_->rib.around_own();
    if (around.value != 0) state->around_own = core_->subscribers[around.value].view().record.id;
}

std::vector<Pool> TableWriter::pools() const {
    std::vector<Pool> pools;
    for (const auto& [id, pool] : core_->pools)
        pools.push_back({id, pool.prefix(), pool.record.announce != 0});
    return pools;
}

std::vector<IpPrefix> TableWriter::steered() const {
    std::vector<IpPrefix> prefixes;
    for (const auto& [id, pool] : core_->pools) prefixes.push_back(pool.prefix());
    for (const auto& subscriber : core_->subscribers) {
        if (subscriber.body == nullptr) continue;
        const SubscriberView view = subscriber.view();
        for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
            const IpPrefix prefix = prefix_of(view.prefixes[i]);
            if (!core_->in_pool(prefix)) prefixes.push_back(prefix);
        }
    }
    return prefixes;
}

std::uint64_t TableWriter::pools_generation() const {
    return core_->pools_generation;
}

std::vector<IpAddress> TableWriter::local_addresses() const {
    std::vector<IpAddress> addresses;
    for (const auto& [address, tunnels] : core_->locals) addresses.push_back(address);
    return addresses;
}

std::uint64_t TableWriter::local_addresses_generation() const {
    return core_->locals_generation;
}

int TableWriter::line_number(std::uint32_t policy, const std::string& name) const {
    const auto found = core_->policies.find(policy);
    LineName padded{};
    if (found == core_->policies.end() || name.empty() || name.size() >= padded.size()) return -1;
    std::copy(name.begin(), name.end(), padded.begin());
    return found->second->shape.number_of(padded);
}

SubscriberIndex TableWriter::find_subscriber(std::uint32_t id) const {
    return {id == 0 ? 0 : core_->ids.find(id)};
}

}  // namespace dr::southbound
