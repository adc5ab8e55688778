// A longest-prefix match that is too simple to be wrong: one ordered map for each length.
#pragma once

#include <map>
#include <random>
#include <vector>

#include "dataplane/tables/lpm.h"

namespace dr::test {

template <std::size_t Bytes>
class LpmModel final {
  public:
    using Address = typename Lpm<Bytes>::Address;
    static constexpr unsigned kBits = Bytes * 8;

    struct Prefix {
        Address address;
        unsigned length;
    };

    static Address masked(Address address, unsigned length) {
        for (unsigned bit = length; bit < kBits; ++bit)
            address[bit / 8] = static_cast<std::uint8_t>(address[bit / 8] & ~(0x80U >> bit % 8));
        return address;
    }
    void insert(const Prefix& p, Target target) {
        by_length_[p.length][masked(p.address, p.length)] = target;
    }
    bool remove(const Prefix& p) {
        return by_length_[p.length].erase(masked(p.address, p.length)) != 0;
    }
    bool find(const Prefix& p, Target* target) const {
        const auto& prefixes = by_length_[p.length];
        const auto it = prefixes.find(masked(p.address, p.length));
        if (it != prefixes.end()) *target = it->second;
        return it != prefixes.end();
    }
    Target lookup(const Address& address) const {
        for (unsigned length = kBits + 1; length-- > 0;) {
            Target target;
            if (!by_length_[length].empty() && find({address, length}, &target)) return target;
        }
        return {};
    }
    std::size_t size() const {
        std::size_t n = 0;
        for (const auto& prefixes : by_length_) n += prefixes.size();
        return n;
    }
    std::vector<Prefix> all() const {
        std::vector<Prefix> list;
        for (unsigned length = 0; length <= kBits; ++length)
            for (const auto& [address, target] : by_length_[length])
                list.push_back({address, length});
        return list;
    }

  private:
    std::array<std::map<Address, Target>, kBits + 1> by_length_;
};

// Addresses that meet each other: few values for each byte, so that prefixes nest, share groups
// and end beside each other.
template <std::size_t Bytes>
typename Lpm<Bytes>::Address crowded_address(std::mt19937& random) {
    typename Lpm<Bytes>::Address a{};
    a[0] = static_cast<std::uint8_t>(10 + random() % 2);
    for (std::size_t i = 1; i < Bytes; ++i) {
        const unsigned choice = static_cast<unsigned>(random() % 8);
        a[i] = choice < 5 ? 0 : choice == 5 ? 255 : static_cast<std::uint8_t>(random());
    }
    return a;
}

// Mostly lengths at and around the borders of the trie's levels; seldom short ones, which write
// many entries.
template <std::size_t Bytes>
unsigned crowded_length(std::mt19937& random) {
    constexpr unsigned kBits = Bytes * 8;
    const unsigned kind = static_cast<unsigned>(random() % 256);
    if (kind == 0) return static_cast<unsigned>(random() % 12);
    if (kind < 16) return 12 + static_cast<unsigned>(random() % 12);
    if (kind < 80) return 24 + static_cast<unsigned>(random() % 9);
    return 24 + static_cast<unsigned>(random() % (kBits - 23));
}

inline Target random_target(std::mt19937& random) {
    return {static_cast<TargetKind>(1 + random() % 6), static_cast<std::uint32_t>(random())};
}

}  // namespace dr::test
