// Judges a subscriber: its references, its conflicts with others, and its tunnels' ids.
#include <fmt/format.h>

#include <algorithm>

#include "control/model/catalog_plan.h"
#include "control/model/check.h"
#include "control/model/secrets.h"

namespace dr::control {
namespace {

using FK = Findings::Kind;

bool keyed(const v1::Subscriber& s) {
    return std::any_of(s.tunnels().begin(), s.tunnels().end(), has_keepalives);
}

const v1::Tunnel* tunnel_of_line(const v1::Subscriber& s, const std::string& line) {
    for (const auto& tunnel : s.tunnels())
        if (tunnel.line() == line) return &tunnel;
    return nullptr;
}

}  // namespace

// Packets to an end of a tunnel that is inside a site's prefix would go into that site's tunnel.
void Catalog::judge_ends(const CheckedSubscriber& checked, std::uint32_t id,
                         const v1::Subscriber* before, Findings& findings) {
    std::vector<IpAddress> own;
    if (before != nullptr)
        for (const auto& tunnel : before->tunnels())
            for (const auto& text : {tunnel.local(), tunnel.remote()})
                if (const auto end = parse_address(text)) own.push_back(*end);
    for (std::size_t i = 0; i < checked.prefixes.size(); ++i) {
        const IpPrefix& prefix = checked.prefixes[i];
        const std::string field = fmt::format("subscriber.prefixes[{}]", i);
        if (auto end = index_.end_inside(prefix, own)) {
            if (end->subscriber == id) end->subscriber = 0;  // it is another's too
            findings.invalid(field, fmt::format("{} holds {}; a tunnel's ends must lie outside",
                                                to_string(prefix), end_text(*end)));
        }
        if (const auto end = learned_ ? learned_(prefix) : std::nullopt)
            findings.invalid(
                field, fmt::format("{} holds {}, where a tunnel of subscriber \"{}\" "
                                   "ends now; a tunnel's ends must lie outside",
                                   to_string(prefix), to_string(end->first), name_of(end->second)));
        for (const auto& [address, what] : reserved_)
            if (prefix.contains(address))
                findings.invalid(field, fmt::format("{} holds {}, {}; it must lie outside",
                                                    to_string(prefix), to_string(address), what));
    }
    for (std::size_t i = 0; i < checked.tunnels.size(); ++i)
        for (const bool local : {true, false}) {
            const IpAddress& end = local ? checked.tunnels[i].local : checked.tunnels[i].remote;
            if (end.family == 0) continue;
            const IpPrefix host{end, static_cast<std::uint8_t>(end.bits())};
            if (const auto owner = index_.overlapping(host, id))
                findings.invalid(
                    fmt::format("subscriber.tunnels[{}].{}", i, local ? "local" : "remote"),
                    fmt::format("{} is inside {} of subscriber \"{}\"; a tunnel's ends must lie "
                                "outside the sites' prefixes",
                                to_string(end), to_string(owner->prefix),
                                name_of(owner->subscriber)));
        }
}

void Catalog::judge_references(const v1::Subscriber& s, const CheckedSubscriber& checked,
                               std::uint32_t id, Findings& findings) {
    const std::vector<IpPrefix>& prefixes = checked.prefixes;
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
            const Endpoints& ends = checked.tunnels[static_cast<std::size_t>(i)];
            const IpAddress& end = local ? ends.local : ends.remote;
            if (end.family == 0) continue;
            const IpPrefix host{end, static_cast<std::uint8_t>(end.bits())};
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

Failure Catalog::find_subscriber(const std::string& name, const Plan& plan,
                                 std::shared_ptr<const Object>& found) {
    const SubscriberEntry* entry = Index::find(index_.subscribers(), name);
    if (entry == nullptr) return {};
    if (const Change* pending = plan.find(Kind::Subscriber, name))
        found = pending->after;
    else if (auto stored = subscriber_by_id(entry->id))
        found = std::make_shared<const Object>(*std::move(stored));
    if (found) return {};
    return make_failure(Code::Internal, "subscriber/" + name + ": lost in the store");
}

Failure Catalog::plan_subscriber(const Request& request, Plan& plan, Result& result) {
    // The request stays unchanged: a refused batch is repeated one by one.
    v1::Subscriber s = subscriber_in(request.object);
    // An operation on keys contains the stored object, which is not judged again: a conflict that
    // arose since must not keep a stolen key or certificate alive.
    const bool judged = request.keys == Request::Keys::Keep;
    Findings findings;
    const CheckedSubscriber checked = judged ? check_subscriber(s, findings) : CheckedSubscriber{};
    if (!findings.empty()) return findings.failure();

    Change change;
    change.kind = Kind::Subscriber;
    if (auto f = find_subscriber(s.name(), plan, change.before); !f.ok()) return f;
    const v1::Subscriber* before = change.before ? &subscriber_in(*change.before) : nullptr;
    const std::int64_t stored = before != nullptr ? before->revision() : 0;
    if (auto f = check_presence(request.mode, Kind::Subscriber, s.name(), s.revision(),
                                before != nullptr ? &stored : nullptr);
        !f.ok())
        return f;
    const std::uint32_t id = before != nullptr ? before->id() : 0;
    if (judged) {
        judge_references(s, checked, id, findings);
        judge_ends(checked, id, before, findings);
        judge_ids(s, id, findings);
        if (!findings.empty()) return findings.failure();
        result.warnings = warnings_of(s, checked, before);
    }

    s.set_revision(stored);
    s.set_id(id);
    if (before != nullptr) {
        if (request.keys == Request::Keys::Revoke)
            renew_ids(s);
        else
            keep_numbers(s, *before);
        if (request.keys == Request::Keys::Keep && same_bytes(*before, s)) {
            index_.lower_prefixes(record_of(*before));  // of an atomic set
            result.object = change.before;
            result.outcome = Result::Outcome::Unchanged;
            return {};
        }
    }
    change.id = before != nullptr ? id : meta_.next_id++;
    s.set_id(change.id);
    if (!assign_ids(s, change))
        return make_failure(
            Code::ResourceExhausted,
            fmt::format("no tunnel id is free: all {} slots of the data plane are used, or resting "
                        "for {} s after a deletion; use fewer tunnels, or raise capacity.tunnels "
                        "of the data plane",
                        ids_.capacity() - 1, TunnelIds::kQuarantine.count()));
    const bool revoke = request.keys == Request::Keys::Revoke;
    if (revoke || keyed(s) || (before != nullptr && keyed(*before))) {
        change.secrets = secrets_before(change, plan);
        assign_keys(s, *change.secrets, request.keys == Request::Keys::Rotate);
        if (revoke) {
            change.secrets->clear_certificates();
            change.secrets->set_enrolled_only(true);
            change.secrets->set_revoked_us(wall_clock_us());
        }
    }
    s.set_revision(++meta_.revision);
    change.after = std::make_shared<const Object>(std::move(s));
    result.object = change.after;
    result.outcome = before != nullptr ? Result::Outcome::Updated : Result::Outcome::Created;
    enter(std::move(change), plan);
    return {};
}

// A tunnel with keys becomes a new tunnel in its own slot: the next generation, without an endpoint
// and with a new key.
void Catalog::renew_ids(v1::Subscriber& s) {
    for (auto& tunnel : *s.mutable_tunnels())
        if (has_keepalives(tunnel)) tunnel.set_id(TunnelIds::next_generation(tunnel.id()));
}

// A line keeps its tunnel's id and key as long as it has a tunnel, unless that slot is now given
// to another line.
void Catalog::keep_numbers(v1::Subscriber& s, const v1::Subscriber& before) {
    for (auto& tunnel : *s.mutable_tunnels()) {
        const v1::Tunnel* old = tunnel_of_line(before, tunnel.line());
        if (old == nullptr) continue;
        if (has_keepalives(tunnel)) tunnel.set_key_number(old->key_number());
        if (tunnel.has_id()) continue;
        bool free = TunnelIds::slot(old->id()) < ids_.capacity();
        for (const auto& other : s.tunnels())
            if (other.has_id() && TunnelIds::slot(other.id()) == TunnelIds::slot(old->id()))
                free = false;
        if (free) tunnel.set_id(old->id());
    }
}

store::Secrets Catalog::secrets_before(const Change& change, const Plan& plan) {
    if (!change.before) return {};
    const Change* pending = plan.find(Kind::Subscriber, name_of_object(*change.before));
    if (pending != nullptr && pending->secrets) return *pending->secrets;
    return secrets_of(change.id);
}

bool Catalog::assign_ids(v1::Subscriber& s, Change& change) {
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
    for (const auto& old : subscriber_in(*change.before).tunnels()) {
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

}  // namespace dr::control
