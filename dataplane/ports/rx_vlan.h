// VLAN tags that a device takes out of the frames it receives (ethtool: rxvlan, rx-vlan-offload).
// The kernel gets such a tag beside the frame, a steering program and AF_XDP do not get it at all:
// a frame of any VLAN would count as untagged.
//
// Thread: main.
#pragma once

#include <string>

namespace dr {

// Has the device leave tags in, of IEEE 802.1Q and 802.1ad, and asks it whether it does. The device
// keeps this setting when the program ends. false and a reason: it cannot, or the kernel refused.
bool leave_vlan_tags_in(const std::string& interface, std::string* error);

// Such a device gets what its other end says beside the frame, whatever its own setting: there,
// txvlan must be off.
bool is_veth(const std::string& interface);

}  // namespace dr
