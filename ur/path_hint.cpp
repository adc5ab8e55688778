// Reads ICMP errors about a tunnel's outer packets.
#include "ur/path_hint.h"

#include <algorithm>

#include "dataplane/wire/checksum.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/wire/headers.h"
#include "ur/site.h"

namespace dr::ur {

namespace {

using wire::load16;
using wire::load32;

constexpr std::size_t kIcmp = 8;

IpAddress address_at(std::uint8_t family, const std::uint8_t* at) {
    IpAddress out;
    out.family = family;
    std::copy_n(at, family == 4 ? 4 : 16, out.bytes.begin());
    return out;
}

bool same(const ur_address& a, const ur_address& b) {
    return std::equal(std::begin(a.word), std::end(a.word), std::begin(b.word));
}

}  // namespace

std::optional<PathHint> read_path_hint(std::uint8_t family, std::span<const std::uint8_t> message) {
    const bool v4 = family == 4;
    const std::size_t ip = v4 ? 20 : 40;
    if (message.size() < kIcmp + ip + sizeof(wire::GreKey)) return std::nullopt;
    const std::uint8_t* icmp = message.data();
    if (icmp[0] != (v4 ? 3 : 2) || icmp[1] != (v4 ? 4 : 0)) return std::nullopt;
    // The kernel verifies ICMPv6 before it gives it to raw sockets, and ICMP after.
    if (v4 && !wire::checksum_ok(icmp, message.size())) return std::nullopt;
    if (!v4 && load16(icmp + 4) != 0) return std::nullopt;
    const std::uint8_t* quoted = icmp + kIcmp;
    const std::uint8_t protocol = quoted[v4 ? 9 : 6];
    if ((v4 ? quoted[0] != 0x45 : quoted[0] >> 4 != 6) ||
        (protocol != wire::kProtoUdp && protocol != wire::kProtoGre))
        return std::nullopt;
    PathHint out{};
    out.udp = protocol == wire::kProtoUdp;
    const std::size_t gre = ip + (out.udp ? sizeof(wire::Udp) : 0);
    if (message.size() < kIcmp + gre + sizeof(wire::GreKey) ||
        load16(quoted + gre) != wire::kGreKeyPresent)
        return std::nullopt;
    const unsigned length = v4 ? load16(quoted + 2) : load16(quoted + 4) + 40U;
    out.mtu = load16(icmp + 6);
    if (out.mtu >= length) return std::nullopt;
    out.source = address_at(family, quoted + (v4 ? 12 : 8));
    out.destination = address_at(family, quoted + (v4 ? 16 : 24));
    if (out.udp) {
        out.source_port = load16(quoted + ip);
        out.destination_port = load16(quoted + ip + 2);
    }
    out.key = load32(quoted + gre + 4);
    return out;
}

bool is_about(const PathHint& hint, const ur_tunnel& tunnel) {
    return tunnel.keepalive != 0 && tunnel.id == hint.key && tunnel.family == hint.source.family &&
           (tunnel.udp != 0) == hint.udp && same(tunnel.local, to_words(hint.source)) &&
           same(tunnel.remote, to_words(hint.destination)) &&
           (!hint.udp || (tunnel.remote_port == hint.destination_port &&
                          (tunnel.entropy != 0 || tunnel.local_port == hint.source_port)));
}

}  // namespace dr::ur
