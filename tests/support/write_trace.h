// Which cache lines of given memory a piece of code writes: the pages are made read-only, and each
// store that faults is noted, let through by single-stepping it, and the pages closed again.
// x86-64 only, one thread, and nothing in between may make system calls that write there.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <vector>

namespace dr::test {

struct MemoryRange {
    const void* data;
    std::size_t bytes;
};

class WriteTrace final {
  public:
    explicit WriteTrace(std::span<const MemoryRange> ranges);
    ~WriteTrace();
    WriteTrace(const WriteTrace&) = delete;
    WriteTrace& operator=(const WriteTrace&) = delete;

    // Addresses, divided by 64, of what `code` stores into the pages of the ranges.
    template <typename Code>
    std::set<std::uintptr_t> lines(Code code) {
        begin();
        code();
        return end();
    }

  private:
    void begin();
    std::set<std::uintptr_t> end();
};

}  // namespace dr::test
