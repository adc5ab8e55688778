// Warnings: input that is accepted, but probably a mistake.
#include <fmt/format.h>

#include <algorithm>

#include "control/model/catalog_plan.h"
#include "control/model/check.h"

namespace dr::control {

std::vector<Violation> Catalog::warnings_of(const v1::Policy& policy) {
    std::vector<Violation> out;
    for (int c = 1; c < policy.classes_size(); ++c)
        out.push_back({fmt::format("policy.classes[{}]", c),
                       fmt::format("no packet is of class \"{}\": all are of the first, \"{}\"",
                                   policy.classes(c).name(), policy.classes(0).name())});
    return out;
}

std::vector<Violation> Catalog::warnings_of(const v1::Subscriber& s,
                                            const CheckedSubscriber& checked,
                                            const v1::Subscriber* before) const {
    std::vector<Violation> out;
    if (s.tunnels().empty())
        out.push_back({"subscriber.tunnels",
                       "there are none, so nothing reaches the site: add a tunnel for each line"});
    for (std::size_t i = 0; i < checked.prefixes.size(); ++i)
        if (!index_.pools().empty() && index_.pool_containing(checked.prefixes[i]) == nullptr)
            out.push_back({fmt::format("subscriber.prefixes[{}]", i),
                           fmt::format("{} is in no pool: is it routed to this DR?",
                                       to_string(checked.prefixes[i]))});
    for (std::size_t i = 0; i < checked.tunnels.size(); ++i) {
        const IpAddress& local = checked.tunnels[i].local;
        if (surroundings_.has_address && local.family != 0 && !surroundings_.has_address(local))
            out.push_back({fmt::format("subscriber.tunnels[{}].local", i),
                           fmt::format("{} is no address of this machine: nothing arrives there",
                                       to_string(local))});
    }
    if (before == nullptr || !surroundings_.is_up) return out;
    for (const auto& old : before->tunnels()) {
        const bool kept = std::any_of(s.tunnels().begin(), s.tunnels().end(),
                                      [&](const auto& t) { return t.line() == old.line(); });
        if (!kept && surroundings_.is_up(old.id()))
            out.push_back({"subscriber.tunnels",
                           fmt::format("the tunnel of line \"{}\" (id {}) was UP, and is removed",
                                       old.line(), old.id())});
    }
    return out;
}

}  // namespace dr::control
