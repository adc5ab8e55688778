// ICMP errors of the path about packets that this router sent into a tunnel. One that says that
// such a packet was too large goes on to the liveness thread of the tunnel's subscriber as a hint
// for path MTU discovery (proto/TUNNEL.md §15). Anybody can send one, so it has to quote what this
// router sends, and a hint only makes the thread look.
// Exits: drop.tunnel_icmp.
#include <rte_ring.h>

#include "dataplane/keepalive/handover.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"

namespace dr {

namespace {

constexpr unsigned kIcmp = sizeof(wire::Icmp);
// Where the MTU stands in the ICMP header, RFC 1191 §4 and RFC 4443 §3.2: of the 32 bits of the
// latter the low half.
constexpr unsigned kMtu = 6;
// Ethernet and the shortest IP header are before that.
static_assert(sizeof(KeepaliveArrival) <= sizeof(wire::Ethernet) + sizeof(wire::Ipv4) + kMtu);

// "Fragmentation needed" or "packet too big", with the right checksum.
bool says_too_big(const Packet& p, unsigned at) {
    const std::uint8_t* icmp = p.ip + at;
    const unsigned size = p.length - at;
    if (p.family == 4) return icmp[0] == 3 && icmp[1] == 4 && wire::checksum_ok(icmp, size, 0);
    if (icmp[0] != 2 || icmp[1] != 0 || wire::load16(icmp + 4) != 0) return false;
    std::uint64_t sum = wire::checksum_add(p.ip + 8, 32, 0);
    sum += static_cast<std::uint32_t>(wire::kProtoIcmp6) << 8;
    sum += Be16::from(static_cast<std::uint16_t>(size)).raw;
    return wire::checksum_ok(icmp, size, sum);
}

// The tunnel whose outer header is quoted, up to its GRE key; null: none.
const TunnelRow* quoted_tunnel(const Tables& t, const Packet& p, const std::uint8_t* quoted,
                               unsigned left, std::uint32_t* key) {
    const wire::IpLayout at = wire::ip_layout(p.family);
    const std::uint8_t protocol = quoted[p.family == 4 ? 9 : 6];
    const bool udp = protocol == wire::kProtoUdp;
    const unsigned header = at.header + (udp ? 16U : 8U);
    if (left < header || (!udp && protocol != wire::kProtoGre)) return nullptr;
    *key = wire::load32(quoted + header - 4);
    const std::uint32_t slot = TunnelId{*key}.slot();
    if (slot >= t.tunnel_of_slot.size()) return nullptr;
    const std::uint32_t number = t.tunnel_of_slot[slot].load(std::memory_order_acquire);
    if (number == kNoRow) return nullptr;
    const TunnelRow& row = t.tunnels[number];
    const std::uint8_t* ours = row.header.data();
    constexpr unsigned kKind = TunnelRow::kUdp | TunnelRow::kIpv6 | TunnelRow::kDisabled;
    const unsigned kind = (udp ? TunnelRow::kUdp : 0U) | (p.family == 6 ? TunnelRow::kIpv6 : 0U);
    if ((row.flags & kKind) != kind ||
        std::memcmp(ours + at.source, quoted + at.source, 2UL * at.address) != 0 ||
        std::memcmp(ours + header - 4, quoted + header - 4, 4) != 0)
        return nullptr;
    if (!udp) return &row;
    const bool any_source = (row.flags & TunnelRow::kEntropy) != 0;
    const unsigned ports = at.header + (any_source ? 2U : 0U);
    return std::memcmp(ours + ports, quoted + ports, any_source ? 2 : 4) == 0 ? &row : nullptr;
}

// true: it went to the tunnel's liveness thread, with its buffer.
bool hand_over(Context& c, const Packet& p, unsigned at) {
    const KeepaliveHandover* const handover = c.shared->keepalive;
    if (handover == nullptr || !says_too_big(p, at)) return false;
    std::uint8_t* const icmp = p.ip + at;
    const std::uint8_t* const quoted = icmp + kIcmp;
    std::uint32_t key = 0;
    const TunnelRow* const row = quoted_tunnel(*c.tables, p, quoted, p.length - at - kIcmp, &key);
    const wire::IpLayout in = wire::ip_layout(p.family);
    if (row == nullptr || std::memcmp(p.ip + in.destination, quoted + in.source, in.address) != 0)
        return false;
    const unsigned was = p.family == 4 ? ipv4_length(quoted) : ipv6_length(quoted);
    const unsigned mtu = wire::load16(icmp + kMtu);
    const unsigned header = row->header_length();
    const std::uint32_t slot = TunnelId{key}.slot();
    if (mtu >= was || handover->peers[slot].salt.load(std::memory_order_relaxed) == 0) return false;
    const std::uint64_t now = rte_rdtsc();
    if (!c.hints.take(slot, c.secret, now, c.tsc_hz)) return false;
    const auto inner = static_cast<std::uint16_t>(mtu > header ? mtu - header : 0);
    std::uint8_t* const bytes = icmp + kMtu;
    bytes[0] = static_cast<std::uint8_t>(inner >> 8);
    bytes[1] = static_cast<std::uint8_t>(inner);
    leave_arrival(p.mbuf, bytes, kHintSize, {now, {}, key, 0});
    return rte_ring_enqueue(handover->shards[row->subscriber % handover->shards.size()].other,
                            p.mbuf) == 0;
}

}  // namespace

void take_tunnel_icmp(Context& c, Packet& p, unsigned at) {
    // Handed over, the buffer is another thread's.
    p.exit = Exit::DropTunnelIcmp;
    note_drop(c, c.received.in_port, p);
    if (hand_over(c, p, at)) p.mbuf = nullptr;
    exit_with(c, p, Exit::DropTunnelIcmp);
}

}  // namespace dr
