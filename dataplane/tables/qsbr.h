// Quiescent-state-based reclamation with one writer.
//
// A reader announces a quiescent state between bursts: from then on it holds no index or pointer
// that it read before. The writer retires an object together with a token, and frees it when every
// online reader has announced a state at or after the token. Nothing waits: retired objects are
// collected in batches.
//
// Threads: quiescent(), online(), offline() by the reader that owns the slot; everything else by
// the writer.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace dr {

class Qsbr final {
  public:
    static constexpr unsigned kMaxReaders = 64;
    using Token = std::uint64_t;

    // The reader takes part from now on; it holds nothing yet.
    void online(unsigned reader) noexcept {
        // The store must be visible before the reader's first read of a table; seq_cst pairs with
        // the fence in retire().
        slots_[reader].seen.store(epoch_.load(std::memory_order_acquire),
                                  std::memory_order_seq_cst);
        std::atomic_thread_fence(std::memory_order_seq_cst);
    }
    // The reader holds nothing until it calls online() again: call it before sleeping.
    void offline(unsigned reader) noexcept {
        slots_[reader].seen.store(kOffline, std::memory_order_release);
    }
    // The reader holds nothing that it read before this call. Two plain loads and a store.
    void quiescent(unsigned reader) noexcept {
        slots_[reader].seen.store(epoch_.load(std::memory_order_acquire),
                                  std::memory_order_release);
    }

    // Objects that were unpublished before this call may be freed once passed() is true for the
    // token.
    Token retire() noexcept {
        std::atomic_thread_fence(std::memory_order_seq_cst);
        return epoch_.fetch_add(1, std::memory_order_acq_rel) + 1;
    }
    [[nodiscard]] bool passed(Token token) const noexcept { return token <= safe(); }
    // All tokens up to this one have passed. Reads every slot: call it once a batch.
    [[nodiscard]] Token safe() const noexcept {
        Token lowest = epoch_.load(std::memory_order_acquire);
        for (const Slot& slot : slots_) {
            const Token seen = slot.seen.load(std::memory_order_acquire);
            if (seen < lowest) lowest = seen;
        }
        return lowest;
    }

  private:
    static constexpr Token kOffline = ~Token{0};
    struct alignas(64) Slot {
        std::atomic<Token> seen{kOffline};
    };
    static_assert(sizeof(Slot) == 64, "a reader's announcement disturbs no other reader");
    alignas(64) std::atomic<Token> epoch_{1};
    std::array<Slot, kMaxReaders> slots_{};
};

}  // namespace dr
