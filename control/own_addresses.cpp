// Reads the addresses of this machine's devices.
#include "control/own_addresses.h"

#include <ifaddrs.h>
#include <netinet/in.h>

#include <cstring>

namespace dr::control {
namespace {

std::set<IpAddress> read_addresses() {
    std::set<IpAddress> out;
    ifaddrs* list = nullptr;
    if (::getifaddrs(&list) != 0) return out;
    for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
        if (at->ifa_addr == nullptr) continue;
        IpAddress address{};
        if (at->ifa_addr->sa_family == AF_INET) {
            sockaddr_in in{};
            std::memcpy(&in, at->ifa_addr, sizeof in);
            address.family = 4;
            std::memcpy(address.bytes.data(), &in.sin_addr, 4);
        } else if (at->ifa_addr->sa_family == AF_INET6) {
            sockaddr_in6 in{};
            std::memcpy(&in, at->ifa_addr, sizeof in);
            address.family = 6;
            std::memcpy(address.bytes.data(), &in.sin6_addr, 16);
        } else {
            continue;
        }
        out.insert(address);
    }
    ::freeifaddrs(list);
    return out;
}

}  // namespace

bool OwnAddresses::has(const IpAddress& address) {
    const std::lock_guard lock(mutex_);
    const auto now = std::chrono::steady_clock::now();
    if (addresses_.empty() || now - read_at_ > std::chrono::seconds(1)) {
        addresses_ = read_addresses();
        read_at_ = now;
    }
    return addresses_.empty() || addresses_.contains(address);
}

}  // namespace dr::control
