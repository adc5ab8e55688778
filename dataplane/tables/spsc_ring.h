// A bounded single-producer single-consumer queue of small values. Neither side waits.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>

namespace dr {

template <typename T, std::size_t Size>
class SpscRing final {
    static_assert((Size & (Size - 1)) == 0, "a power of two");

  public:
    // Producer. false: full.
    bool push(const T& value) noexcept {
        const std::size_t tail = tail_.load(std::memory_order_relaxed);
        if (tail - head_.load(std::memory_order_acquire) == Size) return false;
        items_[tail & (Size - 1)] = value;
        tail_.store(tail + 1, std::memory_order_release);
        return true;
    }
    // Consumer. false: empty.
    bool pop(T& value) noexcept {
        const std::size_t head = head_.load(std::memory_order_relaxed);
        if (head == tail_.load(std::memory_order_acquire)) return false;
        value = items_[head & (Size - 1)];
        head_.store(head + 1, std::memory_order_release);
        return true;
    }

  private:
    alignas(64) std::atomic<std::size_t> head_{};
    alignas(64) std::atomic<std::size_t> tail_{};
    alignas(64) std::array<T, Size> items_{};
};

}  // namespace dr
