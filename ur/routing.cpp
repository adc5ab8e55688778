// Rules and routes of the site's prefixes.
#include "ur/routing.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <exception>

#include "ur/log.h"

namespace dr::ur {

namespace {

constexpr unsigned kLeastIpv6Mtu = 1280;
constexpr std::uint32_t kUnreachableMetric = 0x7fffffff;

IpPrefix all_of(std::uint8_t family) {
    IpPrefix all;
    all.address.family = family;
    return all;
}

std::array<RuleSpec, 4> rules_of(const IpPrefix& prefix) {
    const std::uint8_t family = prefix.address.family;
    std::array<RuleSpec, 4> rules;
    for (unsigned i = 0; i < rules.size(); ++i) {
        const bool own_table = i >= 2;
        rules[i].family = family;
        rules[i].protocol = kRouteProtocol;
        rules[i].suppress_lines = !own_table;
        rules[i].priority = kPriority + (own_table ? 1 : 0);
        rules[i].table = own_table ? kTable : static_cast<std::uint32_t>(RT_TABLE_MAIN);
        (i % 2 == 0 ? rules[i].from : rules[i].to) = prefix;
    }
    return rules;
}

// Whether a rule has the place of ours: whichever of the two comes first in the kernel has the
// packets.
bool in_place(const RuleSpec& rule, const RuleSpec& ours) {
    return rule.priority == ours.priority && rule.from == ours.from && rule.to == ours.to &&
           rule.family == ours.family;
}

// The same of routes; one with a smaller metric comes before the default route through the device.
bool in_place(const RouteSpec& route, const RouteSpec& ours) {
    return route.to == ours.to && (route.metric == ours.metric ||
                                   (ours.type == RTN_UNICAST && route.metric < ours.metric));
}

// Removes what has the place of ours, and calls `add` where ours is not there.
template <typename Spec, typename Add>
void put_back(Netlink& netlink, const std::vector<Seen<Spec>>& seen, const Spec& ours,
              RoutingDamage& damage, const Add& add) {
    bool there = false, others = false;
    for (const auto& each : seen) {
        if (each.spec == ours) {
            there = true;
        } else if (in_place(each.spec, ours)) {
            netlink.remove(each);
            others = true;
        }
    }
    if (!there) add();
    if (others)
        ++damage.replaced;
    else if (!there)
        ++damage.missing;
}

}  // namespace

std::vector<IpPrefix> Routing::kept(Netlink& netlink) {
    std::set<IpPrefix> out;
    for (const auto& rule : netlink.rules())
        if (rule.spec.protocol == kRouteProtocol && rule.spec.from) out.insert(*rule.spec.from);
    return {out.begin(), out.end()};
}

Routing::Routing(Netlink& netlink, int device, Repairs& repairs)
    : netlink_(netlink), repairs_(repairs), device_(device) {}

void Routing::set(const std::vector<IpPrefix>& prefixes) {
    prefixes_ = {prefixes.begin(), prefixes.end()};
    families_.clear();
    for (const auto& prefix : prefixes_) families_.insert(prefix.address.family);
    // New ones first, and a rule leads to a table that is whole.
    put_back_routes();
    put_back_rules();
    remove_others();
}

void Routing::set_mtu(unsigned mtu) {
    if (mtu == mtu_) return;
    mtu_ = mtu;
    renew();
}

void Routing::renew() {
    for (const std::uint8_t family : families_) set_default(family);
}

void Routing::set_default(std::uint8_t family) {
    // No IPv6 host takes less for an answer (RFC 8200 §5); TCP's segments fit all the same.
    const unsigned mtu = family == 6 ? std::max(mtu_, kLeastIpv6Mtu) : mtu_;
    netlink_.set_default_route(family, kTable, device_, mtu, kRouteProtocol);
}

RouteSpec Routing::unreachable(const IpPrefix& prefix) {
    return {prefix, RTN_UNREACHABLE, kUnreachableMetric, 0, kRouteProtocol};
}

RouteSpec Routing::through_device(std::uint8_t family) const {
    return {all_of(family), RTN_UNICAST, kTunnelMetric, device_, kRouteProtocol};
}

RoutingDamage Routing::put_back_routes() {
    const auto seen = netlink_.routes(kTable);
    RoutingDamage damage;
    const auto keep_unreachable = [&](const IpPrefix& prefix) {
        put_back(netlink_, seen, unreachable(prefix), damage, [&] {
            netlink_.add_unreachable(prefix, kTable, kUnreachableMetric, kRouteProtocol);
        });
    };
    for (const std::uint8_t family : families_) {
        keep_unreachable(all_of(family));
        put_back(netlink_, seen, through_device(family), damage, [&] { set_default(family); });
    }
    for (const auto& prefix : prefixes_) keep_unreachable(prefix);
    return damage;
}

RoutingDamage Routing::put_back_rules() {
    const auto seen = netlink_.rules();
    RoutingDamage damage;
    for (const auto& prefix : prefixes_)
        for (const auto& rule : rules_of(prefix))
            put_back(netlink_, seen, rule, damage, [&] { netlink_.add_rule(rule); });
    return damage;
}

// Of prefixes that are no longer the site's.
void Routing::remove_others() {
    std::vector<RuleSpec> rules;
    std::vector<RouteSpec> routes;
    for (const auto& prefix : prefixes_) {
        for (const auto& rule : rules_of(prefix)) rules.push_back(rule);
        routes.push_back(unreachable(prefix));
    }
    for (const std::uint8_t family : families_) {
        routes.push_back(unreachable(all_of(family)));
        routes.push_back(through_device(family));
    }
    const auto remove = [this](const auto& seen, const auto& wanted) {
        for (const auto& each : seen)
            if (each.spec.protocol == kRouteProtocol &&
                std::find(wanted.begin(), wanted.end(), each.spec) == wanted.end())
                netlink_.remove(each);
    };
    remove(netlink_.rules(), rules);
    remove(netlink_.routes(kTable), routes);
}

void Routing::restore() {
    // Routes first: a rule leads to a table that is whole.
    const RoutingDamage routes = put_back_routes();
    const RoutingDamage rules = put_back_rules();
    const auto note = [this](const RoutingDamage& damage, const std::string& what) {
        if (damage.missing > 0)
            repairs_.note(what, std::to_string(damage.missing) + " of urd's " + what +
                                    " had been taken away; put back");
        if (damage.replaced > 0)
            repairs_.note(what + " replaced", std::to_string(damage.replaced) + " of urd's " +
                                                  what +
                                                  " had another in their place; that is removed, "
                                                  "and urd's put back");
    };
    note(routes, "routes");
    note(rules, "rules");
}

void Routing::remove_all() noexcept {
    try {
        prefixes_.clear();
        families_.clear();
        remove_others();
    } catch (const std::exception& e) {
        say("warning: %s", e.what());
    }
}

Routing::~Routing() {
    if (!leave_) remove_all();
}

}  // namespace dr::ur
