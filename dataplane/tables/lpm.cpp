// The writer's side of the trie.
//
// Each entry has a depth: the length of the prefix it belongs to, plus 1; 0: none. An entry that
// points to a group keeps the depth of the prefix that covers the group as a whole, so that no
// entry inside is ever shallower. A group lives as long as a prefix ends inside it or below.
#include "dataplane/tables/lpm.h"

#include <deque>
#include <vector>

#include "dataplane/tables/placement.h"
#include "dataplane/tables/prefix_store.h"

namespace dr {

namespace {

constexpr unsigned kRootBits = 24;
constexpr std::uint32_t kRootSize = 1U << kRootBits;
constexpr std::uint32_t kGroupSize = 256;

template <std::size_t Bytes>
std::array<std::uint8_t, Bytes> masked(std::array<std::uint8_t, Bytes> a, unsigned length) {
    for (unsigned i = 0; i < Bytes; ++i) {
        const unsigned bits = length > 8 * i ? length - 8 * i : 0;
        if (bits < 8) a[i] = static_cast<std::uint8_t>(a[i] & ~(0xffU >> bits));
    }
    return a;
}

template <std::size_t Bytes>
std::uint32_t root_index(const std::array<std::uint8_t, Bytes>& a) {
    return static_cast<std::uint32_t>(a[0]) << 16 | static_cast<std::uint32_t>(a[1]) << 8 | a[2];
}

}  // namespace

template <std::size_t Bytes>
struct Lpm<Bytes>::Writer {
    explicit Writer(Qsbr& q) : qsbr(q) {}
    struct Retired {
        std::uint32_t group;
        Qsbr::Token token;
    };
    // One entry with its depth.
    struct Slot {
        std::atomic<std::uint32_t>* entry;
        std::uint8_t* depth;
    };

    Qsbr& qsbr;
    Region root, root_depths, groups, group_depths;
    PrefixStore<Bytes> prefixes;
    std::uint32_t prefix_limit{};
    std::uint32_t group_limit{};
    std::array<std::uint32_t, kBits + 1> of_length{};  // prefixes
    std::vector<std::uint32_t> users;  // of a group: prefixes that end in it or below
    std::vector<std::uint32_t> free;
    std::deque<Retired> retired;

    [[nodiscard]] Slot root_slot(std::uint32_t i) const {
        return {static_cast<std::atomic<std::uint32_t>*>(root.data()) + i,
                static_cast<std::uint8_t*>(root_depths.data()) + i};
    }
    [[nodiscard]] Slot group_slot(std::uint32_t group, std::uint32_t i) const {
        const std::size_t at = static_cast<std::size_t>(group) * kGroupSize + i;
        return {static_cast<std::atomic<std::uint32_t>*>(groups.data()) + at,
                static_cast<std::uint8_t*>(group_depths.data()) + at};
    }

    // Gives the slot to a prefix of this depth, and all entries below it that are not more
    // specific.
    void claim(Slot s, std::uint8_t depth, std::uint32_t raw) {
        if (*s.depth > depth) return;
        *s.depth = depth;
        const std::uint32_t entry = s.entry->load(std::memory_order_relaxed);
        if ((entry & kGroup) == 0) {
            s.entry->store(raw, std::memory_order_release);
            return;
        }
        for (std::uint32_t i = 0; i < kGroupSize; ++i)
            claim(group_slot(entry & ~kGroup, i), depth, raw);
    }
    // Gives the entries of a prefix of this depth to the prefix that covers it.
    void yield(Slot s, std::uint8_t depth, std::uint8_t cover, std::uint32_t raw) {
        if (*s.depth != depth) return;
        *s.depth = cover;
        const std::uint32_t entry = s.entry->load(std::memory_order_relaxed);
        if ((entry & kGroup) == 0) {
            s.entry->store(raw, std::memory_order_release);
            return;
        }
        for (std::uint32_t i = 0; i < kGroupSize; ++i)
            yield(group_slot(entry & ~kGroup, i), depth, cover, raw);
    }
    // All slots of a prefix: a range of the root, or of the group in which it ends.
    template <typename F>
    void for_slots(const Address& a, unsigned length, F&& f) {
        if (length <= kRootBits) {
            const std::uint32_t first = root_index(a);
            for (std::uint32_t i = 0; i < 1U << (kRootBits - length); ++i) f(root_slot(first + i));
            return;
        }
        const unsigned level = (length - kRootBits - 1) / 8;
        const std::uint32_t group = path(a, level);
        const unsigned free_bits = kRootBits + 8 * (level + 1) - length;
        for (std::uint32_t i = 0; i < 1U << free_bits; ++i) f(group_slot(group, a[3 + level] + i));
    }
    // The slot that leads to the group of this level (0: a root slot).
    [[nodiscard]] Slot slot_to(const Address& a, unsigned level) const {
        Slot s = root_slot(root_index(a));
        for (unsigned k = 0; k < level; ++k)
            s = group_slot(s.entry->load(std::memory_order_relaxed) & ~kGroup, a[3 + k]);
        return s;
    }
    [[nodiscard]] std::uint32_t path(const Address& a, unsigned level) const {
        return slot_to(a, level).entry->load(std::memory_order_relaxed) & ~kGroup;
    }
    [[nodiscard]] unsigned missing_groups(const Address& a, unsigned levels) const {
        Slot s = root_slot(root_index(a));
        for (unsigned k = 0; k < levels; ++k) {
            const std::uint32_t entry = s.entry->load(std::memory_order_relaxed);
            if ((entry & kGroup) == 0) return levels - k;
            s = group_slot(entry & ~kGroup, a[3 + k]);
        }
        return 0;
    }
    // Creates the group below the slot, filled with the slot's value; readers see all of it or
    // nothing.
    void grow(Slot s) {
        const std::uint32_t entry = s.entry->load(std::memory_order_relaxed);
        if ((entry & kGroup) != 0) return;
        const std::uint32_t group = free.back();
        free.pop_back();
        users[group] = 0;
        for (std::uint32_t i = 0; i < kGroupSize; ++i) {
            const Slot inside = group_slot(group, i);
            inside.entry->store(entry, std::memory_order_relaxed);
            *inside.depth = *s.depth;
        }
        s.entry->store(kGroup | group, std::memory_order_release);
    }
    // The longest prefix shorter than `length` that covers the address: its depth and value.
    void cover(const Address& a, unsigned length, std::uint8_t* depth, std::uint32_t* raw) const {
        for (unsigned l = length; l-- > 0;) {
            if (of_length[l] == 0) continue;
            if (const auto* e = prefixes.find(masked(a, l), l)) {
                *depth = static_cast<std::uint8_t>(l + 1);
                *raw = e->value;
                return;
            }
        }
        *depth = 0;
        *raw = 0;
    }
    void reclaim() {
        if (retired.empty()) return;
        const Qsbr::Token safe = qsbr.safe();
        while (!retired.empty() && retired.front().token <= safe) {
            free.push_back(retired.front().group);
            retired.pop_front();
        }
    }
    // After the removal of a prefix of `levels` levels: removes groups without users, deepest
    // first.
    void shrink(const Address& a, unsigned levels) {
        for (unsigned k = levels; k-- > 0;) {
            const Slot s = slot_to(a, k);
            const std::uint32_t group = s.entry->load(std::memory_order_relaxed) & ~kGroup;
            if (--users[group] != 0) continue;
            // No longer prefix is left inside, so all of its entries are equal.
            s.entry->store(group_slot(group, 0).entry->load(std::memory_order_relaxed),
                           std::memory_order_release);
            retired.push_back({group, qsbr.retire()});
        }
    }
};

template <std::size_t Bytes>
std::unique_ptr<Lpm<Bytes>> Lpm<Bytes>::create(std::uint32_t groups, std::uint32_t prefixes,
                                               Qsbr& qsbr) {
    std::unique_ptr<Lpm> lpm(new Lpm);
    lpm->writer_ = std::make_unique<Writer>(qsbr);
    Writer& w = *lpm->writer_;
    w.prefix_limit = prefixes;
    w.group_limit = groups;
    w.root = Region(sizeof(std::uint32_t) * kRootSize);
    w.root_depths = Region(kRootSize);
    w.groups = Region(sizeof(std::uint32_t) * kGroupSize * groups);
    w.group_depths = Region(static_cast<std::size_t>(kGroupSize) * groups);
    if (w.root.data() == nullptr || w.root_depths.data() == nullptr || w.groups.data() == nullptr ||
        w.group_depths.data() == nullptr || !w.prefixes.allocate(prefixes))
        return nullptr;
    w.users.resize(groups);
    w.free.reserve(groups);
    for (std::uint32_t g = groups; g-- > 0;) w.free.push_back(g);
    lpm->root_ = static_cast<std::atomic<std::uint32_t>*>(w.root.data());
    lpm->groups_ = static_cast<std::atomic<std::uint32_t>*>(w.groups.data());
    return lpm;
}

template <std::size_t Bytes>
Lpm<Bytes>::~Lpm() = default;

template <std::size_t Bytes>
auto Lpm<Bytes>::insert(const Address& prefix, unsigned length, Target target, Target* before)
    -> Result {
    Writer& w = *writer_;
    if (before != nullptr) *before = {};
    const Address a = masked(prefix, length);
    const auto depth = static_cast<std::uint8_t>(length + 1);
    if (auto* known = w.prefixes.find(a, length)) {
        if (before != nullptr) *before = Target::from_raw(known->value);
        known->value = target.raw();
        w.for_slots(a, length, [&](auto s) { w.yield(s, depth, depth, target.raw()); });
        return Result::Ok;
    }
    if (w.prefixes.count() >= w.prefix_limit) return Result::NoPrefixes;
    const unsigned levels = length <= kRootBits ? 0 : (length - kRootBits - 1) / 8 + 1;
    const unsigned missing = w.missing_groups(a, levels);
    if (missing > w.free.size()) w.reclaim();
    if (missing > w.free.size()) return Result::NoGroups;
    for (unsigned k = 0; k < levels; ++k) {
        w.grow(w.slot_to(a, k));
        ++w.users[w.path(a, k)];
    }
    w.prefixes.add(a, length, target.raw());
    ++w.of_length[length];
    w.for_slots(a, length, [&](auto s) { w.claim(s, depth, target.raw()); });
    return Result::Ok;
}

template <std::size_t Bytes>
auto Lpm<Bytes>::remove(const Address& prefix, unsigned length, Target* before) -> Result {
    Writer& w = *writer_;
    const Address a = masked(prefix, length);
    auto* known = w.prefixes.find(a, length);
    if (before != nullptr) *before = known == nullptr ? Target() : Target::from_raw(known->value);
    if (known == nullptr) return Result::NotFound;
    w.prefixes.erase(known);
    --w.of_length[length];
    std::uint8_t cover = 0;
    std::uint32_t raw = 0;
    w.cover(a, length, &cover, &raw);
    const auto depth = static_cast<std::uint8_t>(length + 1);
    w.for_slots(a, length, [&](auto s) { w.yield(s, depth, cover, raw); });
    if (length > kRootBits) w.shrink(a, (length - kRootBits - 1) / 8 + 1);
    return Result::Ok;
}

template <std::size_t Bytes>
bool Lpm<Bytes>::find(const Address& prefix, unsigned length, Target* target) const {
    const auto* known = writer_->prefixes.find(masked(prefix, length), length);
    if (known == nullptr) return false;
    *target = Target::from_raw(known->value);
    return true;
}

template <std::size_t Bytes>
void Lpm<Bytes>::reclaim() {
    writer_->reclaim();
}

template <std::size_t Bytes>
std::uint32_t Lpm<Bytes>::size() const {
    return writer_->prefixes.count();
}

template <std::size_t Bytes>
std::uint32_t Lpm<Bytes>::groups_used() const {
    return writer_->group_limit - static_cast<std::uint32_t>(writer_->free.size());
}

template <std::size_t Bytes>
std::uint32_t Lpm<Bytes>::groups_capacity() const {
    return writer_->group_limit;
}

template <std::size_t Bytes>
auto Lpm<Bytes>::memory() const -> Memory {
    const Writer& w = *writer_;
    constexpr std::size_t kGroupBytes = kGroupSize * sizeof(std::uint32_t);
    const std::size_t always = w.root_depths.size() + w.prefixes.bytes() +
                               (w.users.size() + w.free.capacity()) * sizeof(std::uint32_t);
    return {w.root.size(), w.groups.size(), groups_used() * kGroupBytes,
            always + w.group_depths.size(), always + std::size_t{groups_used()} * kGroupSize};
}

template <std::size_t Bytes>
std::array<std::span<const std::byte>, 2> Lpm<Bytes>::readers_memory() const {
    const auto span = [](const Region& region) {
        return std::span(static_cast<const std::byte*>(region.data()), region.size());
    };
    return {span(writer_->root), span(writer_->groups)};
}

template <std::size_t Bytes>
void Lpm<Bytes>::place(std::uint64_t nodes) const {
    for (const Region* region : {&writer_->root, &writer_->groups})
        dr::place(region->data(), region->size(), nodes);
}

template class Lpm<4>;
template class Lpm<16>;

}  // namespace dr
