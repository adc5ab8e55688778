// Applying sets of requests: together, one by one, or all or nothing.
#include <fmt/format.h>

#include <algorithm>

#include "control/model/catalog_plan.h"

namespace dr::control {
namespace {

// Where the data plane names a field of the record, the refusal does too.
Failure refused_by_dataplane(const Installed& verdict) {
    const std::size_t end = verdict.text.find("]: ");
    if (!verdict.full && verdict.text.starts_with("prefixes[") && end != std::string::npos) {
        const std::string field = "subscriber." + verdict.text.substr(0, end + 1);
        const std::string why = verdict.text.substr(end + 3);
        return {Code::InvalidArgument, field + ": " + why, {{field, why}}, false};
    }
    return make_failure(verdict.full ? Code::ResourceExhausted : Code::FailedPrecondition,
                        "the data plane refuses it: " + verdict.text);
}

// A revocation is stored even if the data plane refuses the record. The comparison that follows
// then leaves out what cannot be installed, so the old keys are removed. A rotation is not stored
// in that case, because the site would lose keys that work.
bool holds_anyway(const Request& request, const Installed& verdict) {
    return request.keys == Request::Keys::Revoke ||
           (request.keys == Request::Keys::Rotate && !verdict.full);
}

}  // namespace

std::vector<Result> Catalog::apply(const std::vector<Request>& requests, bool atomic) {
    std::vector<Result> results(requests.size());
    const std::lock_guard writing(writer_);
    if (atomic)
        apply_atomic(requests, results);
    else
        apply_batch(requests, results);
    return results;
}

Result Catalog::apply_one(const Request& request) {
    return std::move(apply({request}).front());
}

void Catalog::plan_all(const std::vector<Request>& requests, std::vector<Result>& results,
                       Plan& plan) {
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

void Catalog::apply_batch(const std::vector<Request>& requests, std::vector<Result>& results) {
    Plan plan;
    plan_all(requests, results, plan);
    Installed verdict = install(plan);
    if (verdict.result == Installed::Result::Refused && requests.size() == 1 &&
        holds_anyway(requests.front(), verdict)) {
        verdict.result = Installed::Result::Deferred;
        installer_->resync();
    }
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

// Each request gets the data plane's own verdict; the accepted ones are committed together.
void Catalog::apply_singly(const std::vector<Request>& requests, std::vector<Result>& results) {
    Plan accepted;
    accepted.before = meta_;
    for (std::size_t i = 0; i < requests.size(); ++i) {
        std::unique_lock lock(index_mutex_);
        Plan one;
        one.before = meta_;
        one.request = i;
        one.earlier = &accepted;
        results[i] = {};
        results[i].failure = this->plan(requests[i], one, results[i]);
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

// The subscribers of an atomic set release their prefixes before any of them is judged.
std::vector<Record> Catalog::lift_prefixes(const std::vector<Request>& requests) {
    std::vector<Record> lifted;
    const std::unique_lock lock(index_mutex_);
    for (const Request& request : requests) {
        if (kind_of(request.object) != Kind::Subscriber) continue;
        const auto* entry = Index::find(index_.subscribers(), name_of_object(request.object));
        if (entry == nullptr) continue;
        if (const auto before = subscriber_by_id(entry->id)) lifted.push_back(record_of(*before));
    }
    // Nothing throws from here on.
    for (const Record& record : lifted) index_.lift_prefixes(record);
    return lifted;
}

void Catalog::apply_atomic(const std::vector<Request>& requests, std::vector<Result>& results) {
    Plan plan;
    const std::vector<Record> lifted = lift_prefixes(requests);
    plan_all(requests, results, plan);
    const auto abort_with = [&](const Failure& why) {
        undo(plan);
        const std::unique_lock lock(index_mutex_);
        for (const Record& record : lifted) index_.lower_prefixes(record);
        for (auto& result : results)
            if (result.failure.ok()) result = {Result::Outcome::Refused, why, {}};
    };
    for (const auto& result : results)
        if (!result.failure.ok())
            return abort_with(
                make_failure(Code::Aborted, "another object of the atomic set is refused"));
    if (plan.changes.size() > southbound::kMaxTxnRecords)
        return abort_with(make_failure(
            Code::ResourceExhausted, fmt::format("{} changes; an atomic set is limited to {}",
                                                 plan.changes.size(), southbound::kMaxTxnRecords)));
    const Installed verdict = install(plan);
    if (verdict.result == Installed::Result::Refused) {
        const std::size_t at = std::min<std::size_t>(verdict.record, plan.changes.size() - 1);
        results[plan.changes[at].request] = {
            Result::Outcome::Refused, refused_by_dataplane(verdict), {}};
        return abort_with(
            make_failure(Code::Aborted, "another object of the atomic set is refused"));
    }
    if (const Failure why = commit(plan); !why.ok()) abort_with(why);
}

}  // namespace dr::control
