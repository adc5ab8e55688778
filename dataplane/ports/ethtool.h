// Questions to a device by the ethtool ioctl. Thread: main.
#pragma once

#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <vector>

#include "base/file_descriptor.h"

namespace dr {

class Ethtool {
  public:
    // Requests end in arrays of a length that the device tells, so they are built in words.
    using Words = std::vector<std::uint32_t>;

    explicit Ethtool(const std::string& interface)
        : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        interface.copy(request_.ifr_name, IFNAMSIZ - 1);
    }
    // `command`: a structure of linux/ethtool.h. 0 or more, or -1 and errno.
    int operator()(void* command) {
        request_.ifr_data = static_cast<char*>(command);
        return ::ioctl(socket_.get(), SIOCETHTOOL, &request_);
    }

  private:
    FileDescriptor socket_;
    ifreq request_{};
};

}  // namespace dr
