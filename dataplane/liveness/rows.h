// Memory of many rows that are visited at random: on huge pages where the kernel has them, so that
// a visit costs no walk of page tables. Internal to the engine.
#pragma once

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace dr::liveness {

template <typename T>
struct HugeAllocator {
    using value_type = T;
    static constexpr std::size_t kPage = std::size_t{2} << 20;

    HugeAllocator() = default;
    template <typename U>
    explicit HugeAllocator(const HugeAllocator<U>&) {}

    T* allocate(std::size_t count) {
        const std::size_t bytes = count * sizeof(T);
        if (bytes < kPage) {
            return static_cast<T*>(::operator new (bytes, std::align_val_t{alignment()}));
        }
        void* p = ::operator new (bytes, std::align_val_t{kPage});
        // Advice: where it is not taken, the pages are small ones.
        (void)madvise(p, bytes / kPage * kPage, MADV_HUGEPAGE);
        return static_cast<T*>(p);
    }
    void deallocate(T* p, std::size_t count) {
        const bool huge = count * sizeof(T) >= kPage;
        ::operator delete (p, std::align_val_t{huge ? kPage : alignment()});
    }

    friend bool operator==(const HugeAllocator&, const HugeAllocator&) { return true; }

  private:
    static constexpr std::size_t alignment() { return alignof(T) < 64 ? 64 : alignof(T); }
};

template <typename T>
using Rows = std::vector<T, HugeAllocator<T>>;

// Rows that only a reference of their own kind leads to; it must be valid.
template <typename T, typename Ref>
class RowsOf {
  public:
    explicit RowsOf(std::uint32_t count) : rows_(count) {}
    T& operator[](Ref ref) { return rows_[ref.value]; }
    const T& operator[](Ref ref) const { return rows_[ref.value]; }
    [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(rows_.size()); }

  private:
    Rows<T> rows_;
};

}  // namespace dr::liveness
