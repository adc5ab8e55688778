// Which subscriber has a prefix: a hash of the prefix leads to subscriber indices, whose own
// records tell the prefix exactly. 8 bytes an entry, no copy of the prefixes.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ip.h"

namespace dr::southbound {

// Never 0.
[[nodiscard]] std::uint32_t prefix_tag(const IpPrefix& prefix);

class PrefixIndex final {
  public:
    // The first subscriber index under this prefix's tag for which has_it(index) holds; 0: none.
    template <typename F>
    [[nodiscard]] std::uint32_t find(const IpPrefix& prefix, F&& has_it) const {
        if (entries_.empty()) return 0;
        const std::uint32_t tag = prefix_tag(prefix);
        for (std::size_t at = home(tag); entries_[at].tag != 0; at = next(at)) {
            if (entries_[at].tag == tag && has_it(entries_[at].index)) return entries_[at].index;
        }
        return 0;
    }
    void insert(const IpPrefix& prefix, std::uint32_t index);
    // false: not there.
    bool erase(const IpPrefix& prefix, std::uint32_t index);
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::size_t bytes() const { return entries_.capacity() * sizeof(Entry); }

  private:
    struct Entry {
        std::uint32_t tag{};
        std::uint32_t index{};
    };
    [[nodiscard]] std::size_t home(std::uint32_t tag) const { return tag & (entries_.size() - 1); }
    [[nodiscard]] std::size_t next(std::size_t at) const {
        return (at + 1) & (entries_.size() - 1);
    }
    void place(Entry entry);
    void grow();

    std::vector<Entry> entries_;
    std::size_t size_{};
};

}  // namespace dr::southbound
