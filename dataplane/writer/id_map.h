// A compact hash map from a non-zero 32-bit key to a 32-bit value: open addressing, linear
// probing, 8 bytes an entry. A million subscribers need no node each.
#pragma once

#include <cstdint>
#include <vector>

namespace dr::southbound {

class IdMap final {
  public:
    // 0: not there.
    [[nodiscard]] std::uint32_t find(std::uint32_t key) const {
        if (entries_.empty()) return 0;
        for (std::size_t at = home(key);; at = next(at)) {
            if (entries_[at].key == key) return entries_[at].value;
            if (entries_[at].key == 0) return 0;
        }
    }
    // The key must not be there; value not 0.
    void insert(std::uint32_t key, std::uint32_t value) {
        if ((size_ + 1) * 4 > entries_.size() * 3) grow();
        place({key, value});
        ++size_;
    }
    void erase(std::uint32_t key) {
        if (entries_.empty()) return;
        std::size_t at = home(key);
        while (entries_[at].key != key) {
            if (entries_[at].key == 0) return;
            at = next(at);
        }
        close_gap(at);
        --size_;
    }
    [[nodiscard]] std::size_t size() const { return size_; }
    [[nodiscard]] std::size_t bytes() const { return entries_.capacity() * sizeof(Entry); }

  private:
    struct Entry {
        std::uint32_t key{};
        std::uint32_t value{};
    };
    [[nodiscard]] std::size_t home(std::uint32_t key) const {
        return (key * 0x9e3779b97f4a7c15ULL >> 32) & (entries_.size() - 1);
    }
    [[nodiscard]] std::size_t next(std::size_t at) const {
        return (at + 1) & (entries_.size() - 1);
    }
    void place(Entry entry) {
        std::size_t at = home(entry.key);
        while (entries_[at].key != 0) at = next(at);
        entries_[at] = entry;
    }
    // Moves later entries of the probe sequence forward, so that no tombstones are needed.
    void close_gap(std::size_t gap) {
        for (std::size_t at = next(gap); entries_[at].key != 0; at = next(at)) {
            const std::size_t wanted = home(entries_[at].key);
            const bool reachable =
                gap <= at ? wanted > gap && wanted <= at : wanted > gap || wanted <= at;
            if (reachable) continue;
            entries_[gap] = entries_[at];
            gap = at;
        }
        entries_[gap] = {};
    }
    void grow() {
        std::vector<Entry> old(entries_.empty() ? 64 : entries_.size() * 2);
        old.swap(entries_);
        for (const Entry& entry : old) {
            if (entry.key != 0) place(entry);
        }
    }

    std::vector<Entry> entries_;
    std::size_t size_{};
};

}  // namespace dr::southbound
