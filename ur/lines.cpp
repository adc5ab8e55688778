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

void Lines::refresh() {
    std::uint32_t eligible = 0;
    for (const auto& tunnel : config_.tunnels) {
        const auto link = attach(tunnel.device);
        IpAddress local = tunnel.local;
        if (link && local.family == 0)
            local = netlink_.address_of(link->index, tunnel.remote.family);
        if (!link || !link->usable || local.family == 0) {
            datapath_.set_path(tunnel, 0, local, {});
            continue;
        }
        datapath_.set_path(tunnel, link->index, local,
                           netlink_.gateway(link->index, local, tunnel.remote));
        eligible |= 1U << tunnel.slot;
    }
    datapath_.set_eligible(eligible);
}

}  // namespace dr::ur
