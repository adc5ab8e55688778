#include "ur/routing.h"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <exception>
#include <system_error>

#include "ur/log.h"

namespace dr::ur {

namespace {

constexpr unsigned kLeastIpv6Mtu = 1280;
constexpr std::uint32_t kUnreachableMetric = 0x7fffffff;

std::array<RuleSpec, 4> rules_of(const IpPrefix& prefix) {
    const std::uint8_t family = prefix.address.family;
    std::array<RuleSpec, 4> rules;
    for (unsigned i = 0; i < rules.size(); ++i) {
        const bool own_table = i >= 2;
        rules[i].family = family;
        rules[i].suppress_lines = !own_table;
        rules[i].priority = kPriority + (own_table ? 1 : 0);
        rules[i].table = own_table ? kTable : static_cast<std::uint32_t>(RT_TABLE_MAIN);
        (i % 2 == 0 ? rules[i].from : rules[i].to) = prefix;
    }
    return rules;
}

// Whether `add` had something to add.
template <typename Add>
bool put_back(const Add& add) {
    try {
        add();
        return true;
    } catch (const std::system_error& e) {
        if (e.code().value() != EEXIST) throw;
        return false;
    }
}

}  // namespace

Routing::Routing(Netlink& netlink, int device, Repairs& repairs)
    : netlink_(netlink), repairs_(repairs), device_(device) {
    const unsigned rules = netlink_.flush_rules(kRouteProtocol);
    const unsigned routes = netlink_.flush_routes(kTable, kRouteProtocol);
    if (rules + routes > 0)
        say("removed %u rules and %u routes that a killed run had left", rules, routes);
}

void Routing::set(const std::vector<IpPrefix>& prefixes) {
    const std::set<IpPrefix> wanted(prefixes.begin(), prefixes.end());
    for (const auto& prefix : wanted)
        if (!prefixes_.contains(prefix)) add(prefix);
    const std::set<IpPrefix> before = prefixes_;
    for (const auto& prefix : before)
        if (!wanted.contains(prefix)) remove(prefix);
    // The kernel may take no more routes of a family without prefixes: IPv6 is switched off.
    std::erase_if(families_, [this](std::uint8_t family) {
        return std::none_of(prefixes_.begin(), prefixes_.end(), [&](const IpPrefix& prefix) {
            return prefix.address.family == family;
        });
    });
}

void Routing::set_mtu(unsigned mtu) {
    if (mtu == mtu_) return;
    mtu_ = mtu;
    renew();
}

void Routing::renew() {
    for (const std::uint8_t family : families_) set_default(family, false);
}

void Routing::set_default(std::uint8_t family, bool only_missing) {
    // No IPv6 host takes less for an answer (RFC 8200 §5); TCP's segments fit all the same.
    const unsigned mtu = family == 6 ? std::max(mtu_, kLeastIpv6Mtu) : mtu_;
    netlink_.set_default_route(family, kTable, device_, mtu, kRouteProtocol, only_missing);
}

// The family's default routes are used by nobody until a rule leads to them.
void Routing::open_family(std::uint8_t family) {
    if (families_.contains(family)) return;
    set_default(family, false);
    IpPrefix all;
    all.address.family = family;
    put_back([&] { netlink_.add_unreachable(all, kTable, kUnreachableMetric, kRouteProtocol); });
    families_.insert(family);
}

void Routing::add(const IpPrefix& prefix) {
    open_family(prefix.address.family);
    netlink_.add_unreachable(prefix, kTable, kUnreachableMetric, kRouteProtocol);
    prefixes_.insert(prefix);
    for (const auto& rule : rules_of(prefix)) netlink_.add_rule(rule, kRouteProtocol);
}

void Routing::remove(const IpPrefix& prefix) {
    prefixes_.erase(prefix);
    for (const auto& rule : rules_of(prefix)) netlink_.remove_rule(rule, kRouteProtocol);
    netlink_.remove_unreachable(prefix, kTable, kUnreachableMetric, kRouteProtocol);
}

unsigned Routing::restore_rules() {
    unsigned missing = 0;
    for (const auto& prefix : prefixes_)
        for (const auto& rule : rules_of(prefix))
            if (put_back([&] { netlink_.add_rule(rule, kRouteProtocol); })) ++missing;
    return missing;
}

unsigned Routing::restore_routes() {
    unsigned missing = 0;
    const auto unreachable = [&](const IpPrefix& prefix) {
        if (put_back([&] {
                netlink_.add_unreachable(prefix, kTable, kUnreachableMetric, kRouteProtocol);
            }))
            ++missing;
    };
    for (const auto& prefix : prefixes_) unreachable(prefix);
    for (const std::uint8_t family : families_) {
        IpPrefix all;
        all.address.family = family;
        unreachable(all);
        if (put_back([&] { set_default(family, true); })) ++missing;
    }
    return missing;
}

void Routing::restore() {
    // Routes first: a rule leads to a table that is whole.
    const unsigned routes = restore_routes();
    const unsigned rules = restore_rules();
    const auto note = [this](unsigned missing, const char* what) {
        if (missing > 0)
            repairs_.note(what, std::to_string(missing) + " of urd's " + what +
                                    " had been taken away; put back");
    };
    note(routes, "routes");
    note(rules, "rules");
}

void Routing::remove_all() noexcept {
    try {
        netlink_.flush_rules(kRouteProtocol);
        netlink_.flush_routes(kTable, kRouteProtocol);
    } catch (const std::exception& e) {
        say("warning: %s", e.what());
    }
}

Routing::~Routing() {
    if (!leave_) remove_all();
}

}  // namespace dr::ur
