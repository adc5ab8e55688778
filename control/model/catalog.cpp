#include "control/model/catalog.h"

#include <fmt/format.h>

#include <algorithm>

#include "control/model/catalog_plan.h"

namespace dr::control {
namespace {

constexpr std::size_t kPageBytes = 3U << 20;

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

Failure failure(Code code, std::string message) {
    return {code, std::move(message), {}, false};
}

Failure refused_by_dataplane(const Installed& verdict) {
    return failure(verdict.full ? Code::ResourceExhausted : Code::FailedPrecondition,
                   "the data plane refuses it: " + verdict.text);
}

}  // namespace

Catalog::Catalog(Store& store, TunnelIds::Clock::duration quarantine)
    : store_(store), ids_(quarantine) {
    load();
}

void Catalog::load() {
    meta_ = store_.meta();
    revision_ = meta_.revision;
    ids_.set_capacity(meta_.tunnel_capacity);
    const auto snapshot = store_.snapshot();
    snapshot->for_each(Kind::Pool, [&](std::uint32_t id, std::string_view bytes) {
        index_.put_pool(id, std::get<v1::Pool>(parse_object(Kind::Pool, bytes)));
        return true;
    });
    snapshot->for_each(Kind::Policy, [&](std::uint32_t id, std::string_view bytes) {
        index_.put_policy(id, std::get<v1::Policy>(parse_object(Kind::Policy, bytes)));
        return true;
    });
    snapshot->for_each(Kind::Subscriber, [&](std::uint32_t id, std::string_view bytes) {
        const auto s = std::get<v1::Subscriber>(parse_object(Kind::Subscriber, bytes));
        if (Index::find(index_.policies(), s.policy()) == nullptr)
            throw StoreError(
                fmt::format("store: subscriber \"{}\" names policy \"{}\", which is "
                            "not in the store",
                            s.name(), s.policy()));
        index_.put_subscriber(s);
        for (const auto& tunnel : s.tunnels()) ids_.take(tunnel.id(), id);
        return true;
    });
    const auto now = TunnelIds::Clock::now();
    for (const std::uint32_t id : store_.freed_tunnel_ids()) ids_.restore_freed(id, now);
}

void Catalog::enter(Change change, Plan& plan) {
    change.request = plan.request;
    index_replace(change, true);
    const Object& named = change.after ? *change.after : *change.before;
    plan.latest[Plan::key(change.kind, name_of_object(named))] = plan.changes.size();
    plan.changes.push_back(std::move(change));
}

void Catalog::index_replace(const Change& change, bool forward) {
    const auto& from = forward ? change.before : change.after;
    const auto& to = forward ? change.after : change.before;
    if (change.kind == Kind::Pool) {
        if (from) index_.remove_pool(std::get<v1::Pool>(*from).name());
        if (to) index_.put_pool(change.id, std::get<v1::Pool>(*to));
    } else if (change.kind == Kind::Policy) {
        if (to)
            index_.put_policy(change.id, std::get<v1::Policy>(*to));
        else
            index_.remove_policy(std::get<v1::Policy>(*from).name());
    } else {
        if (from) index_.remove_subscriber(std::get<v1::Subscriber>(*from));
        if (to) index_.put_subscriber(std::get<v1::Subscriber>(*to));
    }
}

void Catalog::undo(Plan& plan) {
    const std::unique_lock lock(index_mutex_);
    for (auto change = plan.changes.rbegin(); change != plan.changes.rend(); ++change) {
        index_replace(*change, false);
        release_ids(*change);
    }
    // Stable ids are never used twice, not even those of changes that came to nothing: the data
    // plane may have seen them.
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
        std::vector<std::uint8_t> record;
        if (change.kind == Kind::Pool)
            record = pool_record(std::get<v1::Pool>(*change.after), change.id);
        else if (change.kind == Kind::Policy)
            record = policy_record(std::get<v1::Policy>(*change.after), change.id);
        else {
            const auto& s = std::get<v1::Subscriber>(*change.after);
            record = subscriber_record(s, index_.policies().find(s.policy())->second.id);
            if (change.secrets) append_keys(record, s, *change.secrets);
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
    std::vector<CommittedChange> committed;
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
        return failure(Code::Unavailable, e.what());
    }
    revision_ = meta_.revision;
    if (listener_) {
        for (auto& change : plan.changes)
            committed.push_back(
                {!change.after, std::move(change.after ? *change.after : *change.before)});
        listener_(committed);
    }
    plan.changes.clear();
    plan.latest.clear();
    return {};
}

std::vector<Result> Catalog::apply(std::vector<Request> requests, bool atomic) {
    std::vector<Result> results(requests.size());
    const std::lock_guard writing(writer_);
    if (atomic)
        apply_atomic(requests, results);
    else
        apply_batch(requests, results);
    return results;
}

Result Catalog::apply_one(Request request) {
    std::vector<Request> requests;
    requests.push_back(std::move(request));
    return std::move(apply(std::move(requests)).front());
}

void Catalog::plan_all(std::vector<Request>& requests, std::vector<Result>& results, Plan& plan) {
    const std::unique_lock lock(index_mutex_);
    plan.before = meta_;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        plan.request = i;
        results[i] = {};
        results[i].failure = this->plan(requests[i], plan, results[i]);
        if (!results[i].failure.ok()) results[i].outcome = Result::Outcome::Refused;
    }
}

void Catalog::fail_all(std::vector<Result>& results, const Failure& why) {
    for (auto& result : results) {
        if (result.outcome == Result::Outcome::Refused ||
            result.outcome == Result::Outcome::Unchanged)
            continue;
        result.outcome = Result::Outcome::Refused;
        result.failure = why;
    }
}

void Catalog::apply_batch(std::vector<Request>& requests, std::vector<Result>& results) {
    Plan plan;
    plan_all(requests, results, plan);
    const Installed verdict = install(plan);
    if (verdict.result == Installed::Result::Refused) {
        const std::size_t at = std::min<std::size_t>(verdict.record, plan.changes.size() - 1);
        const std::size_t culprit = plan.changes[at].request;
        undo(plan);
        if (requests.size() == 1) {
            results[culprit] = {Result::Outcome::Refused, refused_by_dataplane(verdict), {}};
        } else {
            apply_singly(requests, results);
        }
        return;
    }
    if (const Failure why = commit(plan); !why.ok()) {
        undo(plan);
        fail_all(results, why);
    }
}

// Each request gets the data plane's own verdict; what is accepted is committed together.
void Catalog::apply_singly(std::vector<Request>& requests, std::vector<Result>& results) {
    Plan accepted;
    accepted.before = meta_;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        std::unique_lock lock(index_mutex_);
        Plan one;
        one.before = meta_;
        one.request = i;
        one.earlier = &accepted;
        results[i] = {};
        results[i].failure = plan(requests[i], one, results[i]);
        lock.unlock();
        if (!results[i].failure.ok()) {
            results[i].outcome = Result::Outcome::Refused;
            continue;
        }
        const Installed verdict = install(one);
        if (verdict.result == Installed::Result::Refused) {
            undo(one);
            results[i] = {Result::Outcome::Refused, refused_by_dataplane(verdict), {}};
            continue;
        }
        for (auto& change : one.changes) {
            const Object& named = change.after ? *change.after : *change.before;
            accepted.latest[Plan::key(change.kind, name_of_object(named))] =
                accepted.changes.size();
            accepted.changes.push_back(std::move(change));
        }
    }
    if (const Failure why = commit(accepted); !why.ok()) {
        undo(accepted);
        fail_all(results, why);
    }
}

void Catalog::apply_atomic(std::vector<Request>& requests, std::vector<Result>& results) {
    Plan plan;
    plan_all(requests, results, plan);
    const auto abort_with = [&](const Failure& why) {
        undo(plan);
        for (auto& result : results)
            if (result.failure.ok()) result = {Result::Outcome::Refused, why, {}};
    };
    for (const auto& result : results)
        if (!result.failure.ok())
            return abort_with(
                failure(Code::Aborted, "another object of the atomic set is refused"));
    if (plan.changes.size() > southbound::kMaxTxnRecords)
        return abort_with(failure(Code::ResourceExhausted,
                                  fmt::format("{} changes; an atomic set is limited to {}",
                                              plan.changes.size(), southbound::kMaxTxnRecords)));
    const Installed verdict = install(plan);
    if (verdict.result == Installed::Result::Refused) {
        const std::size_t at = std::min<std::size_t>(verdict.record, plan.changes.size() - 1);
        results[plan.changes[at].request] = {
            Result::Outcome::Refused, refused_by_dataplane(verdict), {}};
        return abort_with(failure(Code::Aborted, "another object of the atomic set is refused"));
    }
    if (const Failure why = commit(plan); !why.ok()) abort_with(why);
}

std::optional<v1::Subscriber> Catalog::subscriber_by_id(std::uint32_t id) {
    const auto bytes = store_.read(Kind::Subscriber, id);
    if (!bytes) return std::nullopt;
    return std::get<v1::Subscriber>(parse_object(Kind::Subscriber, *bytes));
}

std::optional<v1::Subscriber> Catalog::subscriber_by_tunnel(std::uint32_t tunnel_id) {
    std::shared_lock lock(index_mutex_);
    const std::uint32_t owner = ids_.owner(tunnel_id);
    lock.unlock();
    if (owner == 0) return std::nullopt;
    return subscriber_by_id(owner);
}

std::optional<Object> Catalog::get(Kind kind, const std::string& name) {
    std::shared_lock lock(index_mutex_);
    std::uint32_t id = 0;
    if (const auto* pool = Index::find(index_.pools(), name); kind == Kind::Pool && pool != nullptr)
        id = pool->id;
    if (const auto* policy = Index::find(index_.policies(), name);
        kind == Kind::Policy && policy != nullptr)
        id = policy->id;
    if (const auto* s = Index::find(index_.subscribers(), name);
        kind == Kind::Subscriber && s != nullptr)
        id = s->id;
    lock.unlock();
    if (id == 0) return std::nullopt;
    const auto bytes = store_.read(kind, id);
    if (!bytes) return std::nullopt;
    return parse_object(kind, *bytes);
}

std::vector<std::uint32_t> Catalog::matching_ids(Kind kind, const Query& query) {
    std::vector<std::uint32_t> ids;
    const std::shared_lock lock(index_mutex_);
    const auto collect = [&](const auto& map, const auto& matches) {
        const bool resume = !query.after.empty() && query.after >= query.name_prefix;
        auto at = resume ? map.upper_bound(query.after) : map.lower_bound(query.name_prefix);
        for (; at != map.end() && at->first.starts_with(query.name_prefix); ++at) {
            if (!matches(at->second)) continue;
            ids.push_back(at->second.id);
            if (ids.size() > query.limit) return;
        }
    };
    const auto any = [](const auto&) { return true; };
    if (kind == Kind::Pool) collect(index_.pools(), any);
    if (kind == Kind::Policy) collect(index_.policies(), any);
    if (kind != Kind::Subscriber) return ids;
    const PolicyEntry* policy =
        query.policy.empty() ? nullptr : Index::find(index_.policies(), query.policy);
    if (!query.policy.empty() && policy == nullptr) return ids;
    std::unordered_set<std::uint32_t> owners;
    if (query.within) owners = index_.owners_within(*query.within);
    collect(index_.subscribers(), [&](const SubscriberEntry& s) {
        return (policy == nullptr || s.policy == policy->id) &&
               (!query.within || owners.contains(s.id));
    });
    return ids;
}

Catalog::Page Catalog::list(Kind kind, const Query& query) {
    Page page;
    const auto ids = matching_ids(kind, query);
    std::size_t bytes_so_far = 0;
    for (const std::uint32_t id : ids) {
        if (page.objects.size() == query.limit || bytes_so_far > kPageBytes) {
            page.next = name_of_object(page.objects.back());
            break;
        }
        const auto bytes = store_.read(kind, id);
        if (!bytes) continue;
        bytes_so_far += bytes->size();
        page.objects.push_back(parse_object(kind, *bytes));
    }
    return page;
}

}  // namespace dr::control
