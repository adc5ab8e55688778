// Stage 1: Ethernet and IP headers. What is not IP for this router ends here; the rest is sound
// from here on: lengths checked, IPv4 checksum right. Padding may still follow the packet.
//
// A frame that looks like most frames (plain4, plain6) is through after one test of each field.
// Whatever is unusual about any other, parse_careful() finds out what.
// Exits: drop.too_short drop.not_for_us drop.unknown_ethertype drop.vlan drop.bad_ipv4
//   drop.bad_checksum drop.bad_ipv6 drop.martian_source drop.no_buffers.
#include "dataplane/ports/rx_checksum.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"
#include "dataplane/worker/punt.h"

namespace dr {

namespace {

using wire::Ethernet;

bool is_tag(std::uint16_t type) {
    return type == wire::kEtherVlan || type == wire::kEtherServiceVlan;
}

// The other packets of a port: to the kernel when it can get them.
void parse_other(Context& c, Burst& b, Packet& p, std::uint16_t type) {
    if (is_tag(type)) return exit_with(c, p, Exit::DropVlan);
    const bool for_kernel = type == wire::kEtherArp;
    if (!for_kernel) return exit_with(c, p, Exit::DropUnknownEthertype);
    punt(c, b, p);
}

// A tag of VLAN 0 says a priority, and the frame is of no VLAN (IEEE 802.1Q §9.6): the frame
// becomes what it is without the tag. false: the packet is finished.
bool strip_priority_tag(Context& c, Packet& p) {
    constexpr unsigned kTag = 4;
    rte_mbuf* const m = p.mbuf;
    auto* const data = rte_pktmbuf_mtod(m, std::uint8_t*);
    const bool whole = m->data_len >= sizeof(Ethernet) + kTag;
    if (whole && (wire::load16(data + sizeof(Ethernet)) & 0xfffU) == 0) {
        std::memmove(data + kTag, data, 2 * sizeof(wire::Mac));
        rte_pktmbuf_adj(m, kTag);
        return true;
    }
    exit_with(c, p, whole ? Exit::DropVlan : Exit::DropTooShort);
    return false;
}

// false: the packet is finished.
bool parse_ip(Context& c, Packet& p, std::uint16_t type, unsigned available, bool checksum_known) {
    if (type == wire::kEtherIpv4) {
        p.family = 4;
        const IpFault fault = check_ipv4(p.ip, available, !checksum_known);
        if (fault != IpFault::None) {
            exit_with(c, p,
                      fault == IpFault::Short      ? Exit::DropTooShort
                      : fault == IpFault::Checksum ? Exit::DropBadChecksum
                                                   : Exit::DropBadIpv4);
            return false;
        }
        p.length = ipv4_length(p.ip);
        if (martian_source4(p.ip)) {
            exit_with(c, p, Exit::DropMartianSource);
            return false;
        }
    } else {
        p.family = 6;
        const IpFault fault = check_ipv6(p.ip, available);
        if (fault != IpFault::None) {
            exit_with(c, p, fault == IpFault::Short ? Exit::DropTooShort : Exit::DropBadIpv6);
            return false;
        }
        p.length = ipv6_length(p.ip);
        // Neighbour discovery sends from the unspecified address to multicast (RFC 4862 §5.4.2).
        if (martian_source6(p.ip) && !multicast6(p.ip + 24)) {
            exit_with(c, p, Exit::DropMartianSource);
            return false;
        }
    }
    return true;
}

// The first eight bytes of a frame: the destination address and two bytes more.
constexpr std::uint64_t kMacMask = 0x0000ffffffffffffULL;

std::uint64_t mac_word(const wire::Mac& mac) {
    std::uint64_t word = 0;
    std::memcpy(&word, mac.data(), sizeof mac);
    return word;
}

// IPv4 without options, not a fragment, from and to hosts, checksum right. available >= 20.
bool plain4(const std::uint8_t* ip, unsigned available, bool known) {
    return plain_ipv4(ip, available, !known) && !martian_source4(ip) && !group_destination4(ip);
}

bool plain6(const std::uint8_t* ip, unsigned available) {
    return check_ipv6(ip, available) == IpFault::None && !martian_source6(ip) &&
           !local_scope6(ip + 24);
}

[[gnu::noinline]] void parse_careful(Context& c, Burst& b, unsigned i) {
    const Port& port = (*c.ports)[b.in_port];
    Packet& p = b.packets[i];
    if (p.mbuf->nb_segs != 1 && rte_pktmbuf_linearize(p.mbuf) != 0)
        return exit_with(c, p, Exit::DropNoBuffers);
    if (p.mbuf->data_len < sizeof(Ethernet)) return exit_with(c, p, Exit::DropTooShort);
    Ethernet eth;
    std::memcpy(&eth, rte_pktmbuf_mtod(p.mbuf, std::uint8_t*), sizeof eth);
    const bool group = (eth.destination[0] & 1) != 0;
    if (!group && eth.destination != port.mac && !port.has_other_mac(eth.destination))
        return exit_with(c, p, Exit::DropNotForUs);
    if (is_tag(eth.type.host())) {
        if (!strip_priority_tag(c, p)) return;
        std::memcpy(&eth, rte_pktmbuf_mtod(p.mbuf, std::uint8_t*), sizeof eth);
    }
    const std::uint16_t type = eth.type.host();
    const unsigned frame = p.mbuf->data_len;
    p.ip = rte_pktmbuf_mtod(p.mbuf, std::uint8_t*) + sizeof(Ethernet);
    if (type != wire::kEtherIpv4 && type != wire::kEtherIpv6) return parse_other(c, b, p, type);
    const unsigned available = frame - static_cast<unsigned>(sizeof(Ethernet));
    if (!parse_ip(c, p, type, available, ipv4_checksum_known(port, *p.mbuf))) return;
    const bool for_group = p.family == 4 ? group_destination4(p.ip) : local_scope6(p.ip + 24);
    if (group || for_group) return punt(c, b, p);
    (p.family == 4 ? b.lookup4 : b.lookup6).add(i);
}

}  // namespace

void stage_parse(Context& c, Burst& b) {
    const Port& port = (*c.ports)[b.in_port];
    const std::uint64_t mac = mac_word(port.mac);
    const Lpm4& lpm4 = *c.tables->lpm4;
    const Lpm6& lpm6 = *c.tables->lpm6;
    constexpr std::uint16_t kType4 = Be16::from(wire::kEtherIpv4).raw;
    constexpr std::uint16_t kType6 = Be16::from(wire::kEtherIpv6).raw;
    constexpr unsigned kEthernet = sizeof(Ethernet);
    const unsigned count = b.count;
    std::uint64_t bytes = 0;
    for (unsigned i = 0; i < count; ++i) {
        if (i + 4 < count) rte_prefetch0(rte_pktmbuf_mtod(b.packets[i + 4].mbuf, void*));
        Packet& p = b.packets[i];
        const rte_mbuf* const m = p.mbuf;
        auto* const data = rte_pktmbuf_mtod(m, std::uint8_t*);
        std::uint8_t* const ip = data + kEthernet;
        const unsigned frame = m->data_len;
        p.start();
        p.ip = ip;
        bytes += m->pkt_len;
        if (m->nb_segs != 1 || frame < kEthernet + 20) [[unlikely]] {
            parse_careful(c, b, i);
            continue;
        }
        std::uint64_t head;
        std::uint16_t type;
        std::memcpy(&head, data, sizeof head);
        std::memcpy(&type, data + 12, sizeof type);
        const bool ours = ((head ^ mac) & kMacMask) == 0;
        if (ours && type == kType4 && plain4(ip, frame - kEthernet, ipv4_checksum_known(port, *m)))
            [[likely]] {
            p.family = 4;
            p.length = ipv4_length(ip);
            lpm4.prefetch(ip + 16);
            b.lookup4.add(i);
        } else if (ours && type == kType6 && plain6(ip, frame - kEthernet)) {
            p.family = 6;
            p.length = ipv6_length(ip);
            lpm6.prefetch(ip + 24);
            b.lookup6.add(i);
        } else {
            parse_careful(c, b, i);
        }
    }
    southbound::PortCounters& counters = c.block->ports[b.in_port];
    count_up(counters.rx_packets, count);
    count_up(counters.rx_bytes, bytes);
}

}  // namespace dr
