// Which devices PPPoE goes over. A ppp device does not tell what is below it, and no interface of
// the kernel does for one of them; it lists the sessions of all.
//
// Pure; any thread.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace dr::ur {

inline constexpr const char* kPppoeSessions = "/proc/net/pppoe";

// The names in the text of that file; empty where it has none, or is none.
std::set<std::string> pppoe_devices(std::string_view text);

}  // namespace dr::ur
