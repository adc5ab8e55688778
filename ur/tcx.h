// tcx, Linux 6.6: programs on a device's ingress or egress, before all qdiscs and filters. A
// program stays attached when the process ends, until the device goes. Any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/file_descriptor.h"

namespace dr::ur {

class Tcx final {
  public:
    // Of the device with this index.
    Tcx(int index, bool ingress);

    // The ids of the programs that are attached, the first one first. Empty also where the kernel
    // has no tcx.
    [[nodiscard]] std::vector<std::uint32_t> ids() const;
    // Those of urd's programs among them that are not `but`: an earlier run has left them. Programs
    // are told by CAP_SYS_ADMIN, which urd has at its start; without it there are none.
    [[nodiscard]] std::vector<FileDescriptor> left_over(std::uint32_t but) const;
    // Attaches the program before all others, in the place of one that an earlier run has left. 0,
    // or the error number: EINVAL where the kernel has no tcx.
    [[nodiscard]] int attach(int program, std::uint32_t id) const;
    void detach(int program) const;

  private:
    int index_;
    int type_;
};

}  // namespace dr::ur
