// Reading the catalog: one object, or a page of many.
#include <algorithm>
#include <stdexcept>
#include <unordered_set>

#include "control/model/catalog_plan.h"

namespace dr::control {
namespace {

constexpr std::size_t kPageBytes = 3U << 20;
// Tokens: "=NAME" from this name on, "@ADDRESS" from this address on.
constexpr char kFrom = '=';
constexpr char kAddress = '@';

std::string_view token_value(std::string_view token, char kind) {
    if (token.empty()) return token;
    if (token.front() != kind) throw std::invalid_argument("page token");
    return token.substr(1);
}

// The lowest address of the subscriber's prefixes that overlap `outer`: its place in a list by
// address, in which it is found once for each such prefix.
std::string first_within(const v1::Subscriber& s, const IpPrefix& outer) {
    std::optional<IpAddress> first;
    std::string error;
    for (const auto& text : s.prefixes())
        if (const auto prefix = parse_prefix(text, &error); prefix && prefix->overlaps(outer))
            first = first ? std::min(*first, prefix->address) : prefix->address;
    return first ? to_string(*first) : std::string();
}

}  // namespace

std::optional<v1::Subscriber> Catalog::subscriber_by_id(std::uint32_t id) {
    const auto bytes = store_.read(Kind::Subscriber, id);
    if (!bytes) return std::nullopt;
    return std::get<v1::Subscriber>(parse_object(Kind::Subscriber, *bytes));
}

std::optional<v1::Subscriber> Catalog::subscriber_by_tunnel(std::uint32_t tunnel_id) {
    std::shared_lock lock(index_mutex_);
    const std::uint32_t owner = ids_.owner(tunnel_id);
    lock.unlock();
    if (owner == 0) return std::nullopt;
    return subscriber_by_id(owner);
}

std::uint32_t Catalog::subscriber_with_end(const IpAddress& address) {
    const std::shared_lock lock(index_mutex_);
    const auto end = index_.end_inside({address, static_cast<std::uint8_t>(address.bits())});
    return end && end->count == 1 ? end->subscriber : 0;
}

std::optional<Object> Catalog::get(Kind kind, const std::string& name) {
    std::shared_lock lock(index_mutex_);
    std::uint32_t id = 0;
    if (const auto* pool = Index::find(index_.pools(), name); kind == Kind::Pool && pool != nullptr)
        id = pool->id;
    if (const auto* policy = Index::find(index_.policies(), name);
        kind == Kind::Policy && policy != nullptr)
        id = policy->id;
    if (const auto* s = Index::find(index_.subscribers(), name);
        kind == Kind::Subscriber && s != nullptr)
        id = s->id;
    lock.unlock();
    if (id == 0) return std::nullopt;
    const auto bytes = store_.read(kind, id);
    if (!bytes) return std::nullopt;
    return parse_object(kind, *bytes);
}

// Candidates for a page, in its order; the next search begins at `next`.
struct Catalog::Found {
    std::vector<std::pair<std::uint32_t, std::string>> ids;  // with the token of each
    std::string next;                                        // empty: there are no more
};

Catalog::Found Catalog::find_by_name(Kind kind, const Query& query, Page& page) {
    Found found;
    const std::string_view name = token_value(query.token, kFrom);
    const auto collect = [&](const auto& map, const auto& matches) {
        auto at = map.lower_bound(std::max<std::string_view>(name, query.name_prefix));
        for (; at != map.end() && at->first.starts_with(query.name_prefix); ++at) {
            if (found.ids.size() > query.limit || page.visited >= kMaxVisited) {
                found.next = kFrom + at->first;
                return;
            }
            ++page.visited;
            if (matches(at->second)) found.ids.emplace_back(at->second.id, kFrom + at->first);
        }
    };
    const auto any = [](const auto&) { return true; };
    const std::shared_lock lock(index_mutex_);
    if (kind == Kind::Pool) collect(index_.pools(), any);
    if (kind == Kind::Policy) collect(index_.policies(), any);
    if (kind != Kind::Subscriber) return found;
    std::unordered_set<std::uint32_t> policies;
    for (const auto& [policy, entry] : index_.policies())
        if ((query.policy.empty() || query.policy == policy) &&
            (query.line.empty() || entry.lines.contains(query.line)))
            policies.insert(entry.id);
    if (policies.size() == index_.policies().size()) {
        collect(index_.subscribers(), any);
    } else if (!policies.empty()) {
        collect(index_.subscribers(),
                [&](const SubscriberEntry& s) { return policies.contains(s.policy); });
    }
    return found;
}

Catalog::Found Catalog::find_by_address(const Query& query, Page& page) {
    Found found;
    IpAddress from;
    if (!query.token.empty()) {
        const auto address = parse_address(token_value(query.token, kAddress));
        if (!address) throw std::invalid_argument("page token");
        from = *address;
    }
    const std::shared_lock lock(index_mutex_);
    index_.each_within(*query.within, from, [&](const Index::Owner& owner) {
        const std::string token = kAddress + to_string(owner.prefix.address);
        if (found.ids.size() > query.limit) {
            found.next = token;
            return false;
        }
        ++page.visited;
        found.ids.emplace_back(owner.subscriber, token);
        return true;
    });
    return found;
}

// Whether the object was put on the page.
bool Catalog::read_into(Page& page, Kind kind, const Query& query, std::uint32_t id,
                        const std::string& token) {
    const auto bytes = store_.read(kind, id);
    ++page.read;
    if (!bytes) return false;
    Object object = parse_object(kind, *bytes);
    if (query.within) {
        const auto& s = subscriber_in(object);
        if (!s.name().starts_with(query.name_prefix) ||
            (!query.policy.empty() && s.policy() != query.policy) ||
            first_within(s, *query.within) != token.substr(1))
            return false;
    }
    page.objects.push_back(std::move(object));
    page.at.push_back(token);
    return true;
}

Catalog::Page Catalog::list(Kind kind, const Query& query) {
    Page page;
    Query step = query;
    std::size_t bytes = 0;
    for (;;) {
        const Found found = query.within && kind == Kind::Subscriber
                                ? find_by_address(step, page)
                                : find_by_name(kind, step, page);
        for (const auto& [id, token] : found.ids) {
            if (page.objects.size() >= query.limit || bytes > kPageBytes || page.read >= kMaxRead) {
                page.next = token;
                return page;
            }
            if (read_into(page, kind, query, id, token))
                bytes +=
                    std::visit([](const auto& o) { return o.ByteSizeLong(); }, page.objects.back());
        }
        page.next = found.next;
        if (page.next.empty() || page.objects.size() >= query.limit ||
            page.visited >= kMaxVisited || page.read >= kMaxRead)
            return page;
        step.token = page.next;
    }
}

}  // namespace dr::control
