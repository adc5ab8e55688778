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

SysctlGuard::SysctlGuard(std::string name, const std::string& value)
    : name_(std::move(name)), before_(read_sysctl(name_)) {
    if (before_ == value)
        name_.clear();
    else if (!write_sysctl(name_, value))
        throw std::system_error(errno, std::generic_category(),
                                "setting /proc/sys/net/" + name_ + " to " + value);
}

SysctlGuard::SysctlGuard(SysctlGuard&& other) noexcept
    : name_(std::exchange(other.name_, {})), before_(std::move(other.before_)) {}

SysctlGuard::~SysctlGuard() {
    // The device may be gone by now, and its setting with it.
    if (!name_.empty()) write_sysctl(name_, before_);
}

}  // namespace dr::ur
