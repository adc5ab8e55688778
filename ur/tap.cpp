// Makes the tunnel device.
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
    make();
}

void Tap::make_again() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
    make();
}

void Tap::make() {
    const auto fail = [&](const std::string& what) {
        const int error = errno;
        if (fd_ >= 0) ::close(fd_);
        fd_ = -1;
        throw std::system_error(error, std::generic_category(), what);
    };
    if (name_.empty() || name_.size() >= IFNAMSIZ) {
        errno = EINVAL;
        fail("tunnel device \"" + name_ + "\": the name must have 1 to 15 characters");
    }
    fd_ = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (fd_ < 0) fail("/dev/net/tun");
    ifreq request{};
    std::memcpy(request.ifr_name, name_.data(), name_.size());
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL);
    if (::ioctl(fd_, TUNSETIFF, &request) != 0)
        fail("creating the tunnel device " + name_ + " (is another urd running?)");
    // Nothing is read from the device, so it can promise every offload: packets stay whole until a
    // line's device splits them.
    ::ioctl(fd_, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN);
    index_ = static_cast<int>(::if_nametoindex(name_.c_str()));
    if (::ioctl(fd_, SIOCGIFHWADDR, &request) != 0) fail("address of the tunnel device " + name_);
    std::memcpy(mac_.data(), request.ifr_hwaddr.sa_data, mac_.size());
}

Tap::~Tap() {
    if (fd_ >= 0) ::close(fd_);
}

}  // namespace dr::ur
