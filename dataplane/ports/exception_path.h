// The way between a port that DPDK owns and the kernel: what is the kernel's goes out of the port's
// TAP, what the kernel sends goes out of the port.
//
// Thread: the writer, which transmits on the port's last queue.
#pragma once

#include <memory>

#include "dataplane/ports/port.h"

struct rte_ring;

namespace dr {

class ExceptionPath final {
  public:
    // Null when no port has a TAP, or (with a reason) when there is no memory.
    static std::unique_ptr<ExceptionPath> create(const Ports& ports, std::string* error);
    ~ExceptionPath();
    ExceptionPath(const ExceptionPath&) = delete;
    ExceptionPath& operator=(const ExceptionPath&) = delete;

    // Workers put whole frames here (WorkerShared::punt).
    [[nodiscard]] rte_ring* ring() const { return ring_; }
    // Moves what waits in both directions, at most a bounded amount of it.
    void poll() const;

  private:
    explicit ExceptionPath(const Ports& ports) : ports_(ports) {}
    void to_kernel() const;
    void from_kernel(const Port& port) const;

    const Ports& ports_;
    rte_ring* ring_{};
};

}  // namespace dr
