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
    // True as well when the kernel cannot be asked: nothing is said then.
    bool has(const IpAddress& address);

  private:
    std::mutex mutex_;
    std::chrono::steady_clock::time_point read_at_;
    std::set<IpAddress> addresses_;
};

}  // namespace dr::control
