// Open addressing over prefixes' tags.
#include "dataplane/writer/prefix_index.h"

#include <cstring>

namespace dr::southbound {

std::uint32_t prefix_tag(const IpPrefix& prefix) {
    std::uint64_t high;
    std::uint64_t low;
    std::memcpy(&high, prefix.address.bytes.data(), 8);
    std::memcpy(&low, prefix.address.bytes.data() + 8, 8);
    const std::uint64_t length = prefix.length | std::uint64_t{prefix.address.family} << 8;
    std::uint64_t h = (high ^ length << 17) * 0x9e3779b97f4a7c15ULL;
    h = (h ^ h >> 32 ^ low ^ length) * 0xbf58476d1ce4e5b9ULL;
    h ^= h >> 29;
    h *= 0x94d049bb133111ebULL;
    const auto tag = static_cast<std::uint32_t>(h >> 32);
    return tag == 0 ? 1 : tag;
}

void PrefixIndex::place(Entry entry) {
    std::size_t at = home(entry.tag);
    while (entries_[at].tag != 0) at = next(at);
    entries_[at] = entry;
}

void PrefixIndex::grow() {
    std::vector<Entry> old(entries_.empty() ? 64 : entries_.size() * 2);
    old.swap(entries_);
    for (const Entry& entry : old) {
        if (entry.tag != 0) place(entry);
    }
}

void PrefixIndex::insert(const IpPrefix& prefix, std::uint32_t index) {
    if ((size_ + 1) * 4 > entries_.size() * 3) grow();
    place({prefix_tag(prefix), index});
    ++size_;
}

bool PrefixIndex::erase(const IpPrefix& prefix, std::uint32_t index) {
    if (entries_.empty()) return false;
    const std::uint32_t tag = prefix_tag(prefix);
    // Two prefixes of one subscriber with equal tags have equal entries: either may go.
    std::size_t gap = home(tag);
    while (entries_[gap].tag != tag || entries_[gap].index != index) {
        if (entries_[gap].tag == 0) return false;
        gap = next(gap);
    }
    for (std::size_t at = next(gap); entries_[at].tag != 0; at = next(at)) {
        const std::size_t wanted = home(entries_[at].tag);
        const bool reachable =
            gap <= at ? wanted > gap && wanted <= at : wanted > gap || wanted <= at;
        if (reachable) continue;
        entries_[gap] = entries_[at];
        gap = at;
    }
    entries_[gap] = {};
    --size_;
    return true;
}

}  // namespace dr::southbound
