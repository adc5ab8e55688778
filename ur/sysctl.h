// Network settings under /proc/sys/net that urd changes for as long as it runs.
#pragma once

#include <string>

namespace dr::ur {

// "" when it cannot be read. `name` like "ipv4/conf/eth0/forwarding".
std::string read_sysctl(const std::string& name);

// Sets a value and puts the old one back at the end.
class SysctlGuard final {
  public:
    // Throws std::system_error.
    SysctlGuard(std::string name, const std::string& value);
    ~SysctlGuard();
    SysctlGuard(SysctlGuard&& other) noexcept;
    SysctlGuard(const SysctlGuard&) = delete;
    SysctlGuard& operator=(const SysctlGuard&) = delete;
    SysctlGuard& operator=(SysctlGuard&&) = delete;

  private:
    std::string name_;
    std::string before_;
};

}  // namespace dr::ur
