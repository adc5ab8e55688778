// Longest-prefix match with tagged 32-bit results: a multibit trie whose root is indexed by the
// first 24 bits of the address and whose further levels take 8 bits each. For IPv4 that is the
// DIR-24-8 shape (Gupta, Lin, McKeown 1998); IPv6 is the same code with more levels.
//
// Readers: lookup() and prefetch(), any number of threads that take part in `Qsbr`. Writer:
// everything else, one thread. A lookup that runs during insert or remove gives the previous or the
// new result; it never follows a freed group, because groups are reused only after a grace period.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "dataplane/tables/qsbr.h"
#include "dataplane/tables/region.h"
#include "dataplane/tables/types.h"

namespace dr {

// Address: network byte order. Bytes: 4 or 16.
template <std::size_t Bytes>
class Lpm final {
  public:
    using Address = std::array<std::uint8_t, Bytes>;
    static constexpr unsigned kBits = Bytes * 8;

    // groups: capacity in 256-entry groups (1 KiB and, for the writer, 256 B each).
    // prefixes: capacity in prefixes.
    static std::unique_ptr<Lpm> create(std::uint32_t groups, std::uint32_t prefixes, Qsbr& qsbr);
    ~Lpm();
    Lpm(const Lpm&) = delete;
    Lpm& operator=(const Lpm&) = delete;

    [[nodiscard]] Target lookup(const std::uint8_t* address) const noexcept {
        const std::uint32_t root = static_cast<std::uint32_t>(address[0]) << 16 |
                                   static_cast<std::uint32_t>(address[1]) << 8 | address[2];
        std::uint32_t entry = root_[root].load(std::memory_order_acquire);
        for (unsigned byte = 3; (entry & kGroup) != 0; ++byte) {
            if constexpr (Bytes > 4) {
                if (byte >= Bytes) break;  // cannot happen; keeps a damaged table from running away
            }
            entry =
                groups_[((entry & ~kGroup) << 8) + address[byte]].load(std::memory_order_acquire);
            if constexpr (Bytes == 4) break;
        }
        return Target::from_raw(entry);
    }
    void prefetch(const std::uint8_t* address) const noexcept {
        std::uint32_t first;
        std::memcpy(&first, address, 4);
        __builtin_prefetch(&root_[__builtin_bswap32(first) >> 8]);
    }

    // The same for a batch, level by level, so that the cache misses of one address overlap with
    // the others'. The roots should have been prefetched. count <= 256.
    void lookup_batch(const std::uint8_t* const* addresses, Target* results,
                      unsigned count) const noexcept {
        const std::atomic<std::uint32_t>* const roots = root_;
        const std::atomic<std::uint32_t>* const groups = groups_;
        std::array<std::uint16_t, 256> pending;
        unsigned left = 0;
        for (unsigned i = 0; i < count; ++i) {
            const std::uint8_t* a = addresses[i];
            std::uint32_t first;
            std::memcpy(&first, a, 4);
            first = __builtin_bswap32(first);
            const std::uint32_t entry = roots[first >> 8].load(std::memory_order_acquire);
            results[i] = Target::from_raw(entry);
            const std::uint32_t next = ((entry & ~kGroup) << 8) + (first & 0xffU);
            __builtin_prefetch((entry & kGroup) != 0 ? &groups[next] : &roots[first >> 8]);
            pending[left] = static_cast<std::uint16_t>(i);
            left += entry >> 31;
        }
        for (unsigned byte = 3; left != 0 && byte < Bytes; ++byte) {
            unsigned still = 0;
            for (unsigned k = 0; k < left; ++k) {
                const unsigned i = pending[k];
                const std::uint32_t group = (results[i].raw() & ~kGroup) << 8;
                const std::uint32_t entry =
                    groups[group + addresses[i][byte]].load(std::memory_order_acquire);
                results[i] = Target::from_raw(entry);
                if constexpr (Bytes > 4) {
                    if ((entry & kGroup) == 0 || byte + 1 == Bytes) continue;
                    __builtin_prefetch(&groups[((entry & ~kGroup) << 8) + addresses[i][byte + 1]]);
                    pending[still++] = static_cast<std::uint16_t>(i);
                }
            }
            left = still;
        }
    }

    enum class Result : std::uint8_t { Ok, NoGroups, NoPrefixes, NotFound };
    // Adds the prefix or changes its target. length <= kBits, host bits are ignored. On NoGroups
    // and NoPrefixes nothing has changed. Target kinds must be below 8. *before: the previous
    // target of exactly this prefix, of kind None if there was none.
    Result insert(const Address& prefix, unsigned length, Target target, Target* before = nullptr);
    Result remove(const Address& prefix, unsigned length, Target* before = nullptr);
    // The target of exactly this prefix.
    [[nodiscard]] bool find(const Address& prefix, unsigned length, Target* target) const;
    // Frees groups whose grace period is over. Call it after each batch.
    void reclaim();

    [[nodiscard]] std::uint32_t size() const;         // prefixes
    [[nodiscard]] std::uint32_t groups_used() const;  // including those waiting to be reclaimed
    [[nodiscard]] std::uint32_t groups_capacity() const;
    // Bytes allocated at the start, and bytes in use now. Memory of readers is counted apart from
    // the writer's own: depths, users of groups, the list of prefixes.
    struct Memory {
        std::size_t root, groups, groups_used, writer, writer_used;
    };
    [[nodiscard]] Memory memory() const;

    // Memory of readers: the root, the groups.
    [[nodiscard]] std::array<std::span<const std::byte>, 2> readers_memory() const;

    // Sets the NUMA nodes of memory that workers read, as far as it has not been touched yet
    // (placement.h).
    void place(std::uint64_t nodes) const;

  private:
    Lpm() = default;
    static constexpr std::uint32_t kGroup = 0x80000000U;  // the entry is a group's number

    std::atomic<std::uint32_t>* root_{};
    std::atomic<std::uint32_t>* groups_{};
    struct Writer;
    std::unique_ptr<Writer> writer_;
};

extern template class Lpm<4>;
extern template class Lpm<16>;
using Lpm4 = Lpm<4>;
using Lpm6 = Lpm<16>;

}  // namespace dr
