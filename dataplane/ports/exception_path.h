// Connects a port that DPDK owns with the kernel: frames for the kernel go to the port's TAP, and
// frames from the kernel go out of the port.
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
    // Moves waiting frames in both directions, a bounded number at most.
    void poll() const;

  private:
    explicit ExceptionPath(const Ports& ports) : ports_(ports) {}
    void to_kernel() const;
    void from_kernel(const Port& port) const;

    const Ports& ports_;
    rte_ring* ring_{};
};

}  // namespace dr
