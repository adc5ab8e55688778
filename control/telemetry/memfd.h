// What the data plane hands over as a memfd, mapped read-only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "base/file_descriptor.h"

namespace dr::control {

// What the data plane handed over cannot be read: it is cut, of another layout, or not whole.
class MemfdError : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

// Maps the first `bytes` bytes of the memfd, read-only and shared; munmap() of `bytes` ends it. Any
// thread. `what` names the memfd in errors: "counters".
//
// Throws MemfdError when there is no descriptor, when the memfd has fewer than `bytes` bytes,
// when `bytes` is less than `at_least`, or when the memfd could shrink: F_SEAL_SHRINK keeps it
// whole. Else a data plane that cuts it would end this process: a load beyond the end is a SIGBUS.
const std::uint8_t* map_memfd(const FileDescriptor& fd, std::uint64_t bytes, std::size_t at_least,
                              const char* what);

}  // namespace dr::control
