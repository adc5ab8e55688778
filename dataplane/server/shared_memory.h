// Memory that this process writes and hands to others by a descriptor, read-only: a memfd.
//
// One thread makes it; who writes it then is its user's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "dataplane/southbound/protocol.h"

namespace dr::southbound {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
    return (value + to - 1) / to * to;
}
// Memory that different threads write begins on different pages.
inline constexpr std::uint64_t kPage = 4096;

class SharedMemory final {
  public:
    SharedMemory() = default;
    ~SharedMemory();
    SharedMemory(const SharedMemory&) = delete;
    SharedMemory& operator=(const SharedMemory&) = delete;

    // `bytes` of zeros; pages are taken when they are written. `name`: as others see it in /proc.
    // `flags`: of memfd_create(2) beside those that are always set. false, and *error: it is as it
    // was.
    bool make(const char* name, std::size_t bytes, unsigned flags, std::string* error);
    // From now on nobody can map it for writing, or change its size; this mapping stays.
    bool seal(std::string* error) const;
    // Adds it to the memory of a State, under `name`. The kernel knows which pages are taken.
    void report(const char* name, State* state) const;

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

    // What lies at an offset.
    template <typename T>
    [[nodiscard]] T* at(std::uint64_t offset = 0) const {
        return reinterpret_cast<T*>(static_cast<std::uint8_t*>(base_) + offset);
    }

  private:
    const char* name_ = "";
    int fd_ = -1;
    void* base_{};
    std::size_t bytes_{};
};

}  // namespace dr::southbound
