// The addresses of this machine's network devices, as the kernel has them.
#pragma once

#include <chrono>
#include <mutex>
#include <set>

#include "base/ip.h"

namespace dr::control {

// Read again when they are older than a second. Any thread.
class OwnAddresses {
  public:
    // Also true if the kernel cannot be asked, so that no warning is given.
    bool has(const IpAddress& address);

  private:
    std::mutex mutex_;
    std::chrono::steady_clock::time_point read_at_;
    std::set<IpAddress> addresses_;
};

}  // namespace dr::control
