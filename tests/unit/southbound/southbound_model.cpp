#include "tests/unit/southbound/southbound_model.h"

#include <algorithm>

#include "dataplane/southbound/codec.h"
#include "dataplane/writer/tunnel_row.h"

namespace dr::southbound::test {
namespace {

using Raw = std::vector<std::uint8_t>;

template <typename View>
bool read(const Raw& raw, View* view) {
    std::string why;
    return decode(Bytes(raw), view, &why);
}

Target look_up(const Tables& tables, const IpAddress& address) {
    return address.family == 4 ? tables.lpm4->lookup(address.bytes.data())
                               : tables.lpm6->lookup(address.bytes.data());
}

std::string name_of(const LineRecord& line) {
    return std::string(text_of(line.name));
}

// The line names that flows of a class may go to, for a subscriber with these lines.
std::set<std::string> best_tier(const PolicyView& policy, unsigned wanted_class,
                                const std::set<std::string>& lines) {
    std::set<std::string> best;
    unsigned best_tier = 256;
    for (std::size_t i = 0; i < policy.lines.size(); ++i) {
        const LineRecord line = policy.lines[i];
        if (line.class_number != wanted_class || !lines.contains(name_of(line))) continue;
        if (line.tier > best_tier) continue;
        best_tier = line.tier;
        best.insert(name_of(line));
    }
    return best;
}

using Rows = std::map<std::uint32_t, Raw>;

std::size_t missing(const Rows& old, const Rows& rows) {
    return static_cast<std::size_t>(std::count_if(
        old.begin(), old.end(), [&](const auto& row) { return !rows.contains(row.first); }));
}

std::set<IpPrefix> prefixes(const Rows& subscribers) {
    std::set<IpPrefix> prefixes;
    for (const auto& [id, raw] : subscribers) {
        SubscriberView view;
        if (!read(raw, &view)) continue;
        for (std::size_t i = 0; i < view.prefixes.size(); ++i)
            prefixes.insert(prefix_of(view.prefixes[i]));
    }
    return prefixes;
}

std::size_t missing_prefixes(const Rows& old, const Rows& rows) {
    const std::set<IpPrefix> before = prefixes(old);
    const std::set<IpPrefix> after = prefixes(rows);
    return static_cast<std::size_t>(std::count_if(
        before.begin(), before.end(), [&](const auto& p) { return !after.contains(p); }));
}

std::size_t tunnels(const Rows& subscribers) {
    std::size_t count = 0;
    for (const auto& [id, raw] : subscribers) {
        SubscriberView view;
        if (read(raw, &view)) count += view.tunnels.size();
    }
    return count;
}

}  // namespace

bool Model::consistent(const State& state) const {
    std::set<IpPrefix> pool_prefixes;
    for (const auto& [id, raw] : state.pools) {
        PoolView view;
        if (!read(raw, &view) || !pool_prefixes.insert(view.prefix).second) return false;
    }
    std::set<IpPrefix> prefixes;
    std::set<std::uint32_t> slots;
    for (const auto& [id, raw] : state.subscribers) {
        SubscriberView view;
        if (!read(raw, &view) || !state.policies.contains(view.record.policy)) return false;
        for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
            if (!prefixes.insert(prefix_of(view.prefixes[i])).second) return false;
        }
        for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
            if (!slots.insert(TunnelId{view.tunnels[i].id}.slot()).second) return false;
        }
    }
    return true;
}

// Would lose most subscribers, or all.
bool Model::guarded(const State& next) const {
    const std::size_t gone = missing(state_.subscribers, next.subscribers);
    const std::size_t live = state_.subscribers.size();
    return (live >= 10 && gone * 2 > live) || (live >= 1 && gone == live) || guarded_in_sync(next);
}

// Would have lost most of what there was when the sync began.
bool Model::guarded_in_sync(const State& next) const {
    if (!syncing_) return false;
    const auto most = [](std::size_t gone, std::size_t of) { return of >= 10 && gone > of / 2; };
    const auto more = [&](std::size_t before, std::size_t now, std::size_t of) {
        return now != 0 && most(before + now, of);
    };
    const std::size_t left = tunnels(next.subscribers);
    return more(gone_.pools, missing(state_.pools, next.pools), before_.pools) ||
           more(gone_.policies, missing(state_.policies, next.policies), before_.policies) ||
           more(gone_.subscribers, missing(state_.subscribers, next.subscribers),
                before_.subscribers) ||
           more(gone_.prefixes, missing_prefixes(state_.subscribers, next.subscribers),
                before_.prefixes) ||
           (left < tunnels(state_.subscribers) && left < before_.tunnels &&
            most(before_.tunnels - left, before_.tunnels));
}

void Model::accept(State next, bool force) {
    if (syncing_) {
        const auto count = [&](std::size_t& before, std::size_t& gone, const Rows& old,
                               const Rows& rows) {
            if (force)
                before -= std::min(before, missing(old, rows));
            else
                gone += missing(old, rows);
        };
        count(before_.pools, gone_.pools, state_.pools, next.pools);
        count(before_.policies, gone_.policies, state_.policies, next.policies);
        count(before_.subscribers, gone_.subscribers, state_.subscribers, next.subscribers);
        const std::size_t moved = missing_prefixes(state_.subscribers, next.subscribers);
        if (force)
            before_.prefixes -= std::min(before_.prefixes, moved);
        else
            gone_.prefixes += moved;
        if (force) before_.tunnels = std::min(before_.tunnels, tunnels(next.subscribers));
    }
    state_ = std::move(next);
}

bool Model::commit(const Transaction& transaction, bool force) {
    State next = state_;
    Marks marks = marks_;
    for (std::size_t i = 0; i < transaction.size(); ++i) {
        const Raw raw(transaction.body(i).begin(), transaction.body(i).end());
        PoolView pool;
        PolicyView policy;
        SubscriberView subscriber;
        DeleteRecord gone;
        switch (transaction.type(i)) {
            case Type::UpsertPool:
                if (!read(raw, &pool)) return false;
                next.pools[pool.id] = raw;
                marks.pools.insert(pool.id);
                break;
            case Type::UpsertPolicy:
                if (!read(raw, &policy)) return false;
                next.policies[policy.id] = raw;
                marks.policies.insert(policy.id);
                break;
            case Type::UpsertSubscriber:
                if (!read(raw, &subscriber)) return false;
                next.subscribers[subscriber.record.id] = raw;
                marks.subscribers.insert(subscriber.record.id);
                break;
            default:
                if (!read(raw, &gone)) return false;
                if (transaction.type(i) == Type::DeletePool) next.pools.erase(gone.id);
                if (transaction.type(i) == Type::DeletePolicy) next.policies.erase(gone.id);
                if (transaction.type(i) == Type::DeleteSubscriber) next.subscribers.erase(gone.id);
        }
    }
    if (!consistent(next) || (!force && guarded(next))) return false;
    accept(std::move(next), force);
    marks_ = std::move(marks);
    return true;
}

void Model::sync_begin() {
    marks_ = {};
    if (syncing_) return;
    syncing_ = true;
    before_ = {state_.pools.size(), state_.policies.size(), state_.subscribers.size(),
               tunnels(state_.subscribers), prefixes(state_.subscribers).size()};
    gone_ = {};
}

bool Model::sync_end(bool force) {
    State next = state_;
    const auto sweep = [](auto& rows, const auto& marked) {
        std::erase_if(rows, [&](const auto& row) { return !marked.contains(row.first); });
    };
    sweep(next.pools, marks_.pools);
    sweep(next.policies, marks_.policies);
    sweep(next.subscribers, marks_.subscribers);
    if (!consistent(next) || (!force && guarded(next))) return false;
    accept(std::move(next), force);
    syncing_ = false;
    return true;
}

// By longest match over all subscribers' prefixes; 0: none.
std::uint32_t Model::owner(const IpAddress& address) const {
    std::uint32_t owner = 0;
    int longest = -1;
    for (const auto& [id, raw] : state_.subscribers) {
        SubscriberView view;
        if (!read(raw, &view)) continue;
        for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
            const IpPrefix prefix = prefix_of(view.prefixes[i]);
            if (prefix.length <= longest || !prefix.contains(address)) continue;
            longest = prefix.length;
            owner = id;
        }
    }
    return owner;
}

std::string Model::compare_counts(const Tables& tables, const TableWriter& writer) const {
    southbound::State reported{};
    writer.fill(&reported);
    const std::array<const std::map<std::uint32_t, Raw>*, 3> kinds{&state_.pools, &state_.policies,
                                                                   &state_.subscribers};
    for (std::size_t k = 0; k < kinds.size(); ++k) {
        std::uint64_t digest = 0;
        for (const auto& [id, raw] : *kinds[k]) digest += record_digest(raw.data(), raw.size());
        const std::string kind = kTableNames[k];
        if (reported.rows[k] != kinds[k]->size()) return "count of " + kind;
        if (reported.digest[k] != digest) return "digest of " + kind;
    }
    std::set<IpPrefix> prefixes;
    std::uint32_t tunnels = 0;
    for (const auto& [id, raw] : state_.pools) {
        PoolView view;
        if (read(raw, &view)) prefixes.insert(view.prefix);
    }
    for (const auto& [id, raw] : state_.subscribers) {
        SubscriberView view;
        if (!read(raw, &view)) continue;
        tunnels += view.record.tunnels;
        for (std::size_t i = 0; i < view.prefixes.size(); ++i)
            prefixes.insert(prefix_of(view.prefixes[i]));
    }
    if (reported.rows[static_cast<std::size_t>(Table::Tunnels)] != tunnels)
        return "count of tunnels";
    if (tables.lpm4->size() + tables.lpm6->size() != prefixes.size()) return "count of prefixes";
    std::uint32_t published = 0;
    for (std::uint32_t slot = 0; slot < tables.tunnel_of_slot.size(); ++slot)
        published += tables.tunnel_of_slot[slot].load() != kNoRow ? 1U : 0U;
    return published == tunnels ? "" : "count of published tunnel slots";
}

std::string Model::compare_subscriber(std::uint32_t id, const Tables& tables,
                                      const TableWriter& writer) const {
    const std::string who = "subscriber " + std::to_string(id) + ": ";
    SubscriberView view;
    PolicyView policy;
    if (!read(state_.subscribers.at(id), &view)) return who + "model";
    if (!read(state_.policies.at(view.record.policy), &policy)) return who + "model's policy";
    const std::uint32_t index = writer.find_subscriber(id).value;
    if (index == 0 || index >= tables.subscribers.size()) return who + "index";
    const SubscriberRow& row = tables.subscribers[index];
    if (row.id.load() != id || row.seed.load() != view.record.hash_seed) return who + "row";

    std::map<std::string, std::uint32_t> tunnel_of_line;
    std::set<std::string> lines;
    for (std::size_t i = 0; i < view.tunnels.size(); ++i) {
        const TunnelRecord tunnel = view.tunnels[i];
        const std::string line(text_of(tunnel.line));
        const std::uint32_t r = tables.tunnel_of_slot[TunnelId{tunnel.id}.slot()].load();
        TunnelRow wanted;
        build_tunnel_row(tunnel, {index}, &wanted);
        if (r == kNoRow || r >= tables.tunnels.size()) return who + "tunnel row of " + line;
        if (!same_tunnel(wanted, tables.tunnels[r])) return who + "header of " + line;
        tunnel_of_line[line] = r;
        lines.insert(line);
    }
    std::map<unsigned, std::string> name_of_number;
    for (std::size_t i = 0; i < policy.lines.size(); ++i) {
        const std::string name = name_of(policy.lines[i]);
        const int n = writer.line_number(policy.id, name);
        if (n < 0) return who + "no number for line " + name;
        name_of_number[static_cast<unsigned>(n)] = name;
    }
    const unsigned classes = policy.lines[policy.lines.size() - 1].class_number + 1U;
    const std::uint32_t map = row.map.load();
    for (unsigned c = 0; c < classes; ++c) {
        const std::set<std::string> expected = best_tier(policy, c, lines);
        if (map == kNoRow) {
            if (!expected.empty()) return who + "has no map";
            continue;
        }
        if (map + c >= tables.maps.size()) return who + "map out of range";
        for (const std::uint8_t line : tables.maps[map + c].line) {
            if (line == BucketMap::kNone) {
                if (!expected.empty()) return who + "a bucket leads nowhere";
                continue;
            }
            const auto name = name_of_number.find(line);
            if (name == name_of_number.end() || !expected.contains(name->second))
                return who + "a bucket leads to a line it should not";
            if (tables.tunnel_for(index, line) != tunnel_of_line[name->second])
                return who + "slot of line " + name->second;
        }
    }
    return "";
}

std::string Model::compare(const Tables& tables, const TableWriter& writer) const {
    if (std::string difference = compare_counts(tables, writer); !difference.empty())
        return difference;
    for (const auto& [id, raw] : state_.subscribers) {
        if (std::string difference = compare_subscriber(id, tables, writer); !difference.empty())
            return difference;
        SubscriberView view;
        if (!read(raw, &view)) return "model";
        for (std::size_t i = 0; i < view.prefixes.size(); ++i) {
            const IpPrefix prefix = prefix_of(view.prefixes[i]);
            const std::uint32_t expected = owner(prefix.address);
            const Target target = look_up(tables, prefix.address);
            if (target != Target(TargetKind::Subscriber, writer.find_subscriber(expected).value))
                return "lookup of " + to_string(prefix.address);
        }
    }
    return "";
}

}  // namespace dr::southbound::test
