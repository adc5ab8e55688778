// What the data plane hands over as a memfd, mapped read-only.
#pragma once

#include <cstddef>
#include <cstdint>

#include "control/southbound/channel.h"

namespace dr::control {

// Maps the first `bytes` bytes of the memfd, read-only and shared; munmap() of `bytes` ends it. Any
// thread. `what` names the memfd in errors: "counters".
//
// Throws ChannelError when there is no descriptor, when the memfd has fewer than `bytes` bytes,
// when `bytes` is less than `at_least`, or when the memfd could shrink: F_SEAL_SHRINK keeps it
// whole. Else a data plane that cuts it would end this process: a load beyond the end is a SIGBUS.
const std::uint8_t* map_memfd(const Fd& fd, std::uint64_t bytes, std::size_t at_least,
                              const char* what);

}  // namespace dr::control
