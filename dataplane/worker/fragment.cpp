// IPv4 fragmentation before encapsulation (RFC 791 §3.2): the outer packet is never fragmented.
#include "dataplane/wire/checksum.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/ip_check.h"

namespace dr {

namespace {

// Options that later fragments carry: those with the copied bit (RFC 791 §3.1). Padded to 4 bytes;
// returns the new header length.
unsigned copy_options(const std::uint8_t* from, unsigned header, std::uint8_t* to) {
    unsigned out = 20;
    unsigned at = 20;
    while (at < header && from[at] != 0) {
        if (from[at] == 1) {
            ++at;
            continue;
        }
        const unsigned size = at + 1 < header ? from[at + 1] : 0;
        if (size < 2 || at + size > header) break;
        if ((from[at] & 0x80) != 0) {
            std::memcpy(to + out, from + at, size);
            out += size;
        }
        at += size;
    }
    while (out % 4 != 0) to[out++] = 0;
    return out;
}

void finish_header(std::uint8_t* ip, unsigned header, unsigned total, std::uint16_t flags_offset) {
    ip[0] = static_cast<std::uint8_t>(0x40U | header / 4);
    const Be16 length = Be16::from(static_cast<std::uint16_t>(total));
    const Be16 fragment = Be16::from(flags_offset);
    std::memcpy(ip + 2, &length, 2);
    std::memcpy(ip + 6, &fragment, 2);
    std::memset(ip + 10, 0, 2);
    const Be16 sum = wire::checksum(ip, header);
    std::memcpy(ip + 10, &sum, 2);
}

}  // namespace

bool fragment_ipv4(Context& c, Burst& b, Packet& p, unsigned mtu) {
    const unsigned header = (p.ip[0] & 15U) * 4U;
    const unsigned payload = p.length - header;
    if (mtu < header + 8) return false;
    const std::uint16_t before = wire::load16(p.ip + 6);
    const unsigned first = (mtu - header) & ~7U;
    std::array<std::uint8_t, 60> later;
    std::memcpy(later.data(), p.ip, 20);
    const unsigned later_header = copy_options(p.ip, header, later.data());
    const unsigned step = (mtu - later_header) & ~7U;
    // The first fragment has one TTL step still before it, as the packet has; so do its siblings:
    // they are taken here.
    const bool own = (p.flags & Packet::kOwn) != 0;
    if (!own) --later[8];
    p.extra = static_cast<std::uint16_t>(b.extras);
    unsigned made = 0;
    for (unsigned done = first; done < payload;) {
        const unsigned left = payload - done;
        const unsigned size = left > mtu - later_header ? step : left;
        rte_mbuf* m = b.extras + made < kMaxExtra ? rte_pktmbuf_alloc(c.shared->pool) : nullptr;
        if (m == nullptr || rte_pktmbuf_tailroom(m) < later_header + size) {
            rte_pktmbuf_free(m);
            for (unsigned k = 0; k < made; ++k) rte_pktmbuf_free(b.extra[b.extras + k]);
            return false;
        }
        auto* ip = reinterpret_cast<std::uint8_t*>(
            rte_pktmbuf_append(m, static_cast<std::uint16_t>(later_header + size)));
        std::memcpy(ip, later.data(), later_header);
        std::memcpy(ip + later_header, p.ip + header + done, size);
        const bool more = done + size < payload || (before & wire::Ipv4::kMoreFragments) != 0;
        const unsigned offset = (before & wire::Ipv4::kOffsetMask) + done / 8;
        finish_header(ip, later_header, later_header + size,
                      static_cast<std::uint16_t>((more ? wire::Ipv4::kMoreFragments : 0) | offset));
        b.extra[b.extras + made++] = m;
        done += size;
    }
    b.extras += made;
    p.extras = static_cast<std::uint16_t>(made);
    finish_header(p.ip, header, header + first,
                  static_cast<std::uint16_t>(wire::Ipv4::kMoreFragments |
                                             (before & wire::Ipv4::kOffsetMask)));
    p.length = static_cast<std::uint16_t>(header + first);
    return true;
}

}  // namespace dr
