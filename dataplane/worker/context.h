// What the stages share: the burst that travels through them, and the worker's own state.
//
// A stage is a plain function over a burst. It reads a list of packet numbers, and for each packet
// either appends it to the list of a later stage or ends it with exit_with(). Packets never change
// their place in the burst, so that they can leave in the order in which they came.
#pragma once

#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "dataplane/worker/drop_note.h"
#include "dataplane/worker/exits.h"
#include "dataplane/worker/icmp_limit.h"
#include "dataplane/worker/rate_limit.h"
#include "dataplane/worker/worker.h"

namespace dr {

struct KeepaliveArrival;

inline constexpr unsigned kBurst = 64;
// Packets that one burst may give birth to by fragmentation.
inline constexpr unsigned kMaxExtra = 512;

// Why an ICMP error, or an echo reply, is due, and which exit the packet takes when it may not be
// sent.
enum class IcmpError : std::uint8_t {
    None,
    TimeExceeded,
    TooBig,
    Echo,
    NoRoute,
    Unreachable,   // a route says so
    Prohibited,    // a route says so
    NoSubscriber,  // nobody has the pool's address
    NoTunnel,      // the subscriber has no usable line
};

struct alignas(64) Packet {
    rte_mbuf* mbuf;
    std::uint8_t* ip;         // the packet to forward: as received, or inner after decapsulation
    const TunnelRow* from;    // tunnel it came out of; null: from the network
    const TunnelRow* tunnel;  // tunnel it goes into
    Target target;            // of ip's destination
    std::uint32_t hash;
    std::uint16_t length;  // of the IP packet
    std::uint16_t upper;   // offset of the upper-layer header
    std::uint16_t out_port;
    std::uint16_t mtu;     // for IcmpError::TooBig
    std::uint16_t extra;   // first of its further fragments in Burst::extra
    std::uint16_t extras;  // how many
    std::uint8_t flags;
    std::uint8_t reply;  // number in the replies' burst plus 1; 0: none
    IcmpError error;
    Exit exit;
    std::uint8_t family;  // 4 or 6
    std::uint8_t protocol;

    // As received from the network.
    void start() {
        from = nullptr;
        tunnel = nullptr;
        extra = 0;
        extras = 0;
        flags = kLive;
        reply = 0;
        error = IcmpError::None;
        exit = Exit::DropNoRoute;
    }

    static constexpr std::uint8_t kLive = 1;           // it will be transmitted
    static constexpr std::uint8_t kOwn = 2;            // made by this router, not received
    static constexpr std::uint8_t kLaterFragment = 8;  // IP fragment that is not the first
    static constexpr std::uint8_t kAddressed = 16;     // kOwn, with its source already
};
static_assert(sizeof(Packet) == 64);

// Numbers of packets. 16 bits, not 8: a store through an 8-bit type may alias everything, and the
// compiler would load all it knows again after each.
struct PacketList {
    std::array<std::uint16_t, kBurst> index;
    unsigned count{};
    void add(unsigned packet) { index[count++] = static_cast<std::uint16_t>(packet); }
    [[nodiscard]] const std::uint16_t* begin() const { return index.data(); }
    [[nodiscard]] const std::uint16_t* end() const { return index.data() + count; }
};

struct Burst {
    std::array<Packet, kBurst> packets;
    unsigned count{};
    std::uint16_t in_port{};  // number in Ports
    PacketList lookup4, lookup6, decapsulate, steer, forward, errors;
    std::array<rte_mbuf*, kMaxExtra> extra;
    unsigned extras{};

    void clear() {
        count = extras = 0;
        lookup4.count = lookup6.count = decapsulate.count = 0;
        steer.count = forward.count = errors.count = 0;
    }
};

// Packets on their way out of one port, in order.
struct TxQueue {
    static constexpr unsigned kSize = 256;
    std::array<rte_mbuf*, kSize> mbufs;
    std::array<std::uint8_t, kSize> exits;  // Exit, or kNoExit
    unsigned count{};
    std::uint64_t bytes{};
};
inline constexpr std::uint8_t kNoExit = 0xff;

// Names of the stages, in the order of WorkerCounters::stage_cycles.
enum class Stage : std::uint8_t {
    Receive,
    Parse,
    Lookup,
    Decapsulate,
    Steer,
    Encapsulate,
    Forward,
    Icmp,
    Transmit,
    Count
};

struct Context {
    WorkerConfig config;
    WorkerShared* shared{};
    const Tables* tables{};
    const Ports* ports{};
    southbound::WorkerBlock* block{};
    southbound::TunnelCounters* tunnel_counters{};
    std::uint64_t tsc_hz{};
    std::uint64_t secret{};  // of the places in limiters' arrays
    IcmpLimiter icmp;
    CheckLimiter checks;
    StrayLimiter strays;
    StartLimiter starts;
    LateLimiter late;
    HintLimiter hints;
    Burst received;
    Burst replies;  // ICMP errors that this router sends because of `received`
    std::array<TxQueue, kMaxPorts> tx;
    // Of destinations on connected networks, by the subscriber whose packet it is.
    LimiterArray<RateLimiter<20, 8>, 1'024> asking;
    SpscRing<ResolveRequest, 256> resolve;
    DropNotes drop_notes;
};

// Counters are written by this worker alone; whole words, so that a reader sees no half of one.
inline void count_up(std::uint64_t& counter, std::uint64_t by = 1) {
    __atomic_store_n(&counter, counter + by, __ATOMIC_RELAXED);
}
inline void count_exit(Context& c, Exit exit) {
    count_up(c.block->exits[static_cast<std::size_t>(exit)]);
}

// The packet ends here. Packets of our own making are not counted: nobody received them.
inline void exit_with(Context& c, Packet& p, Exit exit) {
    p.exit = exit;
    p.flags &= static_cast<std::uint8_t>(~Packet::kLive);
    if ((p.flags & Packet::kOwn) == 0) count_exit(c, exit);
}
// An ICMP error is due; stage_icmp decides.
inline void fail_with(Context& c, Burst& b, unsigned i, IcmpError error, Exit when_own) {
    Packet& p = b.packets[i];
    if ((p.flags & Packet::kOwn) != 0) return exit_with(c, p, when_own);
    p.error = error;
    b.errors.add(i);
}

// To where a route discards; its sender is told if the route says so.
inline void discard(Context& c, Burst& b, unsigned i) {
    switch (b.packets[i].target.discard()) {
        case Discard::Unreachable:
            return fail_with(c, b, i, IcmpError::Unreachable, Exit::DropBlackhole);
        case Discard::Prohibited:
            return fail_with(c, b, i, IcmpError::Prohibited, Exit::DropBlackhole);
        case Discard::Silent:
            break;
    }
    exit_with(c, b.packets[i], Exit::DropBlackhole);
}

// The stages, in the order in which a packet meets them.
void stage_parse(Context& c, Burst& b);
void stage_lookup(Context& c, Burst& b);
void stage_decapsulate(Context& c, Burst& b);
void stage_steer(Context& c, Burst& b);
void stage_encapsulate(Context& c, Burst& b);
void stage_forward(Context& c, Burst& b);
void stage_icmp(Context& c, Burst& b, Burst& replies);
// Gives the errors that go on their source address and their checksums, when it is known which port
// each leaves by.
void address_errors(Context& c, Burst& replies);
void stage_transmit(Context& c, Burst& b, Burst& replies);

// A keepalive of tunnel p.from; `bound`: from its bound endpoint. The packet ends here. `p` is as
// received, `gre` its GRE header.
void take_keepalive(Context& c, Packet& p, const std::uint8_t* gre, bool bound);
// Fetches from memory what take_keepalive() will read of a tunnel: a burst of keepalives is of as
// many tunnels.
void expect_keepalive(const Context& c, std::uint32_t slot);
// An ICMP error of the path about a packet of a tunnel; `at`: offset of its ICMP header. It ends
// here.
void take_tunnel_icmp(Context& c, Packet& p, unsigned at);
// `bytes`, inside the buffer, become what a liveness thread finds in it, and what lies before them
// the arrival.
void leave_arrival(rte_mbuf* m, const std::uint8_t* bytes, unsigned size,
                   const KeepaliveArrival& arrival);
// The writer is to ask for the destination of a packet out of a tunnel: a few for each subscriber,
// so that one who scans a connected network leaves the others their turn.
void ask_for_neighbour(Context& c, const Packet& p);
// Sends what liveness threads have made, a burst of it; how many.
unsigned send_injected(Context& c);

// What a packet's source is counted by where shares are for each network, /24 or /48, or host.
inline std::uint64_t network_of(const Packet& p) {
    std::uint64_t word = 0;
    if (p.family == 4)
        std::memcpy(&word, p.ip + 12, 3);
    else
        std::memcpy(&word, p.ip + 8, 6);
    return word << 8 | p.family;
}
inline std::uint64_t host_of(const Packet& p) {
    std::array<std::uint64_t, 2> words{};
    const wire::IpLayout at = wire::ip_layout(p.family);
    std::memcpy(words.data(), p.ip + at.source, at.address);
    return words[0] * 3 ^ words[1] * 5 ^ p.family;
}

// IPv4 fragmentation of one packet (RFC 791 §3.2); sets p.extra and p.extras, p becomes the first.
// false: no buffers, or an MTU that not even eight bytes fit into; nothing changed.
bool fragment_ipv4(Context& c, Burst& b, Packet& p, unsigned mtu);

}  // namespace dr
