// The face of the table writer.
#include "dataplane/writer/table_writer.h"

#include <algorithm>

#include "dataplane/writer/writer_core.h"

namespace dr::southbound {
namespace {

constexpr std::size_t at(Table table) {
    return static_cast<std::size_t>(table);
}

}  // namespace

TableWriter::Core::Core(Tables& tables_in, Rib& rib_in, WriterHooks hooks)
    : tables(tables_in),
      rib(rib_in),
      maps(tables),
      subscribers(tables, maps),
      tunnels(tables, rib, std::move(hooks.tunnel_key_changed)),
      graveyard(tables.qsbr, {subscribers, tunnels, maps, std::move(hooks.zero_tunnel_counters)}),
      live({tables, books, maps, subscribers, tunnels, graveyard},
           {std::move(hooks.policy_changed), std::move(hooks.keyed_subscriber_changed)}),
      planner({tables.capacity, *tables.lpm4, *tables.lpm6, rib, books, subscribers, tunnels, live,
               guard},
              [this] { return reclaim(); }),
      applier({rib, books, maps, subscribers, tunnels, graveyard, live}) {}

bool TableWriter::Core::reclaim() {
    graveyard.reclaim();
    rib.reclaim();
    return !graveyard.empty();
}

TableWriter::TableWriter(Tables& tables, Rib& rib, WriterHooks hooks)
    : core_(std::make_unique<Core>(tables, rib, std::move(hooks))) {}

TableWriter::~TableWriter() = default;

Outcome TableWriter::commit(const Transaction& transaction, bool force) {
    core_->reclaim();
    Plan plan(core_->maps);
    if (Outcome o = decode(transaction, &plan.changes); !o.ok()) return o;
    if (Outcome o = core_->planner.judge(plan, force); !o.ok()) return o;
    core_->guard.note(plan, core_->books, core_->tunnels.count(), force);
    return core_->applier.apply(plan);
}

void TableWriter::limit_keyed_tunnels(std::uint32_t most) {
    core_->planner.limit_keyed_tunnels(most);
}

// Requests come between transactions: what they unpublish is a batch of its own.
void TableWriter::serve(std::span<const BindRequest> binds,
                        std::span<const ChoiceRequest> choices) {
    if (binds.empty() && choices.empty() && !core_->live.waits()) return;
    core_->reclaim();
    core_->live.serve(binds, choices);
    core_->graveyard.close();
}

void TableWriter::sync_begin() {
    core_->guard.begin(core_->books, core_->tunnels.count());
    core_->books.begin_marking();
}

Outcome TableWriter::sync_end(bool force) {
    if (!core_->guard.syncing()) return {Status::BadSequence, 0, "SyncEnd without SyncBegin"};
    core_->reclaim();
    Plan plan(core_->maps);
    plan.changes = core_->books.unmarked();
    if (Outcome o = core_->planner.judge(plan, force); !o.ok()) return o;
    core_->guard.complete();
    return core_->applier.apply(plan);
}

void TableWriter::sync_abort() {
    core_->guard.abort();
}

bool TableWriter::syncing() const {
    return core_->guard.syncing();
}

bool TableWriter::synced() const {
    return core_->guard.synced();
}

void TableWriter::housekeeping(std::uint32_t budget) {
    core_->reclaim();
    core_->tunnels.refresh_next_hops(budget);
}

void TableWriter::reclaim() {
    core_->reclaim();
}

bool TableWriter::refresh(std::uint32_t budget) {
    return core_->tunnels.refresh_next_hops(budget);
}

std::uint64_t TableWriter::epoch() const {
    return core_->books.epoch();
}

std::array<std::uint32_t, kTables> TableWriter::rows() const {
    std::array<std::uint32_t, kTables> rows{};
    rows[at(Table::Pools)] = static_cast<std::uint32_t>(core_->books.pools().size());
    rows[at(Table::Policies)] = static_cast<std::uint32_t>(core_->books.policies().size());
    rows[at(Table::Subscribers)] = core_->books.subscribers();
    rows[at(Table::Tunnels)] = core_->tunnels.count();
    rows[at(Table::Prefixes4)] = core_->tables.lpm4->size();
    rows[at(Table::Prefixes6)] = core_->tables.lpm6->size();
    rows[at(Table::Maps)] = core_->maps.in_use();
    rows[at(Table::Groups4)] = core_->tables.lpm4->groups_used();
    rows[at(Table::Groups6)] = core_->tables.lpm6->groups_used();
    return rows;
}

void TableWriter::fill(State* state) const {
    const Tables& t = core_->tables;
    state->epoch = core_->books.epoch();
    state->rows = rows();
    state->digest = core_->books.digest();
    state->capacity = {kMaxPools,          kMaxPolicies,         t.capacity.subscribers,
                       t.capacity.tunnels, t.capacity.prefixes4, t.capacity.prefixes6,
                       t.capacity.maps,    t.capacity.groups4,   t.capacity.groups6};
    core_->report_memory(state);
    const SubscriberIndex around = core_->rib.around_own();
    if (around.value != 0)
        state->around_own = core_->books.subscriber(around.value).view().record.id;
}

std::vector<Pool> TableWriter::pools() const {
    std::vector<Pool> pools;
    for (const auto& [id, pool] : core_->books.pools())
        pools.push_back({id, pool.prefix(), pool.record.announce != 0});
    return pools;
}

std::vector<IpPrefix> TableWriter::steered() const {
    return core_->books.steered();
}

std::uint64_t TableWriter::pools_generation() const {
    return core_->books.steered_generation();
}

std::vector<IpAddress> TableWriter::local_addresses() const {
    std::vector<IpAddress> addresses;
    for (const auto& [address, tunnels] : core_->tunnels.locals()) addresses.push_back(address);
    return addresses;
}

std::uint64_t TableWriter::local_addresses_generation() const {
    return core_->tunnels.locals_generation();
}

int TableWriter::line_number(std::uint32_t policy, const std::string& name) const {
    const Policy* installed = core_->books.policy(policy);
    LineName padded{};
    if (installed == nullptr || name.empty() || name.size() >= padded.size()) return -1;
    std::copy(name.begin(), name.end(), padded.begin());
    return installed->shape.number_of(padded);
}

SubscriberIndex TableWriter::find_subscriber(std::uint32_t id) const {
    return {id == 0 ? 0 : core_->books.index_of(id)};
}

}  // namespace dr::southbound
