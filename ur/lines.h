// The site's lines as the kernel has them now: devices, addresses, gateways. Keeps the programs
// attached to the devices that exist, and the tunnels' paths and the bucket maps up to date.
// One thread.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "ur/config.h"
#include "ur/datapath.h"
#include "ur/netlink.h"

namespace dr::ur {

class Lines final {
  public:
    Lines(Netlink& netlink, const Config& config, Datapath& datapath)
        : netlink_(netlink), config_(config), datapath_(datapath) {}

    // Looks at everything anew. A line is eligible when its device is up with carrier and the
    // tunnel's own address is known. Throws std::system_error when the kernel refuses.
    void refresh();

  private:
    struct Device {
        int index{};
        std::unique_ptr<Hook> hook;
    };
    // nullopt and detached when the device is not there.
    std::optional<Link> attach(const std::string& device);

    Netlink& netlink_;
    const Config& config_;
    Datapath& datapath_;
    std::map<std::string, Device> devices_;
};

}  // namespace dr::ur
