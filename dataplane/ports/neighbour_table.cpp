#include "dataplane/ports/neighbour_table.h"

namespace dr {

namespace {

constexpr unsigned kAsksPerSecond = 200;
constexpr std::uint64_t kAskAgainMs = 1'000;
constexpr std::uint64_t kVerifyMs = 10'000;
constexpr std::size_t kMaxWanted = 4'096;

// A link-local address means nothing without its port, so the lookup table cannot have it.
bool is_link_local(const IpAddress& a) {
    return a.family == 6 && a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80;
}

IpPrefix host_prefix(const IpAddress& address) {
    return {address, static_cast<std::uint8_t>(address.family == 4 ? 32 : 128)};
}

}  // namespace

void NeighbourTable::set(std::uint16_t port, const IpAddress& address, const wire::Mac& mac,
                         bool stale) {
    const auto [at, is_new] = entries_.try_emplace({port, address});
    Entry& entry = at->second;
    entry.generation = generation_;
    entry.stale = stale;
    wanted_.erase({port, address});
    if (is_new || entry.mac != mac) {
        entry.mac = mac;
        rib_.set_neighbour(port, address, mac);
    }
    if (entry.next_hop.value != 0 || is_link_local(address)) return;
    entry.next_hop = rib_.acquire_next_hop(port, address);
    if (entry.next_hop.value == 0) return;  // full: its traffic goes by way of Glean
    if (rib_.insert(host_prefix(address), RouteSource::Neighbour,
                    Target(TargetKind::NextHop, entry.next_hop.value)))
        return;
    rib_.release_next_hop(entry.next_hop);
    entry.next_hop = {};
}

void NeighbourTable::forget(std::map<Key, Entry>::iterator at) {
    const auto& [port, address] = at->first;
    if (at->second.next_hop.value != 0) {
        rib_.remove(host_prefix(address), RouteSource::Neighbour);
        rib_.release_next_hop(at->second.next_hop);
    }
    rib_.clear_neighbour(port, address);
    entries_.erase(at);
}

void NeighbourTable::remove(std::uint16_t port, const IpAddress& address) {
    const auto at = entries_.find({port, address});
    if (at != entries_.end()) forget(at);
}

void NeighbourTable::sweep() {
    for (auto it = entries_.begin(); it != entries_.end();) {
        const auto at = it++;
        if (at->second.generation != generation_) forget(at);
    }
}

bool NeighbourTable::allowed(std::uint64_t now_ms) {
    if (now_ms / 1000 != second_) {
        second_ = now_ms / 1000;
        asked_in_second_ = 0;
    }
    return asked_in_second_++ < kAsksPerSecond;
}

void NeighbourTable::want(std::uint16_t port, const IpAddress& address, std::uint64_t now_ms) {
    const Key key{port, address};
    if (entries_.contains(key)) return;
    const auto last = wanted_.find(key);
    if (last != wanted_.end() && now_ms - last->second < kAskAgainMs) return;
    if (!allowed(now_ms)) return;
    // Somebody scans a large network: old questions make room for new ones.
    if (wanted_.size() >= kMaxWanted) wanted_.clear();
    wanted_[key] = now_ms;
    ask_(port, address);
}

void NeighbourTable::refresh(std::uint64_t now_ms) {
    for (auto& [key, entry] : entries_) {
        if (!entry.stale || now_ms - entry.asked_ms < kVerifyMs) continue;
        if (!allowed(now_ms)) return;
        entry.asked_ms = now_ms;
        ask_(key.first, key.second);
    }
}

}  // namespace dr
