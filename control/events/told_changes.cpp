// Decides which committed changes become events.
#include "control/events/told_changes.h"

#include <google/protobuf/repeated_field.h>

#include <string>

namespace dr::control {
namespace {

constexpr std::uint64_t kMostSites = 100;

bool same_tunnels(const v1::Subscriber& a, const v1::Subscriber& b) {
    if (a.tunnels_size() != b.tunnels_size()) return false;
    for (int i = 0; i < a.tunnels_size(); ++i) {
        const v1::Tunnel& x = a.tunnels(i);
        const v1::Tunnel& y = b.tunnels(i);
        if (x.line() != y.line() || x.id() != y.id() || x.local() != y.local() ||
            x.remote() != y.remote() || x.encapsulation() != y.encapsulation() ||
            x.remote_port() != y.remote_port())
            return false;
    }
    return true;
}

bool same_prefixes(const v1::Subscriber& a, const v1::Subscriber& b) {
    return std::equal(a.prefixes().begin(), a.prefixes().end(), b.prefixes().begin(),
                      b.prefixes().end());
}

// Empty: nothing moves.
std::string what_moves(const CommittedChange& change) {
    const auto* now = std::get_if<v1::Subscriber>(change.object.get());
    if (now == nullptr) return {};
    if (change.deleted) return "deleted, with its router's credentials";
    if (change.before == nullptr) return {};
    const auto& before = std::get<v1::Subscriber>(*change.before);
    std::string what;
    const auto add = [&](bool same, const char* part) {
        if (!same) what += (what.empty() ? "" : ", ") + std::string(part);
    };
    add(before.policy() == now->policy(), "policy");
    add(same_tunnels(before, *now), "tunnels");
    add(same_prefixes(before, *now), "prefixes");
    add(before.hash_seed() == now->hash_seed(), "hash seed");
    return what.empty() ? what : "changed: " + what;
}

}  // namespace

void tell_changes(Journal& journal, const std::vector<CommittedChange>& changes) {
    std::uint64_t sites = 0;
    for (const auto& change : changes) {
        const auto* policy = std::get_if<v1::Policy>(change.object.get());
        if (policy != nullptr && !change.deleted && change.before != nullptr)
            journal.tell(Journal::Level::Info,
                         {kProvisioned, {}, "policy " + policy->name() + " changed", {}, 0, {}});
        const std::string what = what_moves(change);
        if (what.empty() || ++sites > kMostSites) continue;
        const auto& name = std::get<v1::Subscriber>(*change.object).name();
        journal.tell(Journal::Level::Info, {kProvisioned, name, what, {}, 0, {}});
    }
    if (sites > kMostSites)
        journal.tell(Journal::Level::Info, {kProvisioned,
                                            {},
                                            "more sites changed",
                                            {},
                                            sites - kMostSites,
                                            std::to_string(sites - kMostSites)});
}

}  // namespace dr::control
