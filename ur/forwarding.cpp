// Sysctls of forwarding, set and put back.
#include "ur/forwarding.h"

#include "ur/log.h"

namespace dr::ur {

Forwarding::Forwarding(std::string device, std::string lan, Repairs& repairs)
    : device_(std::move(device)), lan_(std::move(lan)), repairs_(repairs) {
    // Its packets come from everywhere; which are accepted is decided before they get here.
    guards_.emplace_back("ipv4/conf/" + device_ + "/rp_filter", "0");
}

void Forwarding::enable(const std::vector<IpPrefix>& prefixes) {
    for (const auto& prefix : prefixes) {
        if (!families_.insert(prefix.address.family).second) continue;
        if (prefix.address.family == 4)
            enable4();
        else
            enable6();
    }
}

void Forwarding::restore() {
    for (auto& guard : guards_)
        if (guard.restore())
            repairs_.note(guard.name(), "/proc/sys/net/" + guard.name() + " was not " +
                                            guard.value() + "; set again");
}

void Forwarding::enable4() {
    // Of the kernel's ICMP errors (ur/error_source.h); IPv6 has it so without a setting.
    guards_.emplace_back("ipv4/icmp_errors_use_inbound_ifaddr", "1");
    for (const auto& device : {device_, lan_})
        if (!device.empty()) guards_.emplace_back("ipv4/conf/" + device + "/forwarding", "1");
    if (lan_.empty())
        need("ipv4/ip_forward",
             "IPv4 forwarding is off; name the LAN with --lan DEVICE, or set "
             "net.ipv4.ip_forward=1");
}

void Forwarding::need(const std::string& setting, const char* what_to_do) {
    if (read_sysctl(setting) == "0")
        say("warning: %s", what_to_do);
    else
        guards_.emplace_back(setting, "1");
}

void Forwarding::enable6() {
    bool every_device = !lan_.empty();
    for (const auto& device : {device_, lan_}) {
        if (device.empty()) continue;
        // Not every kernel has it; the device itself may come later.
        if (read_sysctl("ipv6/conf/all/force_forwarding").empty())
            every_device = false;
        else
            guards_.emplace_back("ipv6/conf/" + device + "/force_forwarding", "1");
    }
    if (!every_device)
        need("ipv6/conf/all/forwarding",
             "IPv6 forwarding is off; set net.ipv6.conf.all.forwarding=1 (and accept_ra=2 on lines "
             "that need router advertisements)");
}

}  // namespace dr::ur
