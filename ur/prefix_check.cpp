// Which of the site's prefixes may be in force.
#include "ur/prefix_check.h"

#include <algorithm>
#include <iterator>

namespace dr::ur {

namespace {

std::string of_signalling(const IpPrefix& prefix, const std::vector<IpAddress>& signalling) {
    for (const auto& address : signalling)
        if (address.family != 0 && prefix.contains(address))
            return to_string(address) + ", an address of the DR's signalling";
    return {};
}

std::string address_of(const IpAddress& address, const std::string& line) {
    return to_string(address) + ", the address of line " + line;
}

std::string gateway_of(const IpAddress& gateway, const std::string& line) {
    return to_string(gateway) + ", the gateway of line " + line;
}

bool usable(const LineAddresses& line, std::span<const IpPrefix> used) {
    return std::any_of(line.ways.begin(), line.ways.end(), [&](const auto& way) {
        return !inside(used, way.source) && !inside(used, way.gateway);
    });
}

bool any_usable(const std::vector<LineAddresses>& lines, std::span<const IpPrefix> used) {
    return std::any_of(lines.begin(), lines.end(),
                       [&](const auto& line) { return usable(line, used); });
}

}  // namespace

bool inside(std::span<const IpPrefix> prefixes, const IpAddress& address) {
    return address.family != 0 &&
           std::any_of(prefixes.begin(), prefixes.end(),
                       [&](const IpPrefix& prefix) { return prefix.contains(address); });
}

std::string held_by(const IpPrefix& prefix, const std::vector<LineAddresses>& lines,
                    const std::vector<IpAddress>& signalling, std::span<const IpPrefix> before) {
    const auto holds = [&](const IpAddress& a) {
        return a.family != 0 && prefix.contains(a) && !inside(before, a);
    };
    for (const auto& line : lines) {
        for (const auto& own : line.addresses)
            if (holds(own.address)) return address_of(own.address, line.line);
        for (const auto& way : line.ways)
            if (holds(way.gateway)) return gateway_of(way.gateway, line.line);
    }
    return of_signalling(prefix, signalling);
}

std::string cuts_off(const IpPrefix& prefix, std::span<const IpPrefix> used,
                     const std::vector<LineAddresses>& lines,
                     const std::vector<IpAddress>& signalling) {
    std::string why = of_signalling(prefix, signalling);
    if (!why.empty()) return why;
    std::vector<IpPrefix> with(used.begin(), used.end());
    with.push_back(prefix);
    if (any_usable(lines, with)) return {};
    std::vector<LineAddresses> lost;
    std::copy_if(lines.begin(), lines.end(), std::back_inserter(lost),
                 [&](const auto& line) { return usable(line, used); });
    return held_by(prefix, lost, {}, used);
}

std::vector<std::string> set_aside(std::span<const IpPrefix> used,
                                   const std::vector<LineAddresses>& lines) {
    std::vector<std::string> out;
    for (const auto& line : lines) {
        for (const auto& own : line.addresses)
            if (inside(used, own.address)) out.push_back(address_of(own.address, line.line));
        for (const auto& way : line.ways)
            if (inside(used, way.gateway)) out.push_back(gateway_of(way.gateway, line.line));
    }
    return out;
}

std::vector<IpAddress> needed_in(std::span<const IpPrefix> left_out,
                                 const std::vector<LineAddresses>& lines,
                                 const std::vector<IpAddress>& signalling) {
    std::vector<IpAddress> out;
    const auto need = [&](const IpAddress& address) {
        if (inside(left_out, address) && std::find(out.begin(), out.end(), address) == out.end())
            out.push_back(address);
    };
    for (const auto& address : signalling) need(address);
    for (const auto& line : lines)
        for (const auto& way : line.ways) {
            need(way.source);
            need(way.gateway);
        }
    for (const auto& line : lines)
        for (const auto& own : line.addresses) need(own.address);
    return out;
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
