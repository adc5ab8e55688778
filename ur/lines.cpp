// Lines' devices, addresses and ports; what makes one usable.
#include "ur/lines.h"

#include <net/if.h>

#include <algorithm>
#include <array>
#include <exception>
#include <stdexcept>
#include <system_error>
#include <utility>
#include <vector>

#include "ur/log.h"
#include "ur/prefix_check.h"

namespace dr::ur {
namespace {

// Of the device with this index; empty: there is none.
std::string name_of(int index) {
    std::array<char, IF_NAMESIZE> name{};
    const char* found = ::if_indextoname(static_cast<unsigned>(index), name.data());
    return found == nullptr ? std::string() : found;
}

}  // namespace

Lines::Lines(Netlink& netlink, Datapath& datapath, Repairs& repairs, std::set<std::string> always,
             std::string lan)
    : netlink_(netlink),
      datapath_(datapath),
      repairs_(repairs),
      always_(std::move(always)),
      lan_(std::move(lan)) {
    keep({});
    restore();
}

Lines::~Lines() {
    if (!leave_)
        for (auto at = guards_.begin(); at != guards_.end();) at = detach(at);
}

Lines::Guards::iterator Lines::detach(Guards::iterator at) {
    try {
        if (at->second.grouped) netlink_.set_group(at->first, 0);
    } catch (const std::exception&) {
        // The device is gone.
    }
    at->second.in.reset();
    return guards_.erase(at);
}

std::optional<Link> Lines::attach(const std::string& device) {
    const auto link = netlink_.link(device);
    Device& entry = devices_[device];
    if (entry.index == (link ? link->index : 0)) return link;
    entry.index = 0;
    if (link) guard(*link, device);
    entry.index = link ? link->index : 0;
    let_go();
    return link;
}

std::optional<Link> Lines::try_attach(const std::string& device, std::string& trouble) {
    try {
        return attach(device);
    } catch (const std::exception& e) {
        trouble = e.what();
        tell_trouble(device, trouble);
        return std::nullopt;
    }
}

void Lines::guard(const Link& link, const std::string& device) {
    const auto [at, added] = guards_.try_emplace(link.index);
    Guard& guard = at->second;
    guard.device = device;
    if (!added) return;
    // The guard knows the device before its first packet arrives.
    tell_datapath();
    if (const auto lower = below_.find(link.index); lower != below_.end()) {
        if (lower->second.in != nullptr) lower->second.in->keep();  // it is replaced
        below_.erase(lower);
    }
    try {
        guard.out = std::make_unique<Hook>(netlink_, link.index, false,
                                           datapath_.line_out_program(link.ethernet));
        guard.in = std::make_unique<Hook>(netlink_, link.index, true,
                                          datapath_.downlink_program(link.ethernet));
    } catch (const std::system_error& e) {
        detach(at);
        tell_datapath();
        throw std::runtime_error(std::string("it is not used, it has no guard: ") + e.what());
    }
    if (guard.out->before_others() || guard.in->before_others())
        say("line device %s: the guard is attached before a qdisc or a filter that was there",
            device.c_str());
}

void Lines::let_go() {
    for (auto at = guards_.begin(); at != guards_.end();) {
        const auto owner = devices_.find(at->second.device);
        const bool known = owner != devices_.end();
        const bool stays =
            known && (owner->second.index == at->first || !name_of(at->first).empty());
        at = stays ? std::next(at) : detach(at);
    }
    tell_datapath();
}

void Lines::tell_datapath() {
    // Where there are more than fit, those below and those that were renamed are left out first.
    std::vector<int> indexes;
    for (const auto& [index, guard] : guards_) {
        const auto at = devices_.find(guard.device);
        const bool present = at != devices_.end() && at->second.index == index;
        indexes.insert(present ? indexes.begin() : indexes.end(), index);
    }
    for (const auto& [index, below] : below_) indexes.push_back(index);
    datapath_.set_lines(indexes);
}

void Lines::restore_hooks(const std::string& device, Guard& guard) {
    std::string failed;
    bool again = false, before = false;
    // What one of them cannot have says nothing of the other.
    for (Hook* hook : {guard.out.get(), guard.in.get()}) {
        try {
            const HookRepair repair = hook->restore();
            again = again || repair == HookRepair::Again;
            before = before || repair == HookRepair::Before;
        } catch (const std::system_error& e) {
            failed = e.what();
        }
    }
    if (std::exchange(guard.gap, failed) != failed) gap_changed_ = true;
    const std::string line = "line device " + device + ": ";
    if (before)
        repairs_.note("hooks before " + device,
                      line +
                          "another qdisc or filter had come before the tc programs; attached "
                          "before it");
    if (!failed.empty()) throw std::runtime_error("it is not used, it has no guard: " + failed);
    if (again)
        repairs_.note("hooks " + device,
                      line + "the tc programs had been taken away; attached again");
}

std::string Lines::trouble_of(const std::string& device) const {
    const int index = devices_.at(device).index;
    std::string renamed;
    for (const auto& [other, guard] : guards_)
        if (guard.device == device && other != index) renamed = name_of(other);
    if (index == 0 && renamed.empty()) return "there is no such device; its line is down";
    if (index == 0)
        return "it is called " + renamed + " now; its line is down, and the guard stays on it";
    if (renamed.empty()) return {};
    return "another device has its name now; the guard stays on the one before too, which is "
           "called " +
           renamed;
}

void Lines::tell_trouble(const std::string& device, const std::string& trouble) {
    const std::string before = std::exchange(devices_[device].trouble, trouble);
    if (before == trouble) return;
    if (trouble.empty())
        say("line device %s: it is as it should be again", device.c_str());
    else
        say("warning: line device %s: %s", device.c_str(), trouble.c_str());
}

bool Lines::restore() {
    for (const auto& [name, device] : devices_) {
        try {
            const auto link = attach(name);
            if (link) {
                Guard& guard = guards_.at(link->index);
                guard.grouped = guard.grouped || link->group == kLineGroup;
                if (link->group == 0) {
                    netlink_.set_group(link->index, kLineGroup);
                    guard.grouped = true;
                }
                restore_hooks(name, guard);
            }
            tell_trouble(name, trouble_of(name));
        } catch (const std::exception& e) {
            tell_trouble(name, e.what());
        }
    }
    restore_below();
    let_go();
    for (auto& [index, guard] : guards_) {
        if (devices_.at(guard.device).index == index) continue;
        try {
            restore_hooks(guard.device, guard);
        } catch (const std::exception&) {
            // It has gone meanwhile; the next look finds that.
        }
    }
    return std::exchange(gap_changed_, false);
}

void Lines::leave() {
    leave_ = true;
    for (auto& [index, guard] : guards_)
        for (Hook* hook : {guard.in.get(), guard.out.get()})
            if (hook != nullptr) hook->keep();
    for (auto& [index, below] : below_)
        if (below.in != nullptr) below.in->keep();
}

// What lies in the site's prefixes is not the line's, no matter what gave it to the device.
std::vector<SourceAddress> Lines::sources(int index, std::uint8_t family) {
    auto own = netlink_.source_addresses(index, family);
    std::erase_if(own, [&](const auto& a) { return inside(prefixes_, a.address); });
    return own;
}

void Lines::choose_source(LinePath& path, const Tunnel& tunnel, const SourceWish& wish) {
    path.local = tunnel.local;
    if (path.local.family != 0) return;
    auto own = sources(path.index, tunnel.remote.family);
    for (auto& address : own) {
        path.sources.push_back(address.address);
        path.expires = path.expires || address.valid_s != UINT32_MAX;
        const auto gateway = netlink_.gateway(path.index, address.address, tunnel.remote);
        address.routed = gateway.has_value() && !inside(prefixes_, *gateway);
    }
    if (keeps_source(own, wish.used)) {
        path.local = wish.used;
        return;
    }
    const auto ranked = rank_sources(own, wish.answered,
                                     netlink_.source_to(path.index, tunnel.remote), tunnel.remote);
    if (!ranked.empty()) path.local = ranked[wish.turn ? wish.turn(ranked.size()) : 0];
}

LinePath Lines::look(const Tunnel& tunnel, const SourceWish& wish) {
    LinePath path;
    if (tunnel.device.empty()) return path;
    const auto link = try_attach(tunnel.device, path.trouble);
    if (!link) return path;
    path.index = link->index;
    path.mtu = link->mtu;
    path.link = link->usable;
    if (const std::string& gap = guards_.at(link->index).gap; !gap.empty()) {
        path.trouble = "it is not used, it has no guard: " + gap;
        path.link = false;
        return path;
    }
    choose_source(path, tunnel, wish);
    if (!path.link || path.local.family == 0) return path;
    const auto next_hop = netlink_.gateway(path.index, path.local, tunnel.remote);
    // The guard lets nobody be asked for an address of the site.
    path.usable = next_hop.has_value() && !inside(prefixes_, *next_hop);
    path.next_hop = next_hop.value_or(IpAddress{});
    return path;
}

void Lines::keep(std::set<std::string> devices) {
    devices.insert(always_.begin(), always_.end());
    devices.erase("");  // of a tunnel whose line has no device here
    std::erase_if(devices_, [&](const auto& entry) { return !devices.contains(entry.first); });
    for (const auto& device : devices) devices_.try_emplace(device);
    let_go();
}

LineFamilies Lines::families(const std::string& device) {
    const auto link = netlink_.link(device);
    if (!link) return {};
    const auto has = [&](std::uint8_t family) {
        const auto own = sources(link->index, family);
        return std::any_of(own.begin(), own.end(), [](const auto& a) { return a.ready; });
    };
    return {has(4), has(6)};
}

}  // namespace dr::ur
