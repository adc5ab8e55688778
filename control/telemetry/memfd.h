// Maps a memfd of the data plane read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "base/file_descriptor.h"

namespace dr::control {

// A memfd of the data plane cannot be used: it is too short, or has another layout.
class MemfdError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Maps the first `bytes` bytes of the memfd, read-only and shared; munmap() of `bytes` ends it. Any
// thread. `what` names the memfd in errors: "counters".
//
// Throws MemfdError when there is no descriptor, when the memfd has fewer than `bytes` bytes, when
// `bytes` is less than `at_least`, or when the memfd could shrink. F_SEAL_SHRINK prevents that.
// Without it a data plane that truncates the memfd would end this process: a load beyond the end is
// a SIGBUS.
const std::uint8_t* map_memfd(const FileDescriptor& fd, std::uint64_t bytes, std::size_t at_least,
                              const char* what);

}  // namespace dr::control
