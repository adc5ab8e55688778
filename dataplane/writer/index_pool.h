// Gives out the indices 1 to size - 1 of a table, lowest first while none has been given back.
#pragma once

#include <cstdint>
#include <vector>

namespace dr::southbound {

class IndexPool final {
  public:
    explicit IndexPool(std::uint32_t size) : size_(size) {}

    // 0: none left.
    std::uint32_t take() {
        if (!free_.empty()) {
            const std::uint32_t index = free_.back();
            free_.pop_back();
            return index;
        }
        return next_ < size_ ? next_++ : 0;
    }
    void give_back(std::uint32_t index) { free_.push_back(index); }

    [[nodiscard]] std::uint32_t available() const {
        const std::uint32_t fresh = next_ < size_ ? size_ - next_ : 0;
        return fresh + static_cast<std::uint32_t>(free_.size());
    }
    [[nodiscard]] std::size_t bytes() const { return free_.capacity() * sizeof(std::uint32_t); }
    // Indices below this one have been in use.
    [[nodiscard]] std::uint32_t high_water() const { return next_; }

  private:
    std::uint32_t size_;
    std::uint32_t next_ = 1;
    std::vector<std::uint32_t> free_;
};

}  // namespace dr::southbound
