// The writer's list of prefixes: open addressing, one flat array, no node per prefix.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "dataplane/tables/region.h"

namespace dr {

// Writer only. Addresses have their host bits cleared. Full at 7/8 of the slots.
template <std::size_t Bytes>
class PrefixStore final {
  public:
    using Address = std::array<std::uint8_t, Bytes>;
    struct Entry {
        Address address;
        std::uint8_t length;
        std::uint8_t used;
        std::uint32_t value;
    };

    [[nodiscard]] bool allocate(std::uint32_t prefixes) {
        slots_ = std::bit_ceil(prefixes + prefixes / 4 + 16);
        region_ = Region(sizeof(Entry) * slots_);
        return region_.data() != nullptr;
    }
    [[nodiscard]] Entry* find(const Address& address, unsigned length) const {
        for (std::uint32_t i = home(address, length);; i = next(i)) {
            Entry& e = at(i);
            if (e.used == 0) return nullptr;
            if (e.length == length && e.address == address) return &e;
        }
    }
    // The prefix must not be there, and there must be room.
    void add(const Address& address, unsigned length, std::uint32_t value) {
        std::uint32_t i = home(address, length);
        while (at(i).used != 0) i = next(i);
        at(i) = {address, static_cast<std::uint8_t>(length), 1, value};
        ++count_;
    }
    void erase(Entry* entry) {
        // Backward shift: no tombstones, so that lookups stay short for ever.
        auto hole = static_cast<std::uint32_t>(entry - &at(0));
        for (std::uint32_t i = next(hole); at(i).used != 0; i = next(i)) {
            const std::uint32_t wants = home(at(i).address, at(i).length);
            if (((i - wants) & (slots_ - 1)) < ((i - hole) & (slots_ - 1))) continue;
            at(hole) = at(i);
            hole = i;
        }
        at(hole).used = 0;
        --count_;
    }
    [[nodiscard]] std::uint32_t count() const { return count_; }
    [[nodiscard]] std::size_t bytes() const { return region_.size(); }

  private:
    [[nodiscard]] Entry& at(std::uint32_t i) const {
        return static_cast<Entry*>(region_.data())[i];
    }
    [[nodiscard]] std::uint32_t next(std::uint32_t i) const { return (i + 1) & (slots_ - 1); }
    [[nodiscard]] std::uint32_t home(const Address& address, unsigned length) const {
        std::uint64_t h = length * 0x9e3779b97f4a7c15ULL;
        for (std::size_t i = 0; i < Bytes; i += 4) {
            std::uint32_t word;
            std::memcpy(&word, address.data() + i, 4);
            h = (h ^ word) * 0xbf58476d1ce4e5b9ULL;
            h ^= h >> 29;
        }
        return static_cast<std::uint32_t>(h >> 32) & (slots_ - 1);
    }

    Region region_;
    std::uint32_t slots_{};
    std::uint32_t count_{};
};

}  // namespace dr
