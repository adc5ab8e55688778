// Tests whether a source may belong to this router or to a subscriber. The test takes a few
// instructions for each packet from the network, so only the rare "yes" costs a lookup of the
// source.
//
// One bit for each of 65,536 classes of addresses. A class is the first 16 bits of an IPv4 address,
// or a hash of the first 40 bits of an IPv6 address. A bit is set while a prefix that was added has
// an address of that class, so the answer "no" is always right. A bitmap has 8 KiB, and packets
// from the network touch few of its cache lines often.
//
// Readers: may_hold(), any thread. Writer: add() and remove(), one thread.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace dr {

// Bytes: 4 or 16. Addresses are in network order.
template <std::size_t Bytes>
class SourceFilter final {
  public:
    using Address = std::array<std::uint8_t, Bytes>;

    // false: no prefix that was added holds the address.
    [[nodiscard]] bool may_hold(const std::uint8_t* address) const noexcept {
        const std::uint32_t c = class_of(address);
        return (words_[c / 64].load(std::memory_order_relaxed) >> (c % 64) & 1U) != 0;
    }

    // length <= 8 * Bytes; host bits are ignored. Each add() is undone by one remove().
    void add(const Address& prefix, unsigned length) {
        for_classes(prefix, length, [this](std::uint32_t c) {
            if (users_[c]++ == 0) flip(c);
        });
    }
    void remove(const Address& prefix, unsigned length) {
        for_classes(prefix, length, [this](std::uint32_t c) {
            if (--users_[c] == 0) flip(c);
        });
    }

  private:
    static constexpr std::uint32_t kClasses = 1U << 16;
    // First bytes of an address that its class depends on.
    static constexpr unsigned kHead = Bytes == 4 ? 2 : 5;

    // The bytes are read in memory order: a class needs no byte order.
    static std::uint32_t class_of(const std::uint8_t* address) noexcept {
        if constexpr (Bytes == 4) {
            std::uint16_t head;
            std::memcpy(&head, address, sizeof head);
            return head;
        } else {
            std::uint64_t head;
            std::memcpy(&head, address, sizeof head);
            return static_cast<std::uint32_t>((head << 24) * 0x9e3779b97f4a7c15ULL >> 48);
        }
    }
    void flip(std::uint32_t c) {
        std::atomic<std::uint64_t>& word = words_[c / 64];
        word.store(word.load(std::memory_order_relaxed) ^ std::uint64_t{1} << (c % 64),
                   std::memory_order_relaxed);
    }
    template <typename F>
    static void for_classes(const Address& prefix, unsigned length, F&& f) {
        const unsigned free = 8 * kHead > length ? 8 * kHead - length : 0;
        if (free >= 16) {  // at least as many heads as there are classes
            for (std::uint32_t c = 0; c < kClasses; ++c) f(c);
            return;
        }
        std::uint64_t head = 0;
        for (unsigned i = 0; i < kHead; ++i) head = head << 8 | prefix[i];
        head = head >> free << free;
        for (std::uint64_t i = 0; i < std::uint64_t{1} << free; ++i) {
            std::array<std::uint8_t, 8> address{};
            for (unsigned k = 0; k < kHead; ++k)
                address[k] = static_cast<std::uint8_t>((head + i) >> (8 * (kHead - 1 - k)));
            f(class_of(address.data()));
        }
    }

    std::array<std::atomic<std::uint64_t>, kClasses / 64> words_{};
    std::array<std::uint32_t, kClasses> users_{};  // prefixes of each class
};

}  // namespace dr
