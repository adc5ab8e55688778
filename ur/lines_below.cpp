// The devices below the lines': a frame that is not in the line's VLAN, or not to its link address,
// gets from there to the kernel's routes, past the guard on the line.
#include <net/if.h>

#include <algorithm>
#include <array>
#include <exception>
#include <fstream>
#include <iterator>
#include <utility>

#include "ur/lines.h"
#include "ur/log.h"
#include "ur/pppoe.h"
#include "ur/prefix_check.h"

namespace dr::ur {

namespace {

std::string pppoe_sessions() {
    std::ifstream file(kPppoeSessions);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

// A line may be a VLAN on the LAN's device, or on a port of the LAN's bridge. Without --lan the LAN
// is known by an address that stays; one that expires may be from anybody.
bool Lines::is_lan(const Link& link) {
    if (link.enslaved) return true;
    if (!lan_.empty())
        if (const auto lan = netlink_.link(lan_); lan && lan->index == link.index) return true;
    for (const std::uint8_t family : {std::uint8_t{4}, std::uint8_t{6}}) {
        const auto own = netlink_.source_addresses(link.index, family);
        if (std::any_of(own.begin(), own.end(), [&](const auto& a) {
                return a.valid_s == UINT32_MAX && inside(prefixes_, a.address);
            }))
            return true;
    }
    return false;
}

void Lines::look_below(const std::string& device, const Link& link, std::map<int, Below>& found) {
    std::vector<Link> below;
    const auto add = [&](const std::optional<Link>& lower) {
        if (lower) below.push_back(*lower);
    };
    if (link.below != 0) add(netlink_.link(link.below));
    if (link.ppp)
        for (const auto& name : pppoe_devices(pppoe_sessions())) add(netlink_.link(name));
    for (const Link& lower : below) {
        if (guards_.contains(lower.index) || found.contains(lower.index) || is_lan(lower)) continue;
        std::array<char, IF_NAMESIZE> name{};
        if (::if_indextoname(static_cast<unsigned>(lower.index), name.data()) == nullptr) continue;
        Below& entry = found[lower.index];
        entry.device = device;
        entry.name = name.data();
        entry.ethernet = lower.ethernet;
        look_below(device, lower, found);
    }
}

void Lines::hook_below(int index, Below& below) {
    const std::string what = "the device below it, " + below.name + ", ";
    try {
        if (const auto old = below_.find(index); old != below_.end() && old->second.in != nullptr) {
            below.in = std::move(old->second.in);
            const HookRepair repair = below.in->restore();
            if (repair != HookRepair::None)
                repairs_.note(
                    "hooks " + below.name,
                    "line device " + below.device + ": of " + what +
                        (repair == HookRepair::Again
                             ? "the tc program had been taken away; attached again"
                             : "the tc program stood behind another one; now it is first"));
            return;
        }
        below.in =
            std::make_unique<Hook>(netlink_, index, true, datapath_.below_program(below.ethernet));
    } catch (const std::exception& e) {
        if (!below_.contains(index))
            say("warning: line device %s: %shas no guard: %s", below.device.c_str(), what.c_str(),
                e.what());
    }
}

// While a line's device is away, a dialled connection for instance, the guard below it stays.
std::map<int, Lines::Below> Lines::find_below() {
    std::map<int, Below> found;
    std::set<std::string> away;
    for (const auto& [name, device] : devices_) {
        const auto link = device.index != 0 ? netlink_.link(device.index) : std::nullopt;
        if (link)
            look_below(name, *link, found);
        else
            away.insert(name);
    }
    for (const auto& [index, below] : below_) {
        if (!away.contains(below.device) || guards_.contains(index) || found.contains(index))
            continue;
        const auto link = netlink_.link(index);
        if (link && !is_lan(*link))
            found[index] = {below.device, below.name, link->ethernet, nullptr};
    }
    return found;
}

void Lines::restore_below() {
    std::map<int, Below> found;
    try {
        found = find_below();
    } catch (const std::exception&) {
        return;  // a device has gone between two questions; what is guarded stays so until the next
                 // look
    }
    for (auto& [index, below] : found) hook_below(index, below);
    below_ = std::move(found);
}

}  // namespace dr::ur
