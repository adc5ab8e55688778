// Makes the pair of devices, and sets what they cannot do.
#include "ur/finisher.h"

#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>
#include <system_error>

namespace dr::ur {

namespace {

constexpr unsigned kMtu = 65535;  // the tunnel device's MTU bounds what comes

// A device's name has 15 characters.
std::string name_of(const std::string& device, std::string_view end) {
    return device.substr(0, IFNAMSIZ - 1 - end.size()).append(end);
}

void switch_off(int socket, const std::string& device, std::uint32_t command) {
    ethtool_value value{command, 0};
    ifreq request{};
    device.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&value);
    if (::ioctl(socket, SIOCETHTOOL, &request) != 0)
        throw std::system_error(errno, std::generic_category(),
                                "switching off the offloads of " + device);
}

void without_offloads(const std::string& device) {
    const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket < 0) throw std::system_error(errno, std::generic_category(), "a socket for ioctls");
    try {
        for (const std::uint32_t command : {ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_STXCSUM})
            switch_off(socket, device, command);
    } catch (...) {
        ::close(socket);
        throw;
    }
    ::close(socket);
}

}  // namespace

Finisher::Finisher(Netlink& netlink, const std::string& device)
    : netlink_(netlink), in_name_(name_of(device, "-sum")), out_name_(name_of(device, "-summed")) {
    if (const auto old = netlink.link(in_name_)) netlink.remove_link(old->index);
    netlink.add_pair(in_name_, out_name_);
    in_ = static_cast<int>(::if_nametoindex(in_name_.c_str()));
    out_ = static_cast<int>(::if_nametoindex(out_name_.c_str()));
    without_offloads(in_name_);
    for (const int index : {in_, out_}) netlink.set_up_device(index, kMtu);
}

bool Finisher::whole() {
    const auto in = netlink_.link(in_name_), out = netlink_.link(out_name_);
    return in && out && in->index == in_ && out->index == out_ && in->usable && out->usable;
}

Finisher::~Finisher() {
    try {
        netlink_.remove_link(in_);
    } catch (const std::exception&) {
        return;  // it is gone, or goes with the namespace
    }
}

}  // namespace dr::ur
