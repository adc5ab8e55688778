#include "ur/lines.h"

namespace dr::ur {

std::optional<Link> Lines::attach(const std::string& device) {
    const auto link = netlink_.link(device);
    Device& entry = devices_[device];
    if (!link) {
        entry = {};
        return link;
    }
    if (entry.index == link->index) return link;
    entry = {};
    entry.hook = std::make_unique<Hook>(netlink_, link->index, true,
                                        datapath_.downlink_program(link->ethernet));
    entry.index = link->index;
    return link;
}

LinePath Lines::look(const Tunnel& tunnel) {
    LinePath path;
    if (tunnel.device.empty()) return path;
    const auto link = attach(tunnel.device);
    if (!link) return path;
    path.index = link->index;
    path.local = tunnel.local.family != 0 ? tunnel.local
                                          : netlink_.address_of(link->index, tunnel.remote.family);
    path.usable = link->usable && path.local.family != 0;
    if (path.usable) path.next_hop = netlink_.gateway(link->index, path.local, tunnel.remote);
    return path;
}

void Lines::keep(const std::set<std::string>& devices) {
    std::erase_if(devices_, [&](const auto& entry) { return !devices.contains(entry.first); });
}

LineFamilies Lines::families(const std::string& device) {
    const auto link = netlink_.link(device);
    if (!link) return {};
    return {netlink_.address_of(link->index, 4).family != 0,
            netlink_.address_of(link->index, 6).family != 0};
}

}  // namespace dr::ur
