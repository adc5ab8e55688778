// Keeps the maps of the steering programs of all AF_XDP ports: own addresses and subscriber pools.
//
// The entries of a killed run's programs are inherited. So packets for the pools go to the data
// plane as soon as a new program is attached, also before drd has sent the pools.
//
// Thread: the writer (and main before it).
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "dataplane/ports/takeover_guard.h"
#include "dataplane/ports/xdp_program.h"

namespace dr {

class SteeringMaps final {
  public:
    // Before a port starts: remembers the entries of a program that was left on the interface, and
    // detaches it. The packets that it kept from the kernel are kept from it until add_interface().
    // false and a reason: a foreign program is there, or the kernel refused.
    bool take_over(const std::string& interface, std::string* error);
    // Frames of VLANs are to count as untagged on this interface: its device may hide their tags
    // from the program. Before add_interface().
    void ignore_vlans(const std::string& interface) { ignores_vlans_.insert(interface); }
    // After it has started: finds the maps of the program that is attached now and fills them.
    // Makes the device leave VLAN tags in frames, so that the program sees them (rx_vlan.h). false
    // and a reason also if it cannot.
    bool add_interface(const std::string& interface, std::string* error);
    // Before a port of this process closes for a repair: detaches its program, whose id is
    // returned (0: there was none), and guards the interface, if it is there, until
    // add_interface(). A reason when it could not be guarded.
    std::uint32_t hand_over(const std::string& interface, std::string* error);
    // Guards an interface that has come back, likewise.
    bool guard(const std::string& interface, std::string* error);
    // Attaches the interface's program again after somebody has detached it.
    bool reattach(const std::string& interface, std::string* error) const;
    // The maps of an interface's program; null: it has none now.
    [[nodiscard]] const XdpMaps* of(const std::string& interface) const;
    // The same for a loaded program (tests).
    bool add_program(int program_fd, std::string* error);

    // All own addresses; others are forgotten. false: a map is full, the rest is installed.
    bool set_locals(const std::vector<IpAddress>& addresses);
    // All pools. keep_others: other known pools stay (until drd has sent everything).
    bool set_pools(const std::vector<IpPrefix>& prefixes, bool keep_others);
    bool add_pool(const IpPrefix& prefix);
    void remove_pool(const IpPrefix& prefix);

    [[nodiscard]] bool empty() const { return ports_.empty(); }

  private:
    void fill(const XdpMaps& maps) const;
    bool adopt(const std::string& interface, std::optional<XdpMaps> maps);

    std::map<std::string, XdpMaps> ports_;  // by interface
    std::set<IpAddress> locals_;
    std::set<IpPrefix> pools_;
    std::set<std::string> ignores_vlans_;          // interfaces
    std::map<std::string, TakeoverGuard> guards_;  // by interface
};

}  // namespace dr
