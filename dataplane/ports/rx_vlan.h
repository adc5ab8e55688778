// Removal of VLAN tags from received frames by a device (ethtool: rxvlan, rx-vlan-offload). The
// kernel gets such a tag beside the frame; a steering program and AF_XDP do not get it. So a frame
// of any VLAN would count as untagged.
//
// Thread: main.
#pragma once

#include <string>

namespace dr {

// Makes the device leave tags of IEEE 802.1Q and 802.1ad in the frames, and checks that it does.
// The device keeps this setting when the program ends. false and a reason: it cannot, or the kernel
// refused.
bool leave_vlan_tags_in(const std::string& interface, std::string* error);

// A veth gets tags beside the frame from its other end, independent of its own setting: there,
// txvlan must be off.
bool is_veth(const std::string& interface);

}  // namespace dr
