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

Finisher::Finisher(Netlink& netlink, const std::string& device) : netlink_(netlink) {
    const std::string in = name_of(device, "-sum"), out = name_of(device, "-summed");
    if (const auto old = netlink.link(in)) netlink.remove_link(old->index);
    netlink.add_pair(in, out);
    in_ = static_cast<int>(::if_nametoindex(in.c_str()));
    out_ = static_cast<int>(::if_nametoindex(out.c_str()));
    without_offloads(in);
    for (const int index : {in_, out_}) netlink.set_up_device(index, kMtu);
}

Finisher::~Finisher() {
    try {
        netlink_.remove_link(in_);
    } catch (const std::exception&) {
        return;  // it is gone, or goes with the namespace
    }
}

}  // namespace dr::ur
