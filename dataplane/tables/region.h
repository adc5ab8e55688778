// Zero-filled, fixed-size memory, allocated once at the start: on huge pages if there are any,
// otherwise on transparent ones. Pages are touched on first use only, so a large capacity costs
// nothing until it is filled.
#pragma once

#include <cstddef>
#include <utility>

namespace dr {

class Region final {
  public:
    Region() = default;
    // On failure data() is null.
    explicit Region(std::size_t bytes);
    ~Region();
    Region(Region&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Region& operator=(Region&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    [[nodiscard]] void* data() const { return data_; }
    [[nodiscard]] std::size_t size() const { return size_; }

  private:
    void* data_{};
    std::size_t size_{};
};

}  // namespace dr
