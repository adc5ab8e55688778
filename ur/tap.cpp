#include "ur/tap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstring>
#include <system_error>

namespace dr::ur {

Tap::Tap(const std::string& name) : name_(name) {
    const auto fail = [&](const std::string& what) {
        const int error = errno;
        if (fd_ >= 0) ::close(fd_);
        throw std::system_error(error, std::generic_category(), what);
    };
    if (name.empty() || name.size() >= IFNAMSIZ) {
        errno = EINVAL;
        fail("tunnel device \"" + name + "\": the name must have 1 to 15 characters");
    }
    fd_ = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) fail("/dev/net/tun");
    ifreq request{};
    std::memcpy(request.ifr_name, name.data(), name.size());
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
    if (::ioctl(fd_, TUNSETIFF, &request) != 0)
        fail("creating the tunnel device " + name + " (is another urd running?)");
    // Nothing is read from the device, so it can promise every offload: packets stay whole until a
    // line's device splits them.
    ::ioctl(fd_, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
    index_ = static_cast<int>(::if_nametoindex(name.c_str()));
    if (::ioctl(fd_, SIOCGIFHWADDR, &request) != 0) fail("address of the tunnel device " + name);
    std::memcpy(mac_.data(), request.ifr_hwaddr.sa_data, mac_.size());
}

Tap::~Tap() {
    ::close(fd_);
}

}  // namespace dr::ur
