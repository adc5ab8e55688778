// Reads the state of a kernel interface.
#include "dataplane/ports/interface.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <set>
#include <system_error>

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

namespace {

// Names of the devices that are up and have an address of their own.
std::set<std::string> addressed() {
    std::set<std::string> names;
    ifaddrs* all = nullptr;
    if (getifaddrs(&all) != 0) return names;
    for (const ifaddrs* at = all; at != nullptr; at = at->ifa_next) {
        if (at->ifa_addr == nullptr || (at->ifa_flags & IFF_UP) == 0) continue;
        const int family = at->ifa_addr->sa_family;
        if (family != AF_INET && family != AF_INET6) continue;
        sockaddr_in6 six{};
        if (family == AF_INET6) std::memcpy(&six, at->ifa_addr, sizeof six);
        if (family == AF_INET || !IN6_IS_ADDR_LINKLOCAL(&six.sin6_addr)) names.insert(at->ifa_name);
    }
    freeifaddrs(all);
    return names;
}

}  // namespace

std::array<wire::Mac, 4> macs_above(const std::string& name) {
    constexpr std::string_view kUpper = "upper_";
    std::set<std::string> above;
    std::error_code failed;
    // The interface may vanish meanwhile: nothing here may throw.
    for (std::filesystem::directory_iterator at("/sys/class/net/" + name, failed), end;
         !failed && at != end; at.increment(failed)) {
        const std::string file = at->path().filename().string();
        if (file.starts_with(kUpper)) above.insert(file.substr(kUpper.size()));
    }
    std::array<wire::Mac, 4> out{};
    if (above.empty()) return out;
    const std::set<std::string> usable = addressed();
    const wire::Mac own = interface_of(name).mac;
    std::set<wire::Mac> found;
    for (const std::string& device : above)
        if (usable.contains(device)) found.insert(interface_of(device).mac);
    found.erase(own);
    std::copy_n(found.begin(), std::min(found.size(), out.size()), out.begin());
    return out;
}

}  // namespace dr
