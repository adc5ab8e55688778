// Loads the catalog and answers its queries.
#include "control/model/catalog.h"

#include <fmt/format.h>

#include "control/model/catalog_plan.h"

namespace dr::control {
namespace {

southbound::Type upsert_type(Kind kind) {
    if (kind == Kind::Pool) return southbound::Type::UpsertPool;
    return kind == Kind::Policy ? southbound::Type::UpsertPolicy
                                : southbound::Type::UpsertSubscriber;
}
southbound::Type delete_type(Kind kind) {
    if (kind == Kind::Pool) return southbound::Type::DeletePool;
    return kind == Kind::Policy ? southbound::Type::DeletePolicy
                                : southbound::Type::DeleteSubscriber;
}

std::string serialized(const Object& object) {
    return std::visit([](const auto& o) { return o.SerializeAsString(); }, object);
}

}  // namespace

Catalog::Catalog(Store& store, TunnelIds::Clock::duration quarantine)
    : store_(store), ids_(quarantine) {
    load();
}

void Catalog::load() {
    meta_ = store_.meta();
    revision_ = meta_.revision;
    ids_.set_capacity(meta_.tunnel_capacity, !meta_.synced_uuid.empty());
    const auto snapshot = store_.snapshot();
    snapshot->for_each(Kind::Pool, [&](std::uint32_t id, std::string_view bytes) {
        index_.put_pool(id, std::get<v1::Pool>(parse_object(Kind::Pool, bytes)));
        return true;
    });
    snapshot->for_each(Kind::Policy, [&](std::uint32_t id, std::string_view bytes) {
        index_.put_policy(id, std::get<v1::Policy>(parse_object(Kind::Policy, bytes)));
        return true;
    });
    v1::Subscriber s;  // one for all: parsing into it again takes no new memory
    snapshot->for_each(Kind::Subscriber, [&](std::uint32_t id, std::string_view bytes) {
        parse_into(s, Kind::Subscriber, bytes);
        const PolicyEntry* policy = Index::find(index_.policies(), s.policy());
        if (policy == nullptr)
            throw StoreError(
                fmt::format("store: subscriber \"{}\" names policy \"{}\", which is "
                            "not in the store",
                            s.name(), s.policy()));
        index_.put_subscriber(s.name(), s.policy(), subscriber_record(s, policy->id));
        for (const auto& tunnel : s.tunnels()) ids_.take(tunnel.id(), id);
        return true;
    });
    const auto now = TunnelIds::Clock::now();
    for (const std::uint32_t id : store_.freed_tunnel_ids()) ids_.restore_freed(id, now);
}

void Catalog::enter(Change change, Plan& plan) {
    change.request = plan.request;
    if (change.kind == Kind::Subscriber && change.after)
        change.record = record_of(subscriber_in(*change.after));
    index_replace(change, true);
    const Object& named = change.after ? *change.after : *change.before;
    plan.latest[Plan::key(change.kind, name_of_object(named))] = plan.changes.size();
    plan.changes.push_back(std::move(change));
}

Record Catalog::record_of(const v1::Subscriber& subscriber) {
    return subscriber_record(subscriber, Index::find(index_.policies(), subscriber.policy())->id);
}

void Catalog::index_replace(const Change& change, bool forward) {
    const Object* from = (forward ? change.before : change.after).get();
    const Object* to = (forward ? change.after : change.before).get();
    if (change.kind == Kind::Pool) {
        if (from != nullptr) index_.remove_pool(name_of_object(*from));
        if (to != nullptr) index_.put_pool(change.id, std::get<v1::Pool>(*to));
    } else if (change.kind == Kind::Policy) {
        if (to != nullptr)
            index_.put_policy(change.id, std::get<v1::Policy>(*to));
        else
            index_.remove_policy(name_of_object(*from));
    } else {
        const auto record = [&](const v1::Subscriber& s, bool after) {
            return after ? change.record : record_of(s);
        };
        if (from != nullptr) {
            const auto& s = subscriber_in(*from);
            index_.remove_subscriber(s.name(), s.policy(), record(s, !forward));
        }
        if (to != nullptr) {
            const auto& s = subscriber_in(*to);
            index_.put_subscriber(s.name(), s.policy(), record(s, forward));
        }
    }
}

void Catalog::undo(Plan& plan) {
    const std::unique_lock lock(index_mutex_);
    for (auto change = plan.changes.rbegin(); change != plan.changes.rend(); ++change) {
        index_replace(*change, false);
        release_ids(*change);
    }
    // Stable ids are never used twice, not even those of failed changes: the data plane may have
    // seen them.
    const std::uint32_t next_id = meta_.next_id;
    meta_ = plan.before;
    meta_.next_id = next_id;
    plan.changes.clear();
    plan.latest.clear();
}

Installed Catalog::install(const Plan& plan) {
    if (installer_ == nullptr || plan.changes.empty()) return {};
    Transaction transaction;
    transaction.revision = meta_.revision;
    for (const auto& change : plan.changes) {
        if (!change.after) {
            transaction.force = true;
            transaction.erase(delete_type(change.kind), change.id);
            continue;
        }
        Record record;
        if (change.kind == Kind::Pool)
            record = pool_record(std::get<v1::Pool>(*change.after), change.id);
        else if (change.kind == Kind::Policy)
            record = policy_record(std::get<v1::Policy>(*change.after), change.id);
        else {
            record = change.record;
            if (change.secrets) append_keys(record, subscriber_in(*change.after), *change.secrets);
        }
        if (!transaction.fits(record.size()))
            return {Installed::Result::Refused, true, 0,
                    fmt::format("an atomic set is limited to {} objects and {} MiB",
                                southbound::kMaxTxnRecords, southbound::kMaxTxnBytes >> 20)};
        transaction.upsert(upsert_type(change.kind), record);
    }
    return installer_->install(transaction);
}

Failure Catalog::commit(Plan& plan) {
    if (plan.changes.empty()) return {};
    Batch batch;
    batch.meta = meta_;
    batch.writes.reserve(plan.changes.size());
    for (auto& change : plan.changes) {
        batch.writes.push_back({change.kind, change.id, std::nullopt});
        if (change.after) batch.writes.back().object = serialized(*change.after);
        if (change.after && change.secrets)
            batch.secrets.push_back({change.id, change.secrets->SerializeAsString()});
        for (const std::uint32_t id : change.freed)
            if (ids_.resting(id)) batch.freed.push_back(id);
        for (const std::uint32_t id : change.reused)
            if (!ids_.resting(id)) batch.taken.push_back(id);
    }
    try {
        store_.commit(batch);
    } catch (const StoreError& e) {
        if (installer_ != nullptr) installer_->resync();
        return make_failure(Code::Unavailable, e.what());
    }
    revision_ = meta_.revision;
    if (listener_) {
        std::vector<CommittedChange> committed;
        committed.reserve(plan.changes.size());
        for (auto& change : plan.changes)
            committed.push_back(
                {!change.after, change.after ? change.after : change.before, change.before});
        listener_(committed);
    }
    plan.changes.clear();
    plan.latest.clear();
    return {};
}

}  // namespace dr::control
