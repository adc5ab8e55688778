// What the fuzzers share: failing with words, and taking values off the front of an input.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

namespace dr::fuzz {

[[noreturn]] inline void give_up(const std::string& what) {
    std::fprintf(stderr, "fuzz: %s\n", what.c_str());
    std::abort();
}

inline void require(bool condition, const std::string& what) {
    if (!condition) give_up(what);
}

// Zeros follow the input's end.
class Input final {
  public:
    Input(const std::uint8_t* data, std::size_t size) : rest_(data, size) {}

    template <typename T>
    T take() {
        T value{};
        const std::size_t n = std::min(sizeof value, rest_.size());
        if (n > 0) std::memcpy(&value, rest_.data(), n);
        rest_ = rest_.subspan(n);
        return value;
    }
    std::span<const std::uint8_t> bytes(std::size_t at_most) {
        const auto out = rest_.first(std::min(at_most, rest_.size()));
        rest_ = rest_.subspan(out.size());
        return out;
    }
    [[nodiscard]] std::span<const std::uint8_t> rest() const { return rest_; }
    [[nodiscard]] std::string text() const {
        return {reinterpret_cast<const char*>(rest_.data()), rest_.size()};
    }
    [[nodiscard]] bool empty() const { return rest_.empty(); }

  private:
    std::span<const std::uint8_t> rest_;
};

// A file that goes with the process. `size` may be more than there are bytes: zeros follow.
// Whoever calls this closes it.
inline int memory_file(std::span<const std::uint8_t> bytes, std::uint64_t size) {
    const int fd = ::memfd_create("dr-fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(size)) != 0) give_up("memfd");
    const std::size_t n = std::min<std::uint64_t>(bytes.size(), size);
    if (::pwrite(fd, bytes.data(), n, 0) != static_cast<ssize_t>(n)) give_up("memfd: write");
    // Without this seal it is refused before anything of it is read.
    if (::fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) != 0) give_up("memfd: seal");
    return fd;
}

}  // namespace dr::fuzz
