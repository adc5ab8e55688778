// Stage 1: Ethernet and IP headers. What is not IP for this router ends here; the rest is sound
// from here on: lengths checked, padding trimmed, IPv4 checksum right.
#include "dataplane/wire/checksum.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"
#include "dataplane/worker/punt.h"

namespace dr {

namespace {

using wire::Ethernet;

// The other packets of a port: to the kernel when it can get them.
void parse_other(Context& c, Burst& b, Packet& p, std::uint16_t type) {
    const bool for_kernel = type == wire::kEtherArp;
    if (!for_kernel) return exit_with(c, p, Exit::DropUnknownEthertype);
    punt(c, b, p);
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

}  // namespace

void stage_parse(Context& c, Burst& b) {
    const Port& port = (*c.ports)[b.in_port];
    std::uint64_t bytes = 0;
    for (unsigned i = 0; i < b.count; ++i) {
        if (i + 4 < b.count) rte_prefetch0(rte_pktmbuf_mtod(b.packets[i + 4].mbuf, void*));
        Packet& p = b.packets[i];
        p.from = nullptr;
        p.tunnel = nullptr;
        p.extras = 0;
        p.reply = 0;
        p.flags = Packet::kLive;
        p.error = IcmpError::None;
        bytes += p.mbuf->pkt_len;
        if (p.mbuf->nb_segs != 1 && rte_pktmbuf_linearize(p.mbuf) != 0) [[unlikely]] {
            exit_with(c, p, Exit::DropNoBuffers);
            continue;
        }
        const unsigned frame = p.mbuf->data_len;
        if (frame < sizeof(Ethernet)) [[unlikely]] {
            exit_with(c, p, Exit::DropTooShort);
            continue;
        }
        auto* data = rte_pktmbuf_mtod(p.mbuf, std::uint8_t*);
        p.ip = data + sizeof(Ethernet);
        Ethernet eth;
        std::memcpy(&eth, data, sizeof eth);
        const bool group = (eth.destination[0] & 1) != 0;
        if (!group && eth.destination != port.mac) [[unlikely]] {
            exit_with(c, p, Exit::DropNotForUs);
            continue;
        }
        const std::uint16_t type = eth.type.host();
        if (type != wire::kEtherIpv4 && type != wire::kEtherIpv6) [[unlikely]] {
            parse_other(c, b, p, type);
            continue;
        }
        const bool known =
            port.rx_checksum_ipv4 &&
            (p.mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK) == RTE_MBUF_F_RX_IP_CKSUM_GOOD;
        if (!parse_ip(c, p, type, frame - static_cast<unsigned>(sizeof(Ethernet)), known)) continue;
        const bool for_group = p.family == 4 ? group_destination4(p.ip) : local_scope6(p.ip + 24);
        if (group || for_group) [[unlikely]] {
            punt(c, b, p);
            continue;
        }
        // Frames are padded to the link's minimum; the padding is not part of the packet.
        p.mbuf->data_len = static_cast<std::uint16_t>(sizeof(Ethernet) + p.length);
        p.mbuf->pkt_len = p.mbuf->data_len;
        if (p.family == 4)
            c.tables->lpm4->prefetch(p.ip + 16);
        else
            c.tables->lpm6->prefetch(p.ip + 24);
        b.lookup.add(i);
    }
    count_up(c.block->ports[b.in_port].rx_packets, b.count);
    count_up(c.block->ports[b.in_port].rx_bytes, bytes);
}

}  // namespace dr
