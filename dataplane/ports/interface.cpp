#include "dataplane/ports/interface.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "base/file_descriptor.h"

namespace dr {

Interface interface_of(const std::string& name) {
    Interface found;
    const FileDescriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    if (ioctl(socket.get(), SIOCGIFINDEX, &request) == 0)
        found.index = static_cast<unsigned>(request.ifr_ifindex);
    if (ioctl(socket.get(), SIOCGIFFLAGS, &request) == 0) {
        found.up = (request.ifr_flags & IFF_UP) != 0;
        found.running = found.up && (request.ifr_flags & IFF_RUNNING) != 0;
    }
    if (ioctl(socket.get(), SIOCGIFMTU, &request) == 0)
        found.mtu = static_cast<std::uint16_t>(std::min(request.ifr_mtu, 65'535));
    if (ioctl(socket.get(), SIOCGIFHWADDR, &request) == 0)
        std::memcpy(found.mac.data(), request.ifr_hwaddr.sa_data, found.mac.size());
    return found;
}

}  // namespace dr
