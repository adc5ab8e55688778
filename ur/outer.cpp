// A message with its outer headers, and ends in words.
#include "ur/outer.h"

#include <cstring>

#include "dataplane/wire/ip_layout.h"
#include "dataplane/wire/udp_checksum.h"

namespace dr::ur {

using wire::Endpoint;

std::vector<std::uint8_t> make_outer(const Endpoint& from, const Endpoint& to, std::uint32_t key,
                                     std::span<const std::uint8_t> message, bool zero_checksum) {
    const unsigned headers = wire::outer_size(to);
    std::vector<std::uint8_t> out(headers);
    out.reserve(headers + message.size());
    wire::write_outer(out.data(), from, to, key, static_cast<unsigned>(message.size()));
    out.insert(out.end(), message.begin(), message.end());
    if (to.port != 0 && !zero_checksum)
        wire::write_udp_checksum(out.data(), wire::ip_layout(to.family).header);
    return out;
}

Endpoint to_endpoint(const IpAddress& address, std::uint16_t port) {
    return {address.family, port, address.bytes};
}

IpAddress to_address(const Endpoint& endpoint) {
    return {static_cast<std::uint8_t>(endpoint.family), endpoint.address};
}

std::string to_string(const Endpoint& endpoint) {
    if (!endpoint.known()) return {};
    std::string address = dr::to_string(to_address(endpoint));
    if (endpoint.port == 0) return address;
    return (endpoint.family == 6 ? "[" + address + "]" : address) + ":" +
           std::to_string(endpoint.port);
}

}  // namespace dr::ur
