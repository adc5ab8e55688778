// Judging requests: references, uniqueness, revisions.
#include "control/model/catalog_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "control/model/check.h"
#include "control/model/secrets.h"

namespace dr::control {
namespace {

using Mode = Request::Mode;
using FK = Findings::Kind;

constexpr std::array<const char*, kKinds> kKindNames{"pool", "policy", "subscriber"};

Failure failure(Code code, std::string message) {
    return {code, std::move(message), {}, false};
}

// Whether the mode and the asked-for revision agree with what is stored.
Failure check_presence(Mode mode, Kind kind, const std::string& name, std::int64_t asked,
                       const std::int64_t* stored) {
    if (mode == Mode::Create && stored != nullptr)
        return failure(Code::AlreadyExists,
                       fmt::format("{}/{} exists; use update", kind_name(kind), name));
    if ((mode == Mode::Update || mode == Mode::Delete) && stored == nullptr)
        return failure(Code::NotFound, fmt::format("{}/{} does not exist", kind_name(kind), name));
    if (asked != 0 && mode != Mode::Create && stored == nullptr)
        return failure(Code::Aborted, fmt::format("{}/{}: revision {} is asked for, but it does "
                                                  "not exist; create it with revision 0",
                                                  kind_name(kind), name, asked));
    if (asked != 0 && stored != nullptr && asked != *stored)
        return failure(Code::Aborted,
                       fmt::format("{}/{}: revision {} is asked for, but the stored one is {}; get "
                                   "it again",
                                   kind_name(kind), name, asked, *stored));
    return {};
}

bool same_bytes(const google::protobuf::MessageLite& a, const google::protobuf::MessageLite& b) {
    return a.SerializeAsString() == b.SerializeAsString();
}

bool keyed(const v1::Subscriber& s) {
    return std::any_of(s.tunnels().begin(), s.tunnels().end(), has_keepalives);
}

const v1::Tunnel* tunnel_of_line(const v1::Subscriber& s, const std::string& line) {
    for (const auto& tunnel : s.tunnels())
        if (tunnel.line() == line) return &tunnel;
    return nullptr;
}

}  // namespace

const char* kind_name(Kind kind) {
    return kKindNames[static_cast<std::size_t>(kind)];
}

Object parse_object(Kind kind, std::string_view bytes) {
    const auto parse = [&](auto message) -> Object {
        if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
            throw StoreError(
                fmt::format("store: an object of kind {} cannot be read", kind_name(kind)));
        return message;
    };
    if (kind == Kind::Pool) return parse(v1::Pool{});
    if (kind == Kind::Policy) return parse(v1::Policy{});
    return parse(v1::Subscriber{});
}

Failure Catalog::plan(Request& request, Plan& plan, Result& result) {
    if (request.mode == Mode::Delete) return plan_delete(request.object, plan, result);
    switch (kind_of(request.object)) {
        case Kind::Pool:
            return plan_pool(request, plan, result);
        case Kind::Policy:
            return plan_policy(request, plan, result);
        case Kind::Subscriber:
            return plan_subscriber(request, plan, result);
    }
    return failure(Code::Internal, "unknown kind of object");
}

Failure Catalog::plan_pool(Request& request, Plan& plan, Result& result) {
    v1::Pool pool = std::get<v1::Pool>(request.object);
    Findings findings;
    const Prefix prefix = check_pool(pool, findings);
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
    result.object = pool;
    if (before != nullptr && same_bytes(before->object, pool)) {
        result.outcome = Result::Outcome::Unchanged;
        return {};
    }
    Change change;
    change.kind = Kind::Pool;
    change.id = before != nullptr ? before->id : meta_.next_id++;
    if (before != nullptr) change.before = before->object;
    pool.set_revision(++meta_.revision);
    result.object = pool;
    result.outcome = before != nullptr ? Result::Outcome::Updated : Result::Outcome::Created;
    change.after = std::move(pool);
    enter(std::move(change), plan);
    return {};
}

void Catalog::judge_pool_change(const PoolEntry* before, const v1::Pool& pool, const Prefix& prefix,
                                Findings& findings) {
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
    if (const std::string nested = endpoint_inside(prefix); !nested.empty())
        findings.add(FK::InUse, "pool.prefix",
                     fmt::format("{} contains {}; a tunnel's end inside a pool would nest",
                                 pool.prefix(), nested));
}

std::string Catalog::endpoint_inside(const Prefix& prefix) {
    std::string found;
    if (index_.rows()[static_cast<std::size_t>(southbound::Table::Tunnels)] == 0) return found;
    const auto look = [&](const v1::Subscriber& s) {
        for (const auto& tunnel : s.tunnels())
            for (const auto& end : {tunnel.local(), tunnel.remote()})
                if (const auto address = parse_address(end); address && prefix.contains(*address))
                    found = fmt::format(
                        "{}, an end of the tunnel of subscriber \"{}\" on line "
                        "\"{}\"",
                        end, s.name(), tunnel.line());
        return found.empty();
    };
    // Everything that is in the index is either in the store or given by the operator just now;
    // reading all tunnels is what a rare operation may cost instead of an index of all endpoints.
    store_.snapshot()->for_each(Kind::Subscriber, [&](std::uint32_t, std::string_view bytes) {
        return look(std::get<v1::Subscriber>(parse_object(Kind::Subscriber, bytes)));
    });
    return found;
}

Failure Catalog::plan_policy(Request& request, Plan& plan, Result& result) {
    v1::Policy policy = std::get<v1::Policy>(request.object);
    Findings findings;
    check_policy(policy, findings);
    if (!findings.empty()) return findings.failure();
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
    result.object = policy;
    if (before != nullptr && same_bytes(before->object, policy)) {
        result.outcome = Result::Outcome::Unchanged;
        return {};
    }
    Change change;
    change.kind = Kind::Policy;
    change.id = before != nullptr ? before->id : meta_.next_id++;
    if (before != nullptr) change.before = before->object;
    policy.set_revision(++meta_.revision);
    result.object = policy;
    result.outcome = before != nullptr ? Result::Outcome::Updated : Result::Outcome::Created;
    change.after = std::move(policy);
    enter(std::move(change), plan);
    return {};
}

void Catalog::judge_references(const v1::Subscriber& s, const std::vector<Prefix>& prefixes,
                               const std::vector<Address>& ends, std::uint32_t id,
                               Findings& findings) {
    const PolicyEntry* policy = Index::find(index_.policies(), s.policy());
    if (policy == nullptr)
        findings.add(FK::Reference, "subscriber.policy",
                     fmt::format("policy \"{}\" does not exist", s.policy()));
    for (std::size_t i = 0; i < prefixes.size(); ++i) {
        const std::string field = fmt::format("subscriber.prefixes[{}]", i);
        if (const auto other = index_.overlapping(prefixes[i], id))
            findings.invalid(
                field, fmt::format("{} overlaps {} of subscriber \"{}\"", to_string(prefixes[i]),
                                   to_string(other->prefix), name_of(other->subscriber)));
        const PoolEntry* pool = index_.pool_overlapping(prefixes[i], {});
        if (pool != nullptr && !pool->prefix.contains(prefixes[i]))
            findings.invalid(
                field,
                fmt::format("{} reaches beyond pool \"{}\" ({}); a prefix lies inside one "
                            "pool or outside all",
                            to_string(prefixes[i]), pool->object.name(), pool->object.prefix()));
    }
    for (int i = 0; i < s.tunnels_size(); ++i) {
        const auto& tunnel = s.tunnels(i);
        if (policy != nullptr && !policy->has_line(tunnel.line()))
            findings.add(
                FK::Reference, fmt::format("subscriber.tunnels[{}].line", i),
                fmt::format("policy \"{}\" has no line \"{}\"", s.policy(), tunnel.line()));
        for (const bool local : {true, false}) {
            const Address& end = ends[static_cast<std::size_t>(i) * 2 + (local ? 0 : 1)];
            if (end.family == 0) continue;
            const Prefix host{end, static_cast<std::uint8_t>(end.bits())};
            if (const auto* pool = index_.pool_containing(host))
                findings.invalid(
                    fmt::format("subscriber.tunnels[{}].{}", i, local ? "local" : "remote"),
                    fmt::format("{} is inside pool \"{}\" ({}); a tunnel would nest",
                                to_string(end), pool->object.name(), pool->object.prefix()));
        }
    }
}

void Catalog::judge_ids(const v1::Subscriber& s, std::uint32_t id, Findings& findings) {
    for (int i = 0; i < s.tunnels_size(); ++i) {
        if (!s.tunnels(i).has_id()) continue;
        const std::uint32_t slot = TunnelIds::slot(s.tunnels(i).id());
        if (slot >= ids_.capacity())
            findings.invalid(
                fmt::format("subscriber.tunnels[{}].id", i),
                fmt::format("slot {} (low 24 bits of {}) is beyond the data plane's tunnels; it "
                            "must be below {}",
                            slot, s.tunnels(i).id(), ids_.capacity()));
        const std::uint32_t owner = ids_.owner(s.tunnels(i).id());
        if (owner != 0 && owner != id)
            findings.invalid(
                fmt::format("subscriber.tunnels[{}].id", i),
                fmt::format("slot {} (low 24 bits of {}) belongs to subscriber \"{}\"",
                            TunnelIds::slot(s.tunnels(i).id()), s.tunnels(i).id(), name_of(owner)));
    }
}

Failure Catalog::plan_subscriber(Request& request, Plan& plan, Result& result) {
    // The request is kept as it came: a refused batch is repeated one by one.
    v1::Subscriber s = std::get<v1::Subscriber>(request.object);
    Findings findings;
    const CheckedSubscriber checked = check_subscriber(s, findings);
    if (!findings.empty()) return findings.failure();

    const SubscriberEntry* entry = Index::find(index_.subscribers(), s.name());
    std::optional<v1::Subscriber> before;
    if (entry != nullptr) {
        const Change* pending = plan.find(Kind::Subscriber, s.name());
        if (pending != nullptr && pending->after)
            before = std::get<v1::Subscriber>(*pending->after);
        else
            before = subscriber_by_id(entry->id);
        if (!before)
            return failure(Code::Internal, "subscriber/" + s.name() + ": lost in the store");
    }
    const std::int64_t stored = before ? before->revision() : 0;
    if (auto f = check_presence(request.mode, Kind::Subscriber, s.name(), s.revision(),
                                before ? &stored : nullptr);
        !f.ok())
        return f;

    std::vector<Address> ends;
    for (const auto& tunnel : checked.tunnels) {
        ends.push_back(tunnel.local);
        ends.push_back(tunnel.remote);
    }
    const std::uint32_t id = before ? before->id() : 0;
    judge_references(s, checked.prefixes, ends, id, findings);
    judge_ids(s, id, findings);
    if (!findings.empty()) return findings.failure();

    // A line keeps its id as long as it has a tunnel, unless that slot is now given to another
    // line.
    for (auto& tunnel : *s.mutable_tunnels()) {
        const v1::Tunnel* old = before ? tunnel_of_line(*before, tunnel.line()) : nullptr;
        if (old != nullptr && has_keepalives(tunnel)) tunnel.set_key_number(old->key_number());
        if (tunnel.has_id() || old == nullptr) continue;
        bool free = TunnelIds::slot(old->id()) < ids_.capacity();
        for (const auto& other : s.tunnels())
            if (other.has_id() && TunnelIds::slot(other.id()) == TunnelIds::slot(old->id()))
                free = false;
        if (free) tunnel.set_id(old->id());
    }
    s.set_revision(stored);
    s.set_id(id);
    if (before && !request.rotate_keys && same_bytes(*before, s)) {
        result.object = std::move(s);
        result.outcome = Result::Outcome::Unchanged;
        return {};
    }

    Change change;
    change.kind = Kind::Subscriber;
    change.id = before ? id : meta_.next_id++;
    s.set_id(change.id);
    result.outcome = before ? Result::Outcome::Updated : Result::Outcome::Created;
    if (before) change.before = std::move(*before);
    change.after = std::move(s);
    if (!assign_ids(change))
        return failure(Code::ResourceExhausted,
                       fmt::format("no tunnel id is free: all {} slots of the data plane are used, "
                                   "or resting for {} s after a deletion; use fewer tunnels, or "
                                   "raise capacity.tunnels of the data plane",
                                   ids_.capacity() - 1, TunnelIds::kQuarantine.count()));
    auto& after = std::get<v1::Subscriber>(*change.after);
    if (keyed(after) || (change.before && keyed(std::get<v1::Subscriber>(*change.before)))) {
        change.secrets = secrets_before(change, plan);
        assign_keys(after, *change.secrets, request.rotate_keys);
    }
    after.set_revision(++meta_.revision);
    result.object = *change.after;
    enter(std::move(change), plan);
    return {};
}

store::Secrets Catalog::secrets_before(const Change& change, const Plan& plan) {
    if (!change.before) return {};
    const Change* pending = plan.find(Kind::Subscriber, name_of_object(*change.before));
    if (pending != nullptr && pending->secrets) return *pending->secrets;
    return secrets_of(change.id);
}

bool Catalog::assign_ids(Change& change) {
    auto& s = std::get<v1::Subscriber>(*change.after);
    const auto now = TunnelIds::Clock::now();
    const auto take = [&](std::uint32_t id) {
        (ids_.resting(id) ? change.reused : change.taken).push_back(id);
        ids_.take(id, change.id);
    };
    for (const auto& tunnel : s.tunnels())
        if (tunnel.has_id() && ids_.owner(tunnel.id()) == 0) take(tunnel.id());
    for (auto& tunnel : *s.mutable_tunnels()) {
        if (tunnel.has_id()) continue;
        const auto id = ids_.pick(now);
        if (!id) {
            release_ids(change);
            return false;
        }
        tunnel.set_id(*id);
        take(*id);
    }
    if (!change.before) return true;
    for (const auto& old : std::get<v1::Subscriber>(*change.before).tunnels()) {
        const bool kept = std::any_of(s.tunnels().begin(), s.tunnels().end(), [&](const auto& t) {
            return TunnelIds::slot(t.id()) == TunnelIds::slot(old.id());
        });
        if (kept) continue;
        ids_.release(old.id(), now);
        change.freed.push_back(old.id());
    }
    return true;
}

void Catalog::release_ids(const Change& change) {
    const auto now = TunnelIds::Clock::now();
    for (const std::uint32_t id : change.taken) ids_.forget(id);
    for (const std::uint32_t id : change.reused) ids_.release(id, now);
    for (const std::uint32_t id : change.freed) ids_.take(id, change.id);
}

Failure Catalog::plan_delete(const Object& object, Plan& plan, Result& result) {
    const Kind kind = kind_of(object);
    const std::string name = name_of_object(object);
    std::optional<Object> stored;
    std::uint32_t id = 0;
    Findings findings;
    const std::string field = kind_name(kind);
    if (kind == Kind::Pool) {
        if (const auto* pool = Index::find(index_.pools(), name)) {
            stored = pool->object;
            id = pool->id;
            if (const auto used = index_.inside_but_not(pool->prefix, nullptr))
                findings.add(FK::InUse, field + ".name",
                             fmt::format("pool \"{}\" holds {} of subscriber \"{}\"; delete that "
                                         "first",
                                         name, to_string(used->prefix), name_of(used->subscriber)));
        }
    } else if (kind == Kind::Policy) {
        if (const auto* policy = Index::find(index_.policies(), name)) {
            stored = policy->object;
            id = policy->id;
            if (policy->subscribers > 0)
                findings.add(FK::InUse, field + ".name",
                             fmt::format("policy \"{}\" is in use by {} subscribers", name,
                                         policy->subscribers));
        }
    } else if (const auto* subscriber = Index::find(index_.subscribers(), name)) {
        id = subscriber->id;
        const Change* pending = plan.find(kind, name);
        if (pending != nullptr && pending->after)
            stored = *pending->after;
        else if (auto s = subscriber_by_id(id))
            stored = std::move(*s);
        else
            return failure(Code::Internal, "subscriber/" + name + ": lost in the store");
    }
    const auto revision_of = [](const auto& o) { return o.revision(); };
    const std::int64_t asked = std::visit(revision_of, object);
    const std::int64_t revision = stored ? std::visit(revision_of, *stored) : 0;
    if (auto f = check_presence(Mode::Delete, kind, name, asked, stored ? &revision : nullptr);
        !f.ok())
        return f;
    if (!findings.empty()) return findings.failure();
    ++meta_.revision;
    result.object = *stored;
    result.outcome = Result::Outcome::Deleted;
    Change change;
    change.kind = kind;
    change.id = id;
    if (kind == Kind::Subscriber)
        for (const auto& tunnel : std::get<v1::Subscriber>(*stored).tunnels()) {
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
