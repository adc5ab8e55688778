// Messages between the writer and a liveness thread. Neither forwards, so a lock is no harm; the
// flag keeps the usual case, nothing there, free of it.
#pragma once

#include <atomic>
#include <mutex>
#include <utility>
#include <vector>

namespace dr::keepalive {

template <typename T>
class Mailbox final {
  public:
    void put(T value) {
        const std::lock_guard lock(mutex_);
        values_.push_back(std::move(value));
        filled_.store(true, std::memory_order_release);
    }
    void put_all(std::vector<T>* values) {
        if (values->empty()) return;
        const std::lock_guard lock(mutex_);
        values_.insert(values_.end(), std::make_move_iterator(values->begin()),
                       std::make_move_iterator(values->end()));
        values->clear();
        filled_.store(true, std::memory_order_release);
    }
    // All that is there, in order.
    [[nodiscard]] std::vector<T> take() {
        if (!filled_.load(std::memory_order_acquire)) return {};
        const std::lock_guard lock(mutex_);
        filled_.store(false, std::memory_order_relaxed);
        return std::exchange(values_, {});
    }

  private:
    std::mutex mutex_;
    std::vector<T> values_;
    std::atomic<bool> filled_{false};
};

}  // namespace dr::keepalive
