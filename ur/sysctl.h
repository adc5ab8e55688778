// Network settings under /proc/sys/net that urd changes for as long as it runs.
#pragma once

#include <string>

namespace dr::ur {

// "" when it cannot be read. `name` like "ipv4/conf/eth0/forwarding".
std::string read_sysctl(const std::string& name);

// Sets a value and puts the old one back at the end. A setting of a device that is not there is set
// when the device is (restore()).
class SysctlGuard final {
  public:
    // Throws std::system_error.
    SysctlGuard(std::string name, std::string value);
    ~SysctlGuard();
    SysctlGuard(SysctlGuard&& other) noexcept;
    SysctlGuard(const SysctlGuard&) = delete;
    SysctlGuard& operator=(const SysctlGuard&) = delete;
    SysctlGuard& operator=(SysctlGuard&&) = delete;

    // Sets the value again where it is another. True: it was. Throws std::system_error.
    bool restore();

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] const std::string& value() const { return value_; }

  private:
    std::string name_;  // empty: moved from
    std::string value_;
    std::string before_;  // empty: not known yet
};

}  // namespace dr::ur
