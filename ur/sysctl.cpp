// Reads and writes files under /proc/sys.
#include "ur/sysctl.h"

#include <cerrno>
#include <fstream>
#include <system_error>
#include <utility>

namespace dr::ur {

namespace {

bool write_sysctl(const std::string& name, const std::string& value) {
    std::ofstream file("/proc/sys/net/" + name);
    file << value << std::flush;
    return file.good();
}

}  // namespace

std::string read_sysctl(const std::string& name) {
    std::ifstream file("/proc/sys/net/" + name);
    std::string value;
    std::getline(file, value);
    return value;
}

SysctlGuard::SysctlGuard(std::string name, std::string value)
    : name_(std::move(name)), value_(std::move(value)) {
    restore();
}

SysctlGuard::SysctlGuard(SysctlGuard&& other) noexcept
    : name_(std::exchange(other.name_, {})),
      value_(std::move(other.value_)),
      before_(std::move(other.before_)) {}

SysctlGuard::~SysctlGuard() {
    // The device may be gone by now, and its setting with it.
    if (!name_.empty() && !before_.empty() && before_ != value_) write_sysctl(name_, before_);
}

bool SysctlGuard::restore() {
    const std::string now = read_sysctl(name_);
    if (now.empty()) return false;
    if (before_.empty()) before_ = now;
    if (now == value_) return false;
    if (!write_sysctl(name_, value_))
        throw std::system_error(errno, std::generic_category(),
                                "setting /proc/sys/net/" + name_ + " to " + value_);
    return true;
}

}  // namespace dr::ur
