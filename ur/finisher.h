// A pair of devices behind which packets are finished: at the first one the kernel splits what is
// segmentable and fills in checksums, because that device can do neither; what comes out of the
// second one is what a UDP checksum can be computed over (bpf/encapsulate.h).
#pragma once

#include <string>

#include "ur/netlink.h"

namespace dr::ur {

class Finisher final {
  public:
    // Makes the pair, named after the tunnel device; one of that name, left by a killed run, is
    // replaced. Throws std::system_error.
    Finisher(Netlink& netlink, const std::string& device);
    ~Finisher();
    Finisher(const Finisher&) = delete;
    Finisher& operator=(const Finisher&) = delete;

    // Both devices are there and up.
    [[nodiscard]] bool whole();
    [[nodiscard]] int in() const { return in_; }    // interface index; where packets are sent
    [[nodiscard]] int out() const { return out_; }  // where they arrive

  private:
    Netlink& netlink_;
    std::string in_name_, out_name_;
    int in_ = 0;
    int out_ = 0;
};

}  // namespace dr::ur
