#include "ur/prefix_check.h"

namespace dr::ur {

std::string held_by(const IpPrefix& prefix, const std::vector<LineAddresses>& lines,
                    const std::vector<IpAddress>& signalling) {
    const auto holds = [&](const IpAddress& a) { return a.family != 0 && prefix.contains(a); };
    for (const auto& line : lines) {
        for (const auto& own : line.addresses)
            if (holds(own.address))
                return to_string(own.address) + ", the address of line " + line.line;
        for (const auto& gateway : line.gateways)
            if (holds(gateway)) return to_string(gateway) + ", the gateway of line " + line.line;
    }
    for (const auto& address : signalling)
        if (holds(address)) return to_string(address) + ", an address of the DR's signalling";
    return {};
}

IpAddress address_in(const std::string& place) {
    std::string host;
    for (std::size_t at = place.starts_with("ipv4:") || place.starts_with("ipv6:") ? 5 : 0;
         at < place.size(); ++at) {
        const bool open = place.compare(at, 3, "%5B") == 0;
        const bool close = place.compare(at, 3, "%5D") == 0;
        if (open || close) at += 2;
        if (open || close || place[at] == '[' || place[at] == ']') continue;
        host += place[at];
    }
    const auto colon = host.rfind(':');
    if (colon == std::string::npos) return {};
    host.resize(colon);
    return parse_address(host).value_or(IpAddress{});
}

}  // namespace dr::ur
