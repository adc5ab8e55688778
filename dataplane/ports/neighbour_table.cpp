// Keeps the kernel's neighbours, and decides which ones to ask for.
#include "dataplane/ports/neighbour_table.h"

#include <algorithm>

namespace dr {

namespace {

constexpr std::uint64_t kAskAgainMs = 1'000;
constexpr std::uint64_t kVerifyMs = 10'000;
constexpr std::size_t kMaxWanted = 4'096;
// The kernel reports a lost neighbour just before or just after the loss of its link.
constexpr std::uint64_t kWithLinkMs = 1'000;
// The time after which the kernel gives up: by default it asks three times in three seconds.
constexpr std::uint64_t kBelievedMs = 4'000;
constexpr std::uint64_t kRememberMs = 60'000;
constexpr std::size_t kMaxForgotten = 1'024;

}  // namespace

void NeighbourTable::set(std::uint16_t port, const IpAddress& address, const wire::Mac& mac,
                         bool stale) {
    Entry& entry = entries_[{port, address}];
    entry.generation = generation_;
    entry.stale = stale;
    entry.mac = mac;
    entry.believed_until_ms = 0;
    forgotten_.erase({port, address});
    for (Asking* asking : {&gateways_, &tunnel_ends_, &destinations_[0], &destinations_[1]})
        asking->last.erase({port, address});
    rib_.learn_neighbour(port, address, mac);
}

void NeighbourTable::forget(std::map<Key, Entry>::iterator at) {
    const auto& [port, address] = at->first;
    rib_.clear_neighbour(port, address);
    entries_.erase(at);
}

void NeighbourTable::remove(std::uint16_t port, const IpAddress& address, Unknown why,
                            std::uint64_t now_ms) {
    const auto at = entries_.find({port, address});
    if (at == entries_.end()) return;
    if (why == Unknown::Asked && at->second.believed_until_ms != 0) return;
    if (why == Unknown::Forgotten && forgotten_.size() < kMaxForgotten &&
        rib_.leads_on(port, address))
        forgotten_[at->first] = {at->second.mac, now_ms, false};
    forget(at);
}

void NeighbourTable::sweep(std::uint64_t now_ms) {
    for (auto it = entries_.begin(); it != entries_.end();) {
        const auto at = it++;
        if (at->second.generation != generation_ && at->second.believed_until_ms <= now_ms)
            forget(at);
    }
}

void NeighbourTable::link_down(std::uint16_t port, std::uint64_t now_ms) {
    for (auto it = entries_.begin(); it != entries_.end();) {
        const auto at = it++;
        if (at->first.first != port || at->second.believed_until_ms == 0) continue;
        forgotten_[at->first] = {at->second.mac, now_ms, true};
        forget(at);
    }
    for (auto& [key, one] : forgotten_)
        if (key.first == port && now_ms - one.at_ms <= kWithLinkMs) one.by_link = true;
}

void NeighbourTable::link_up(std::uint16_t port, std::uint64_t now_ms) {
    for (auto it = forgotten_.begin(); it != forgotten_.end();) {
        const auto at = it++;
        const auto [key, one] = *at;
        if (key.first != port) continue;
        forgotten_.erase(at);
        if (!one.by_link || now_ms - one.at_ms > kRememberMs) continue;
        Entry& entry = entries_[key];
        entry = {generation_, true, 0, one.mac, now_ms + kBelievedMs};
        rib_.learn_neighbour(port, key.second, one.mac);
        verify(key, entry, now_ms);
    }
}

bool NeighbourTable::Rate::take(std::uint64_t now_ms) {
    if (whole_at > now_ms + gap_ms * (at_once - 1)) return false;
    whole_at = std::max(whole_at, now_ms) + gap_ms;
    return true;
}

void NeighbourTable::want(std::uint16_t port, const IpAddress& address, Need need,
                          std::uint64_t now_ms) {
    const Key key{port, address};
    if (entries_.contains(key)) return;
    Asking& asking = need == Need::Gateway     ? gateways_
                     : need == Need::TunnelEnd ? tunnel_ends_
                                               : destinations_[address.family == 4 ? 0 : 1];
    const auto last = asking.last.find(key);
    if (last != asking.last.end() && now_ms - last->second < kAskAgainMs) return;
    if (!asking.rate.take(now_ms)) return;
    // A host scans a large network: new questions replace old ones.
    if (asking.last.size() >= kMaxWanted) asking.last.clear();
    asking.last[key] = now_ms;
    ask_(port, address);
}

void NeighbourTable::verify(const Key& key, Entry& entry, std::uint64_t now_ms) {
    entry.asked_ms = now_ms;
    ask_(key.first, key.second);
}

void NeighbourTable::refresh(std::uint64_t now_ms) {
    for (auto it = entries_.begin(); it != entries_.end();) {
        const auto at = it++;
        const std::uint64_t until = at->second.believed_until_ms;
        if (until != 0 && now_ms >= until) forget(at);
    }
    std::erase_if(forgotten_, [&](const auto& entry) {
        const std::uint64_t age = now_ms - entry.second.at_ms;
        return age > (entry.second.by_link ? kRememberMs : kWithLinkMs);
    });
    const auto due = [&](const Entry& entry) {
        return entry.stale && now_ms - entry.asked_ms >= kVerifyMs;
    };
    for (auto& [key, entry] : entries_)
        if (due(entry) && rib_.leads_on(key.first, key.second)) verify(key, entry, now_ms);
    // The others in turn: the next round goes on where the rate ended this one.
    auto at = entries_.lower_bound(verify_next_);
    for (std::size_t n = entries_.size(); n > 0; --n) {
        if (at == entries_.end()) at = entries_.begin();
        if (due(at->second)) {
            verify_next_ = at->first;
            if (!verified_.take(now_ms)) return;
            verify(at->first, at->second, now_ms);
        }
        ++at;
    }
}

}  // namespace dr
