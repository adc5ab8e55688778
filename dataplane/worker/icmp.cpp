// Slow stage: ICMP errors (RFC 792, RFC 1812 §4.3, RFC 4443), and replies to a site that pings the
// router. An answer goes back to the source the way any packet to it would: by the routing table,
// or into the subscriber's tunnel.
// Exits: icmp.time_exceeded icmp.frag_needed icmp.packet_too_big icmp.unreachable icmp.echo_reply
//   drop.no_route drop.blackhole drop.no_subscriber drop.to_router drop.no_tunnel drop.ttl_expired
//   drop.too_big drop.no_buffers drop.icmp_limited.
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/worker/context.h"
#include "dataplane/worker/echo.h"
#include "dataplane/worker/ip_check.h"

namespace dr {

namespace {

constexpr unsigned kQuote4 = 548;        // with 20 + 8 of headers: 576 bytes, RFC 1812 §4.3.2.3
constexpr unsigned kQuote6 = 1280 - 48;  // RFC 4443 §2.4 (c)

struct Kind {
    std::uint8_t type4, code4, type6, code6;
    Exit sent4, sent6, not_sent;
};
struct TypeAndCode {
    std::uint8_t type, code;
};
// Answered or not, the packet leaves under the name of the cause: that is what an operator has to
// find.
constexpr Kind cause(TypeAndCode v4, TypeAndCode v6, Exit exit) {
    return {v4.type, v4.code, v6.type, v6.code, exit, exit, exit};
}
// Unreachable as Linux's own routes answer (RFC 1812 §5.2.7.1, RFC 4443 §3.1): a pool's address
// that nobody has counts as an `unreachable` route.
constexpr Kind kind_of(IcmpError error) {
    switch (error) {
        case IcmpError::TimeExceeded:
            return {
                11, 0, 3, 0, Exit::IcmpTimeExceeded, Exit::IcmpTimeExceeded, Exit::DropTtlExpired};
        case IcmpError::TooBig:
            return {3, 4, 2, 0, Exit::IcmpFragNeeded, Exit::IcmpPacketTooBig, Exit::DropTooBig};
        case IcmpError::Echo:
            return {0, 0, 129, 0, Exit::IcmpEcho, Exit::IcmpEcho, Exit::DropToRouter};
        case IcmpError::Unreachable:
            return cause({3, 1}, {1, 0}, Exit::DropBlackhole);
        case IcmpError::Prohibited:
            return cause({3, 13}, {1, 1}, Exit::DropBlackhole);
        case IcmpError::NoSubscriber:
            return cause({3, 1}, {1, 0}, Exit::DropNoSubscriber);
        case IcmpError::NoTunnel:
            return cause({3, 1}, {1, 3}, Exit::DropNoTunnel);
        case IcmpError::NoRoute:
        case IcmpError::None:
            break;
    }
    return {3, 0, 1, 0, Exit::IcmpUnreachable, Exit::IcmpUnreachable, Exit::DropNoRoute};
}

constexpr std::uint8_t kRedirect6 = 137;

// RFC 1122 §3.2.2 and RFC 4443 §2.4 (e): never about an ICMP error, an ICMPv6 redirect, a later
// fragment of IPv4, or something sent to or from more than one host. A later fragment of ICMPv6 may
// be an error's.
bool may_answer(const Packet& p) {
    if (p.family == 4) {
        const wire::Upper u = wire::upper4(p.ip);
        if (u.later_fragment || group_destination4(p.ip) || martian_source4(p.ip) ||
            link_local4(p.ip + 12))
            return false;
        return u.protocol != wire::kProtoIcmp ||
               (u.offset < p.length && !wire::is_icmp4_error(p.ip[u.offset]));
    }
    const wire::Upper u = wire::upper6(p.ip, p.length);
    if (local_scope6(p.ip + 24) || martian_source6(p.ip) || local_scope6(p.ip + 8)) return false;
    return u.protocol != wire::kProtoIcmp6 ||
           (!u.later_fragment && u.offset < p.length && !wire::is_icmp6_error(p.ip[u.offset]) &&
            p.ip[u.offset] != kRedirect6);
}

// Whose the packet is, or for whom: the sender's, if it came out of a tunnel.
std::uint32_t subscriber_of(const Packet& p) {
    if (p.from != nullptr) return p.from->subscriber;
    if (p.target.kind() == TargetKind::Blackhole) return p.target.discarded_subscriber();
    return p.target.kind() == TargetKind::Subscriber ? p.target.index() : 0;
}

bool within_limit(Context& c, const Packet& p) {
    const std::uint32_t whom = subscriber_of(p);
    // From the network a neighbourhood shares, for anybody there may send in its name. Within a
    // site each host has its own share.
    const std::uint64_t back = p.from == nullptr ? network_of(p) : host_of(p);
    const std::uint64_t now = rte_rdtsc();
    switch (p.error) {
        case IcmpError::TooBig:
            return c.icmp.too_big.take(whom, back, c.secret, now, c.tsc_hz);
        case IcmpError::TimeExceeded:
            return c.icmp.time_exceeded.take(whom, back, c.secret, now, c.tsc_hz);
        case IcmpError::Echo:
            return c.icmp.echo.take(whom, back, c.secret, now, c.tsc_hz);
        case IcmpError::NoRoute:
        case IcmpError::Unreachable:
        case IcmpError::Prohibited:
        case IcmpError::NoSubscriber:
        case IcmpError::NoTunnel:
        case IcmpError::None:
            break;
    }
    return c.icmp.unreachable.take(whom, back, c.secret, now, c.tsc_hz);
}

// Headers and quote, without source and checksums.
void write_icmp4(std::uint8_t* ip, const Packet& p, const Kind& kind, unsigned quote) {
    wire::Ipv4 h{};
    h.version_ihl = 0x45;
    h.tos = 0xc0;  // internetwork control, RFC 1812 §4.3.2.5
    h.total_length = Be16::from(static_cast<std::uint16_t>(28 + quote));
    h.ttl = 64;
    h.protocol = wire::kProtoIcmp;
    std::memcpy(&h.destination, p.ip + 12, 4);
    std::memcpy(ip, &h, sizeof h);
    const wire::Icmp icmp{
        kind.type4, kind.code4, {}, Be32::from(p.error == IcmpError::TooBig ? p.mtu : 0)};
    std::memcpy(ip + 20, &icmp, sizeof icmp);
    std::memcpy(ip + 28, p.ip, quote);
}

void write_icmp6(std::uint8_t* ip, const Packet& p, const Kind& kind, unsigned quote) {
    wire::Ipv6 h{};
    h.version_class_label = Be32::from(0x60000000U);
    h.payload_length = Be16::from(static_cast<std::uint16_t>(8 + quote));
    h.next_header = wire::kProtoIcmp6;
    h.hop_limit = 64;
    std::memcpy(h.destination.data(), p.ip + 8, 16);
    std::memcpy(ip, &h, sizeof h);
    const wire::Icmp icmp{
        kind.type6, kind.code6, {}, Be32::from(p.error == IcmpError::TooBig ? p.mtu : 0)};
    std::memcpy(ip + 40, &icmp, sizeof icmp);
    std::memcpy(ip + 48, p.ip, quote);
}

// Completes what write_icmp4() or write_icmp6() has begun.
void set_source(Packet& r, const WorkerShared::PortAddresses& sources) {
    std::uint8_t* const ip = r.ip;
    if (r.family == 4) {
        const std::uint32_t source = sources.ipv4.load(std::memory_order_relaxed);
        std::memcpy(ip + 12, &source, 4);
        const auto header = wire::checksum(ip, 20);
        std::memcpy(ip + 10, &header, 2);
        const auto whole = wire::checksum(ip + 20, r.length - 20U);
        std::memcpy(ip + 22, &whole, 2);
        return;
    }
    for (unsigned i = 0; i < 2; ++i) {
        const std::uint64_t word = sources.ipv6[i].load(std::memory_order_relaxed);
        std::memcpy(ip + 8 + 8UL * i, &word, 8);
    }
    // Pseudo-header (RFC 8200 §8.1).
    std::uint64_t sum = wire::checksum_add(ip + 8, 32, 0);
    sum += Be16::from(static_cast<std::uint16_t>(r.length - 40U)).raw;
    sum += static_cast<std::uint32_t>(wire::kProtoIcmp6) << 8;
    const auto whole = wire::checksum(ip + 40, r.length - 40U, sum);
    std::memcpy(ip + 42, &whole, 2);
}

// Whether this router has an address of the family; then every port has one to send from.
bool has_source(const Context& c, const Burst& b, unsigned family) {
    const WorkerShared::PortAddresses& own = c.shared->addresses[b.in_port];
    if (family == 4) return own.ipv4.load(std::memory_order_relaxed) != 0;
    return (own.ipv6[0].load(std::memory_order_relaxed) |
            own.ipv6[1].load(std::memory_order_relaxed)) != 0;
}

// The answer as a packet in a buffer of its own; null: no buffer.
rte_mbuf* build(Context& c, const Packet& p, const Kind& kind) {
    const unsigned limit = p.family == 4 ? kQuote4 : kQuote6;
    const bool echo = p.error == IcmpError::Echo;
    const unsigned header = echo ? 0 : p.family == 4 ? 28 : 48;
    const unsigned quote = echo || p.length < limit ? p.length : limit;
    rte_mbuf* m = rte_pktmbuf_alloc(c.shared->pool);
    if (m == nullptr) return nullptr;
    auto* ip = reinterpret_cast<std::uint8_t*>(
        rte_pktmbuf_append(m, static_cast<std::uint16_t>(header + quote)));
    if (ip == nullptr) {
        rte_pktmbuf_free(m);
        return nullptr;
    }
    if (echo)
        write_echo_reply(ip, p);
    else if (p.family == 4)
        write_icmp4(ip, p, kind, quote);
    else
        write_icmp6(ip, p, kind, quote);
    return m;
}

}  // namespace

void stage_icmp(Context& c, Burst& b, Burst& replies) {
    for (const unsigned i : b.errors) {
        Packet& p = b.packets[i];
        const Kind kind = kind_of(p.error);
        if (!may_answer(p) || replies.count == kBurst || !has_source(c, b, p.family)) {
            exit_with(c, p, kind.not_sent);
            continue;
        }
        if (!within_limit(c, p)) {
            exit_with(c, p, is_drop(kind.sent4) ? kind.sent4 : Exit::DropIcmpLimited);
            continue;
        }
        rte_mbuf* m = build(c, p, kind);
        if (m == nullptr) {
            exit_with(c, p, Exit::DropNoBuffers);
            continue;
        }
        Packet& r = replies.packets[replies.count];
        r = Packet{};
        r.mbuf = m;
        r.ip = rte_pktmbuf_mtod(m, std::uint8_t*);
        r.length = m->data_len;
        r.family = p.family;
        r.flags = Packet::kLive | Packet::kOwn;
        if (p.error == IcmpError::Echo) r.flags |= Packet::kAddressed;
        (p.family == 4 ? replies.lookup4 : replies.lookup6).add(replies.count);
        p.reply = static_cast<std::uint8_t>(++replies.count);
        exit_with(c, p, p.family == 4 ? kind.sent4 : kind.sent6);
    }
}

// RFC 1812 §4.3.2.4. Neither the route nor the flow hash depends on the source: an error is of the
// flow that it is about.
void address_errors(Context& c, Burst& replies) {
    for (const unsigned i : replies.steer) {
        Packet& r = replies.packets[i];
        if ((r.flags & Packet::kAddressed) != 0) continue;
        const std::uint32_t next = r.tunnel->next_hop.load(std::memory_order_acquire);
        set_source(r, c.shared->addresses[c.tables->next_hop(next).port]);
    }
    for (const unsigned i : replies.forward) {
        Packet& r = replies.packets[i];
        if ((r.flags & Packet::kAddressed) != 0) continue;
        set_source(r, c.shared->addresses[c.tables->next_hop(r.target.index()).port]);
    }
}

}  // namespace dr
