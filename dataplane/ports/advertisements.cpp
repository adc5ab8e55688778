// Switches router advertisements off on a device.
#include "dataplane/ports/advertisements.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"

namespace dr {

bool ignore_advertisements(const std::string& interface, std::string* error) {
    const std::string path = fmt::format("/proc/sys/net/ipv6/conf/{}/accept_ra", interface);
    char now = 0;
    const FileDescriptor reads(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!reads.valid() && errno == ENOENT) return true;
    if (reads.valid() && ::read(reads.get(), &now, 1) == 1 && now == '0') return true;
    const FileDescriptor writes(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (writes.valid() && ::write(writes.get(), "0", 1) == 1) return true;
    *error = fmt::format(
        "router advertisements cannot be switched off on {} ({}), and whoever is on its network "
        "can take addresses to itself: sysctl -w net.ipv6.conf.{}.accept_ra=0",
        interface, std::strerror(errno), interface);
    return false;
}

}  // namespace dr
