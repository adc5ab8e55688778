// Installs the addresses, routes and neighbours of the configuration file.
#include "dataplane/ports/static_config.h"

#include <fmt/format.h>

namespace dr {

namespace {

IpPrefix host_prefix(const IpAddress& address) {
    return {address, static_cast<std::uint8_t>(address.family == 4 ? 32 : 128)};
}

IpPrefix network_of(IpPrefix prefix) {
    const unsigned bytes = prefix.address.family == 4 ? 4 : 16;
    for (unsigned bit = prefix.length; bit < bytes * 8; ++bit)
        prefix.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80U >> (bit % 8)));
    return prefix;
}

}  // namespace

bool install_static(Rib& rib, std::uint16_t number, const Port& port, const PortConfig& config,
                    std::string* error) {
    rib.set_port(number, port.mac, port.mtu);
    const auto refused = [&](const IpPrefix& prefix) {
        *error = fmt::format(
            "port {}: no room for {}: raise capacity.next_hops, .prefixes4/6 or "
            ".groups4/6",
            config.name, to_string(prefix));
        return false;
    };
    for (const IpPrefix& own : config.addresses) {
        const IpPrefix host = host_prefix(own.address);
        if (!rib.insert(host, RouteSource::Local, Target(TargetKind::Local, number)))
            return refused(host);
        const IpPrefix network = network_of(own);
        if (network == host || own.address.is_link_local()) continue;
        if (!rib.insert(network, RouteSource::Connected, Target(TargetKind::Glean, number)))
            return refused(network);
    }
    for (const NeighbourConfig& neighbour : config.neighbours) {
        rib.set_neighbour(number, neighbour.address, neighbour.mac);
        if (neighbour.address.is_link_local()) continue;
        const IpPrefix host = host_prefix(neighbour.address);
        const NextHopIndex next_hop = rib.acquire_next_hop(number, neighbour.address);
        if (next_hop.value == 0 ||
            !rib.insert(host, RouteSource::Neighbour, Target(TargetKind::NextHop, next_hop.value)))
            return refused(host);
    }
    for (const RouteConfig& route : config.routes) {
        const NextHopIndex next_hop = rib.acquire_next_hop(number, route.via);
        if (next_hop.value == 0 || !rib.insert(route.prefix, RouteSource::Route,
                                               Target(TargetKind::NextHop, next_hop.value)))
            return refused(route.prefix);
    }
    return true;
}

}  // namespace dr
