// Fills the maps of the steering programs, and takes over those of a killed run.
#include "dataplane/ports/steering_maps.h"

#include <fmt/format.h>
#include <net/if.h>

#include <utility>

#include "dataplane/ports/rx_vlan.h"

namespace dr {

bool SteeringMaps::take_over(const std::string& interface, std::string* error) {
    std::string name;
    switch (xdp_attachment(interface, &name)) {
        case XdpAttachment::None:
            return true;
        case XdpAttachment::Foreign:
            *error = fmt::format(
                "{} has an XDP program of someone else's ({}); detach it first: ip "
                "link set dev {} xdp off",
                interface, name, interface);
            return false;
        case XdpAttachment::Ours:
            break;
    }
    std::string ignored;
    if (const auto maps = XdpMaps::of_interface(interface, &ignored)) {
        for (const IpAddress& address : maps->locals()) locals_.insert(address);
        for (const IpPrefix& prefix : maps->pools()) pools_.insert(prefix);
    }
    if (!guard(interface, error)) return false;
    if (xdp_detach(interface)) return true;
    *error = fmt::format(
        "{} still has the XDP program of an earlier run, and it cannot be detached; "
        "try: ip link set dev {} xdp off",
        interface, interface);
    return false;
}

// A full map is reported by the next set_locals() or set_pools().
void SteeringMaps::fill(const XdpMaps& maps) const {
    for (const IpAddress& address : locals_) (void)maps.add_local(address);
    for (const IpPrefix& prefix : pools_) (void)maps.add_pool(prefix);
}

bool SteeringMaps::guard(const std::string& interface, std::string* error) {
    // An existing entry for the interface would remove the new one from the kernel when it is
    // destroyed.
    const auto present = guards_.find(interface);
    if (present != guards_.end()) {
        if (present->second.ifindex() == static_cast<int>(if_nametoindex(interface.c_str())))
            return true;
        guards_.erase(present);
    }
    auto guard = TakeoverGuard::load(interface, error);
    if (!guard) return false;
    const auto maps = XdpMaps::of_program(guard->program_fd(), error);
    if (!maps) return false;
    fill(*maps);
    if (!guard->attach(error)) return false;
    guards_.emplace(interface, std::move(*guard));
    return true;
}

bool SteeringMaps::adopt(const std::string& interface, std::optional<XdpMaps> maps) {
    if (!maps) return false;
    fill(*maps);
    ports_.insert_or_assign(interface, std::move(*maps));
    return true;
}

std::uint32_t SteeringMaps::hand_over(const std::string& interface, std::string* error) {
    const auto at = ports_.find(interface);
    const std::uint32_t program = at == ports_.end() ? 0 : at->second.program_id();
    if (at != ports_.end()) ports_.erase(at);
    if (if_nametoindex(interface.c_str()) != 0) (void)guard(interface, error);
    if (program != 0 && xdp_attached_id(interface) == program) (void)xdp_detach(interface);
    return program;
}

bool SteeringMaps::reattach(const std::string& interface, std::string* error) const {
    const XdpMaps* maps = of(interface);
    if (maps != nullptr) return maps->attach(interface, error);
    *error = "there is no steering program to attach again";
    return false;
}

const XdpMaps* SteeringMaps::of(const std::string& interface) const {
    const auto at = ports_.find(interface);
    return at == ports_.end() ? nullptr : &at->second;
}

bool SteeringMaps::add_interface(const std::string& interface, std::string* error) {
    const bool good = adopt(interface, XdpMaps::of_interface(interface, error));
    guards_.erase(interface);
    TakeoverGuard::remove_stale(interface);
    return good && (ignores_vlans_.contains(interface) || leave_vlan_tags_in(interface, error));
}

bool SteeringMaps::add_program(int program_fd, std::string* error) {
    return adopt(fmt::format("program {}", program_fd), XdpMaps::of_program(program_fd, error));
}

bool SteeringMaps::set_locals(const std::vector<IpAddress>& addresses) {
    const std::set<IpAddress> wanted(addresses.begin(), addresses.end());
    bool good = true;
    for (const IpAddress& address : locals_)
        if (!wanted.contains(address))
            for (const auto& [interface, port] : ports_) port.remove_local(address);
    for (const IpAddress& address : wanted)
        for (const auto& [interface, port] : ports_) good = port.add_local(address) && good;
    locals_ = wanted;
    return good;
}

bool SteeringMaps::set_pools(const std::vector<IpPrefix>& prefixes, bool keep_others) {
    const std::set<IpPrefix> wanted(prefixes.begin(), prefixes.end());
    bool good = true;
    for (const IpPrefix& prefix : wanted) good = add_pool(prefix) && good;
    if (keep_others) return good;
    const std::set<IpPrefix> known = pools_;
    for (const IpPrefix& prefix : known)
        if (!wanted.contains(prefix)) remove_pool(prefix);
    return good;
}

bool SteeringMaps::add_pool(const IpPrefix& prefix) {
    bool good = true;
    for (const auto& [interface, port] : ports_) good = port.add_pool(prefix) && good;
    pools_.insert(prefix);
    return good;
}

void SteeringMaps::remove_pool(const IpPrefix& prefix) {
    for (const auto& [interface, port] : ports_) port.remove_pool(prefix);
    pools_.erase(prefix);
}

}  // namespace dr
