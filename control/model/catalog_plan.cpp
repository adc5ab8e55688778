// Judging requests: references, uniqueness, revisions.
#include "control/model/catalog_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "control/model/check.h"
#include "control/model/counts.h"
#include "control/model/line_numbers.h"
#include "control/model/secrets.h"

namespace dr::control {
namespace {

using Mode = Request::Mode;
using FK = Findings::Kind;

constexpr std::array<const char*, kKinds> kKindNames{"pool", "policy", "subscriber"};

}  // namespace

const char* kind_name(Kind kind) {
    return kKindNames[static_cast<std::size_t>(kind)];
}

Failure check_presence(Request::Mode mode, Kind kind, const std::string& name, std::int64_t asked,
                       const std::int64_t* stored) {
    const std::string object = fmt::format("{}/{}", kind_name(kind), shown(name));
    if (mode == Mode::Create && stored != nullptr)
        return make_failure(Code::AlreadyExists, object + " exists; use update");
    if ((mode == Mode::Update || mode == Mode::Delete) && stored == nullptr)
        return make_failure(Code::NotFound, object + " does not exist");
    if (asked == 0 || mode == Mode::Create || (stored != nullptr && asked == *stored)) return {};
    const std::string why =
        stored == nullptr
            ? fmt::format(
                  "revision {} is asked for, but it does not exist; create it with "
                  "revision 0",
                  asked)
            : fmt::format("revision {} is asked for, but the stored one is {}; get it again", asked,
                          *stored);
    const std::string field = fmt::format("{}.revision", kind_name(kind));
    return {Code::Aborted, fmt::format("{}: {}", field, why), {{field, why}}, false};
}

bool same_bytes(const google::protobuf::MessageLite& a, const google::protobuf::MessageLite& b) {
    return a.SerializeAsString() == b.SerializeAsString();
}

void parse_into(google::protobuf::MessageLite& message, Kind kind, std::string_view bytes) {
    if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        throw StoreError(
            fmt::format("store: an object of kind {} cannot be read", kind_name(kind)));
}

Object parse_object(Kind kind, std::string_view bytes) {
    const auto parse = [&](auto message) -> Object {
        parse_into(message, kind, bytes);
        return message;
    };
    if (kind == Kind::Pool) return parse(v1::Pool{});
    if (kind == Kind::Policy) {
        v1::Policy policy;
        parse_into(policy, kind, bytes);
        complete_line_numbers(policy);
        return policy;
    }
    return parse(v1::Subscriber{});
}

Failure Catalog::plan(const Request& request, Plan& plan, Result& result) {
    try {
        if (request.keys == Request::Keys::Keep)
            if (auto failure = check_counts(request.object); !failure.ok()) return failure;
        if (request.mode == Mode::Delete) return plan_delete(request.object, plan, result);
        switch (kind_of(request.object)) {
            case Kind::Pool:
                return plan_pool(request, plan, result);
            case Kind::Policy:
                return plan_policy(request, plan, result);
            case Kind::Subscriber:
                return plan_subscriber(request, plan, result);
        }
    } catch (const StoreError& e) {
        return make_failure(Code::Unavailable, e.what());
    }
    return make_failure(Code::Internal, "unknown kind of object");
}

Failure Catalog::plan_pool(const Request& request, Plan& plan, Result& result) {
    v1::Pool pool = std::get<v1::Pool>(request.object);
    Findings findings;
    const IpPrefix prefix = check_pool(pool, findings);
    if (!findings.empty()) return findings.failure();
    const PoolEntry* before = Index::find(index_.pools(), pool.name());
    const std::int64_t stored = before != nullptr ? before->object.revision() : 0;
    if (auto f = check_presence(request.mode, Kind::Pool, pool.name(), pool.revision(),
                                before != nullptr ? &stored : nullptr);
        !f.ok())
        return f;
    judge_pool_change(before, pool, prefix, findings);
    if (!findings.empty()) return findings.failure();
    pool.set_revision(stored);
    if (before != nullptr && same_bytes(before->object, pool)) {
        result.object = std::make_shared<const Object>(before->object);
        result.outcome = Result::Outcome::Unchanged;
        return {};
    }
    Change change;
    change.kind = Kind::Pool;
    change.id = before != nullptr ? before->id : meta_.next_id++;
    if (before != nullptr) change.before = std::make_shared<const Object>(before->object);
    pool.set_revision(++meta_.revision);
    change.after = std::make_shared<const Object>(std::move(pool));
    result.object = change.after;
    result.outcome = before != nullptr ? Result::Outcome::Updated : Result::Outcome::Created;
    enter(std::move(change), plan);
    return {};
}

void Catalog::judge_pool_change(const PoolEntry* before, const v1::Pool& pool,
                                const IpPrefix& prefix, Findings& findings) {
    if (before != nullptr && before->prefix == prefix) return;
    if (const auto* other = index_.pool_overlapping(prefix, pool.name()))
        findings.invalid("pool.prefix", fmt::format("{} overlaps pool \"{}\" ({})", pool.prefix(),
                                                    other->object.name(), other->object.prefix()));
    if (before != nullptr)
        if (const auto orphan = index_.inside_but_not(before->prefix, &prefix))
            findings.add(
                FK::InUse, "pool.prefix",
                fmt::format("{} would leave {} of subscriber \"{}\" without a pool", pool.prefix(),
                            to_string(orphan->prefix), name_of(orphan->subscriber)));
    if (const auto around = index_.overlapping(prefix); around && !prefix.contains(around->prefix))
        findings.add(
            FK::InUse, "pool.prefix",
            fmt::format("{} is a part of {} of subscriber \"{}\"; a prefix lies inside "
                        "one pool or outside all",
                        pool.prefix(), to_string(around->prefix), name_of(around->subscriber)));
    if (!findings.empty()) return;
    if (const std::string nested = end_inside(prefix); !nested.empty())
        findings.add(FK::InUse, "pool.prefix",
                     fmt::format("{} contains {}; a tunnel's end inside a pool would nest",
                                 pool.prefix(), nested));
}

std::string Catalog::end_inside(const IpPrefix& prefix) {
    const auto end = index_.end_inside(prefix);
    return end ? end_text(*end) : std::string();
}

std::string Catalog::end_text(const Index::End& end) {
    const std::string text = to_string(end.address);
    if (end.subscriber == 0) return fmt::format("{}, an end of {} tunnels", text, end.count);
    return fmt::format("{}, an end of a tunnel of subscriber \"{}\"", text,
                       name_of(end.subscriber));
}

Failure Catalog::plan_policy(const Request& request, Plan& plan, Result& result) {
    v1::Policy policy = std::get<v1::Policy>(request.object);
    Findings findings;
    check_policy(policy, findings);
    if (!findings.empty()) return findings.failure();
    result.warnings = warnings_of(policy);
    const PolicyEntry* before = Index::find(index_.policies(), policy.name());
    const std::int64_t stored = before != nullptr ? before->object.revision() : 0;
    if (auto f = check_presence(request.mode, Kind::Policy, policy.name(), policy.revision(),
                                before != nullptr ? &stored : nullptr);
        !f.ok())
        return f;
    if (before != nullptr) {
        const PolicyEntry after{before->id, policy, 0, {}};
        for (const auto& [line, tunnels] : before->lines)
            if (!after.has_line(line))
                findings.add(FK::InUse, "policy.classes",
                             fmt::format("line \"{}\" is missing, but {} tunnels of subscribers "
                                         "with this policy use it",
                                         line, tunnels));
        if (!findings.empty()) return findings.failure();
    }
    policy.set_revision(stored);
    number_lines(policy, before != nullptr ? &before->object : nullptr, index_.line_census());
    if (before != nullptr && same_bytes(before->object, policy)) {
        result.object = std::make_shared<const Object>(before->object);
        result.outcome = Result::Outcome::Unchanged;
        return {};
    }
    Change change;
    change.kind = Kind::Policy;
    change.id = before != nullptr ? before->id : meta_.next_id++;
    if (before != nullptr) change.before = std::make_shared<const Object>(before->object);
    policy.set_revision(++meta_.revision);
    change.after = std::make_shared<const Object>(std::move(policy));
    result.object = change.after;
    result.outcome = before != nullptr ? Result::Outcome::Updated : Result::Outcome::Created;
    enter(std::move(change), plan);
    return {};
}

Failure Catalog::plan_delete(const Object& object, Plan& plan, Result& result) {
    const Kind kind = kind_of(object);
    const std::string name = name_of_object(object);
    std::shared_ptr<const Object> stored;
    std::uint32_t id = 0;
    Findings findings;
    const std::string field = kind_name(kind);
    if (kind == Kind::Pool) {
        if (const auto* pool = Index::find(index_.pools(), name)) {
            stored = std::make_shared<const Object>(pool->object);
            id = pool->id;
            if (const auto used = index_.inside_but_not(pool->prefix, nullptr))
                findings.add(FK::InUse, field + ".name",
                             fmt::format("pool \"{}\" holds {} of subscriber \"{}\"; delete that "
                                         "first",
                                         name, to_string(used->prefix), name_of(used->subscriber)));
        }
    } else if (kind == Kind::Policy) {
        if (const auto* policy = Index::find(index_.policies(), name)) {
            stored = std::make_shared<const Object>(policy->object);
            id = policy->id;
            if (policy->subscribers > 0)
                findings.add(FK::InUse, field + ".name",
                             fmt::format("policy \"{}\" is in use by {} subscribers", name,
                                         policy->subscribers));
        }
    } else {
        if (auto f = find_subscriber(name, plan, stored); !f.ok()) return f;
        if (stored) id = subscriber_in(*stored).id();
    }
    const auto revision_of = [](const auto& o) { return o.revision(); };
    const std::int64_t asked = std::visit(revision_of, object);
    const std::int64_t revision = stored ? std::visit(revision_of, *stored) : 0;
    if (auto f = check_presence(Mode::Delete, kind, name, asked, stored ? &revision : nullptr);
        !f.ok())
        return f;
    if (!findings.empty()) return findings.failure();
    ++meta_.revision;
    result.object = stored;
    result.outcome = Result::Outcome::Deleted;
    Change change;
    change.kind = kind;
    change.id = id;
    if (kind == Kind::Subscriber)
        for (const auto& tunnel : subscriber_in(*stored).tunnels()) {
            ids_.release(tunnel.id(), TunnelIds::Clock::now());
            change.freed.push_back(tunnel.id());
        }
    change.before = std::move(stored);
    enter(std::move(change), plan);
    return {};
}

std::string Catalog::name_of(std::uint32_t subscriber_id) {
    const auto s = subscriber_by_id(subscriber_id);
    return s ? s->name() : std::string("(of this request)");
}

}  // namespace dr::control
