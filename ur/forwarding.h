// The kernel's forwarding between the LAN and the tunnel device, for as long as urd runs, and the
// device from which ICMP errors take their source. Otherwise only settings of single devices are
// touched; what is global stays on where the operator has switched it on, and where it is off he is
// told. One thread.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "ur/config.h"
#include "ur/repairs.h"
#include "ur/sysctl.h"

namespace dr::ur {

class Forwarding final {
  public:
    // `lan` may be empty: then nothing but the tunnel device is set.
    Forwarding(std::string device, std::string lan, Repairs& repairs);

    // Enables what these prefixes need. Throws std::system_error.
    void enable(const std::vector<IpPrefix>& prefixes);
    // Sets again what somebody has changed, and what a device has that was made meanwhile. Throws
    // std::system_error.
    void restore();

  private:
    void enable4();
    void enable6();
    // A setting of all devices that urd needs: kept on where the operator has it on, else told.
    void need(const std::string& setting, const char* what_to_do);

    std::string device_;
    std::string lan_;
    Repairs& repairs_;
    std::set<std::uint8_t> families_;
    std::vector<SysctlGuard> guards_;
};

}  // namespace dr::ur
