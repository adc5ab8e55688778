// Keeps all routes of a prefix and installs the one with the lowest metric.
#include "dataplane/ports/route_table.h"

#include <algorithm>

namespace dr {

namespace {

RouteSource source_of(const RouteTarget& target) {
    return target.kind == RouteTarget::Kind::Connected ? RouteSource::Connected
                                                       : RouteSource::Route;
}

// Failures and successes of one retry().
constexpr unsigned kFailures = 32;
constexpr unsigned kSuccesses = 1'024;

// Adds a next hop of an IPv6 route; each next hop has a message of its own.
void join(RouteTarget& route, const RouteTarget& hop) {
    using Kind = RouteTarget::Kind;
    if (hop.kind == Kind::Elsewhere) return;  // a next hop through a port is there, or none
    if (route.kind == Kind::Elsewhere) {
        route = hop;
        return;
    }
    const Via via{hop.port, hop.gateway};
    const bool known = via == Via{route.port, route.gateway} ||
                       std::find(route.more.begin(), route.more.end(), via) != route.more.end();
    if (route.kind == Kind::Gateway && hop.kind == Kind::Gateway && !known)
        route.more.push_back(via);
}

}  // namespace

void RouteTable::set(const IpPrefix& prefix, std::uint32_t metric, const RouteTarget& target,
                     How how, bool several) {
    Prefix& state = prefixes_[prefix];
    const auto at = std::lower_bound(state.entries.begin(), state.entries.end(), metric,
                                     [](const Entry& e, std::uint32_t m) { return e.metric < m; });
    if (at == state.entries.end() || at->metric != metric) {
        const bool more = several || how == How::Append || how == How::Join;
        state.entries.insert(at, Entry{metric, generation_, target, more});
    } else {
        const bool met = at->generation == generation_;
        const bool after = how == How::Append || how == How::Join || (how == How::Dump && met);
        // The first one of a listing replaces the earlier ones.
        const bool known = at->several && (how != How::Dump || met);
        at->several = known || several || after || how == How::Prepend;
        at->generation = generation_;
        if (!after) at->target = target;
        if (how == How::Join) join(at->target, target);
    }
    install(prefix, state);
}

bool RouteTable::has(const IpPrefix& prefix, std::uint32_t metric) const {
    const auto found = prefixes_.find(prefix);
    return found != prefixes_.end() &&
           std::any_of(found->second.entries.begin(), found->second.entries.end(),
                       [&](const Entry& e) { return e.metric == metric; });
}

bool RouteTable::remove(const IpPrefix& prefix, std::uint32_t metric, const RouteTarget& target) {
    const auto found = prefixes_.find(prefix);
    if (found == prefixes_.end()) return true;
    auto& entries = found->second.entries;
    const auto at = std::find_if(entries.begin(), entries.end(),
                                 [&](const Entry& e) { return e.metric == metric; });
    if (at == entries.end()) return true;
    if (at->target != target) return false;
    const bool several = at->several;
    entries.erase(at);
    install(prefix, found->second);
    if (entries.empty()) prefixes_.erase(found);
    return !several;
}

void RouteTable::sweep() {
    for (auto it = prefixes_.begin(); it != prefixes_.end();) {
        auto& entries = it->second.entries;
        const auto removed =
            std::erase_if(entries, [&](const Entry& e) { return e.generation != generation_; });
        if (removed != 0) install(it->first, it->second);
        it = entries.empty() ? prefixes_.erase(it) : std::next(it);
    }
}

void RouteTable::install(const IpPrefix& prefix, Prefix& state) {
    const bool waited = !waiting_.empty() && waiting_.erase(prefix) != 0;
    if (state.entries.empty()) return uninstall(prefix, state);
    const RouteTarget& best = state.entries.front().target;
    if (state.installed && state.target == best) return;

    NextHopIndex next_hop{};
    Target target = Target::discarding(best.discard);
    if (best.kind == RouteTarget::Kind::Connected) target = Target(TargetKind::Glean, best.port);
    if (best.kind == RouteTarget::Kind::Elsewhere) target = Target(TargetKind::Elsewhere, 0);
    if (best.kind == RouteTarget::Kind::Gateway) {
        next_hop = acquire(best);
        target = Target(TargetKind::NextHop, next_hop.value);
    }
    const bool room = best.kind != RouteTarget::Kind::Gateway || next_hop.value != 0;
    const bool moves = state.installed && state.target.kind == RouteTarget::Kind::Connected &&
                       best.kind == RouteTarget::Kind::Connected;
    if (moves && move_connected(prefix, state, target)) {
        state.target = best;
        return;
    }
    // With the same source the new target replaces the old one in place, so that every packet finds
    // one of them.
    if (!room || !rib_.insert(prefix, source_of(best), target)) {
        if (next_hop.value != 0) rib_.release_next_hop(next_hop);
        if (!waited) ++refused_;
        waiting_.insert(prefix);
        return uninstall(prefix, state);
    }
    const bool same_source = state.installed && source_of(state.target) == source_of(best);
    if (same_source)
        release(state);
    else
        uninstall(prefix, state);
    state.installed = true;
    state.target = best;
    state.next_hop = next_hop;
}

void RouteTable::retry() {
    unsigned failures = 0;
    unsigned successes = 0;
    for (std::size_t left = waiting_.size();
         left != 0 && failures < kFailures && successes < kSuccesses; --left) {
        auto at = waiting_.lower_bound(retry_next_);
        if (at == waiting_.end()) at = waiting_.begin();
        const IpPrefix prefix = *at;
        const auto after = std::next(at);
        retry_next_ = after == waiting_.end() ? IpPrefix{} : *after;
        install(prefix, prefixes_[prefix]);
        ++(waiting_.contains(prefix) ? failures : successes);
    }
}

NextHopIndex RouteTable::acquire(const RouteTarget& target) {
    if (target.more.empty()) return rib_.acquire_next_hop(target.port, target.gateway);
    std::vector<Via> all{{target.port, target.gateway}};
    all.insert(all.end(), target.more.begin(), target.more.end());
    return rib_.acquire_group(all);
}

// A connected network that moves to another port. When the claim is removed, the Rib forgets the
// next hops that it has made through the old port. Another claim stands in meanwhile, so that every
// packet finds one.
bool RouteTable::move_connected(const IpPrefix& prefix, Prefix& state, Target target) {
    if (!rib_.insert(prefix, RouteSource::Route, target)) return false;
    rib_.remove(prefix, RouteSource::Connected);
    const bool moved = rib_.insert(prefix, RouteSource::Connected, target);
    rib_.remove(prefix, RouteSource::Route);
    if (!moved) release(state);
    return moved;
}

void RouteTable::uninstall(const IpPrefix& prefix, Prefix& state) {
    if (!state.installed) return;
    rib_.remove(prefix, source_of(state.target));
    release(state);
}

void RouteTable::release(Prefix& state) {
    if (state.next_hop.value != 0) rib_.release_next_hop(state.next_hop);
    state.installed = false;
    state.next_hop = {};
}

}  // namespace dr
