#include "ur/lines.h"

#include <exception>
#include <utility>

#include "ur/log.h"

namespace dr::ur {

Lines::Lines(Netlink& netlink, Datapath& datapath, std::set<std::string> always)
    : netlink_(netlink), datapath_(datapath), always_(std::move(always)) {
    keep({});
    restore();
}

Lines::~Lines() {
    if (!leave_)
        for (auto& [name, device] : devices_) detach(device);
}

void Lines::detach(Device& device) {
    try {
        if (device.grouped) netlink_.set_group(device.index, 0);
    } catch (const std::exception&) {
        // The device is gone.
    }
    device.grouped = false;
    device.index = 0;
    device.in.reset();
    device.out.reset();
}

std::optional<Link> Lines::attach(const std::string& device) {
    const auto link = netlink_.link(device);
    Device& entry = devices_[device];
    if (entry.index == (link ? link->index : 0)) return link;
    detach(entry);
    if (link) {
        // The guard knows the device before its first packet arrives.
        entry.index = link->index;
        tell_datapath();
        try {
            entry.out = std::make_unique<Hook>(netlink_, link->index, false,
                                               datapath_.line_out_program(link->ethernet));
            entry.in = std::make_unique<Hook>(netlink_, link->index, true,
                                              datapath_.downlink_program(link->ethernet));
        } catch (...) {
            detach(entry);
            tell_datapath();
            throw;
        }
    }
    tell_datapath();
    return link;
}

void Lines::tell_datapath() {
    std::vector<int> indexes;
    for (const auto& [name, device] : devices_)
        if (device.index != 0) indexes.push_back(device.index);
    datapath_.set_lines(indexes);
}

void Lines::restore() {
    for (auto& [name, device] : devices_) {
        try {
            const auto link = attach(name);
            if (!link) continue;
            device.grouped = device.grouped || link->group == kLineGroup;
            if (link->group == 0) {
                netlink_.set_group(link->index, kLineGroup);
                device.grouped = true;
            }
            const bool out = device.out->restore();
            const bool in = device.in->restore();
            if (out || in)
                say("warning: line device %s: the tc programs had been taken away; "
                    "attached again",
                    name.c_str());
            device.trouble.clear();
        } catch (const std::exception& e) {
            if (std::exchange(device.trouble, e.what()) != e.what())
                say("warning: line device %s: %s", name.c_str(), e.what());
        }
    }
}

void Lines::leave() {
    leave_ = true;
    for (auto& [name, device] : devices_)
        for (Hook* hook : {device.in.get(), device.out.get()})
            if (hook != nullptr) hook->keep();
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

void Lines::keep(std::set<std::string> devices) {
    devices.insert(always_.begin(), always_.end());
    for (auto& [name, device] : devices_)
        if (!devices.contains(name)) detach(device);
    std::erase_if(devices_, [&](const auto& entry) { return !devices.contains(entry.first); });
    for (const auto& device : devices) devices_.try_emplace(device);
    tell_datapath();
}

LineFamilies Lines::families(const std::string& device) {
    const auto link = netlink_.link(device);
    if (!link) return {};
    return {netlink_.address_of(link->index, 4).family != 0,
            netlink_.address_of(link->index, 6).family != 0};
}

}  // namespace dr::ur
