// Gives out runs of consecutive bucket maps, one map for each class of a policy: a buddy allocator
// over runs of 1, 2, 4 and 8 maps.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace dr::southbound {

class MapRuns final {
  public:
    explicit MapRuns(std::uint32_t maps);

    // A run of `classes` (1-8) maps; 0: none is left.
    std::uint32_t take(unsigned classes);
    void give_back(std::uint32_t base, unsigned classes);

    [[nodiscard]] std::uint32_t in_use() const { return in_use_; }
    [[nodiscard]] std::size_t bytes() const {
        return position_.capacity() * sizeof(std::uint32_t) + order_.capacity();
    }
    [[nodiscard]] std::uint32_t high_water() const { return high_water_; }

  private:
    static constexpr unsigned kOrders = 4;
    void add(std::uint32_t base, unsigned order);
    void remove(std::uint32_t base, unsigned order);

    // Free runs by order. position_[base]: 1 + place in free_[order] of the run that starts there.
    std::array<std::vector<std::uint32_t>, kOrders> free_;
    std::vector<std::uint32_t> position_;
    std::vector<std::uint8_t> order_;
    std::uint32_t next_ = 8;  // the first block of 8 never handed out
    std::uint32_t maps_;
    std::uint32_t in_use_{};
    std::uint32_t high_water_ = 1;
};

}  // namespace dr::southbound
