#include "ur/routing.h"

#include <linux/rtnetlink.h>

#include <cstdio>
#include <exception>

namespace dr::ur {

namespace {

constexpr std::uint32_t kUnreachableMetric = 0x7fffffff;

void add_rules(Netlink& netlink, const IpPrefix& prefix) {
    const std::uint8_t family = prefix.address.family;
    RuleSpec from{family, kPriority, RT_TABLE_MAIN, prefix, std::nullopt, true};
    RuleSpec to{family, kPriority, RT_TABLE_MAIN, std::nullopt, prefix, true};
    for (const bool own_table : {false, true}) {
        for (RuleSpec* rule : {&from, &to}) {
            rule->suppress_default = !own_table;
            rule->priority = kPriority + (own_table ? 1 : 0);
            rule->table = own_table ? kTable : static_cast<std::uint32_t>(RT_TABLE_MAIN);
            netlink.add_rule(*rule, kRouteProtocol);
        }
    }
}

}  // namespace

Routing::Routing(Netlink& netlink, const Config& config, int device) : netlink_(netlink) {
    const unsigned rules = netlink_.flush_rules(kRouteProtocol);
    const unsigned routes = netlink_.flush_routes(kTable, kRouteProtocol);
    if (rules + routes > 0)
        std::fprintf(stderr, "urd: removed %u rules and %u routes that a killed run had left\n",
                     rules, routes);
    try {
        for (const std::uint8_t family : {std::uint8_t{4}, std::uint8_t{6}}) {
            bool any = false;
            for (const auto& prefix : config.prefixes) {
                if (prefix.address.family != family) continue;
                any = true;
                netlink_.add_unreachable(prefix, kTable, kUnreachableMetric, kRouteProtocol);
            }
            if (!any) continue;
            netlink_.add_default_route(family, kTable, device, kRouteProtocol);
            IpPrefix all;
            all.address.family = family;
            netlink_.add_unreachable(all, kTable, kUnreachableMetric, kRouteProtocol);
        }
        for (const auto& prefix : config.prefixes) add_rules(netlink_, prefix);
    } catch (...) {
        remove();
        throw;
    }
}

void Routing::remove() noexcept {
    try {
        netlink_.flush_rules(kRouteProtocol);
        netlink_.flush_routes(kTable, kRouteProtocol);
    } catch (const std::exception& e) {
        std::fprintf(stderr, "urd: warning: %s\n", e.what());
    }
}

Routing::~Routing() {
    remove();
}

}  // namespace dr::ur
