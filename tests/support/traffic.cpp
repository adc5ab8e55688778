#include "tests/support/traffic.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "dataplane/wire/checksum.h"
#include "tests/support/ring_ports.h"

namespace dr::test {

namespace {

using namespace southbound;

constexpr std::array<std::uint8_t, 4> kLocal4{192, 0, 2, 1};
constexpr std::array<std::uint8_t, 16> kLocal6{0x20, 1, 0xd, 0xb8, 0, 0xff, 0, 0,
                                               0,    0, 0,   0,    0, 0,    0, 1};

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "traffic: %s\n", what);
    std::abort();
}

IpAddress address4(std::uint32_t host) {
    IpAddress a{4, {}};
    const Be32 wire = Be32::from(host);
    std::memcpy(a.bytes.data(), &wire, 4);
    return a;
}
IpAddress address6(std::uint64_t hi, std::uint64_t lo) {
    IpAddress a{6, {}};
    const Be64 words[2] = {Be64::from(hi), Be64::from(lo)};
    std::memcpy(a.bytes.data(), words, 16);
    return a;
}
IpAddress site4(unsigned n) {
    return address4(0x64800000U + n * 8);
}
IpAddress site6(unsigned n) {
    return address6(0x20010db850000000ULL + (static_cast<std::uint64_t>(n) << 8), 0);
}

template <typename T>
void put(Bytes& out, const T& value) {
    const std::size_t at = out.size();
    out.resize(at + sizeof value);
    std::memcpy(out.data() + at, &value, sizeof value);
}

void commit(TableWriter& writer, Transaction& transaction) {
    const Outcome outcome = writer.commit(transaction, false);
    if (!outcome.ok()) fail(outcome.text.c_str());
    transaction.clear();
}

}  // namespace

Traffic::Traffic(unsigned subscribers, bool udp, unsigned outer, unsigned inner,
                 bool measure_stages)
    : subscribers_(subscribers), udp_(udp), outer_(outer), inner_(inner) {
    rte_mempool* pool = ring_pool();
    provision();
    for (unsigned port = 0; port < 2; ++port) {
        const RingPort made = make_ring_port();
        rx_[port] = made.rx;
        tx_[port] = made.tx;
        Port p;
        p.name = port == 0 ? "net" : "isp";
        p.kind = PortKind::Ring;
        p.ethdev = made.ethdev;
        p.mac = Pipeline::mac(port);
        ports_.push_back(p);
    }
    for (unsigned i = 0; i < kBuffers; ++i) free_.push_back(rte_pktmbuf_alloc(pool));
    shared_.tables = tables_.get();
    shared_.ports = &ports_;
    shared_.qsbr = &tables_->qsbr;
    shared_.pool = pool;
    block_ = std::make_unique<WorkerBlock>();
    tunnel_counters_ = Region(tables_->tunnel_of_slot.size() * sizeof(TunnelCounters));
    if (tunnel_counters_.data() == nullptr) fail("no memory for counters");
    WorkerConfig config;
    config.queues = {{0, 0}, {1, 0}};
    config.sleep_when_idle = false;
    config.measure_stages = measure_stages;
    worker_ = std::make_unique<Worker>(config, shared_, block_.get(),
                                       static_cast<TunnelCounters*>(tunnel_counters_.data()));
    tables_->qsbr.online(0);
}

Traffic::~Traffic() {
    for (unsigned port = 0; port < 2; ++port) {
        void* m = nullptr;
        while (rte_ring_dequeue(tx_[port], &m) == 0) free_.push_back(static_cast<rte_mbuf*>(m));
    }
    for (rte_mbuf* m : free_) rte_pktmbuf_free(m);
    for (unsigned port = 0; port < 2; ++port)
        free_ring_port({rx_[port], tx_[port], ports_[port].ethdev});
}

void Traffic::provision() {
    Capacity capacity;
    capacity.subscribers = subscribers_ + 16;
    capacity.tunnels = 2 * subscribers_ + 64;
    capacity.prefixes4 = capacity.prefixes6 = subscribers_ + 64;
    capacity.groups4 = subscribers_ / 32 + 64;
    capacity.groups6 = subscribers_ / 128 + 4096;
    std::string error;
    tables_ = Tables::create(capacity, &error);
    if (!tables_) fail(error.c_str());
    rib_ = std::make_unique<Rib>(*tables_);
    for (std::uint16_t port = 0; port < 2; ++port) {
        rib_->set_port(port, Pipeline::mac(port), 1500);
        for (const IpAddress& gateway :
             {address4(0xc0000200U + 254), address6(0xfe80000000000000ULL, 0xfe)}) {
            rib_->set_neighbour(port, gateway, Pipeline::kPeer);
            const NextHopIndex hop = rib_->acquire_next_hop(port, gateway);
            // Half of the Internet each way; tunnels' remotes all lie behind port 1.
            const bool v6 = gateway.family == 6;
            const IpPrefix prefix = port == 0 ? IpPrefix{{gateway.family, {}}, 0}
                                              : IpPrefix{v6 ? address6(0x20010db8000b0000ULL, 0)
                                                            : address4(0xcb000000U),
                                                         static_cast<std::uint8_t>(v6 ? 48 : 8)};
            rib_->insert(prefix, RouteSource::Route, Target(TargetKind::NextHop, hop.value));
        }
    }
    IpAddress local{4, {}};
    std::memcpy(local.bytes.data(), kLocal4.data(), 4);
    rib_->insert({local, 32}, RouteSource::Local, Target(TargetKind::Local, 1));
    rib_->insert({{6, kLocal6}, 128}, RouteSource::Local, Target(TargetKind::Local, 1));

    writer_ = std::make_unique<TableWriter>(*tables_, *rib_);
    Transaction transaction;
    Bytes policy;
    put(policy, PolicyRecord{1, 2, 60, 0, 1});
    put(policy, ClassRecord{});
    for (const char line : {'a', 'b'}) {
        LineRecord record{};
        record.name[0] = line;
        record.weight = 1;
        record.number = static_cast<std::uint8_t>(line - 'a');
        put(policy, record);
    }
    transaction.add(Type::UpsertPolicy, policy);
    for (unsigned n = 0; n < subscribers_; ++n) {
        add_subscriber(transaction, n);
        if (transaction.size() >= 20'000) commit(*writer_, transaction);
    }
    commit(*writer_, transaction);
    while (!writer_->refresh(1'000'000)) {
    }
}

Bytes Traffic::remote(unsigned n, unsigned line) const {
    const IpAddress a = outer_ == 4 ? address4(0xcb000000U + 2 * n + line)
                                    : address6(0x20010db8000b0000ULL, 2ULL * n + line);
    return {a.bytes.begin(), a.bytes.begin() + (outer_ == 4 ? 4 : 16)};
}

void Traffic::add_subscriber(Transaction& transaction, unsigned n) const {
    Bytes body;
    put(body, SubscriberRecord{n + 1, 1, 0x9e3779b9U * (n + 1), 2, 2});
    put(body, PrefixRecord{4, 29, 0, site4(n).bytes});
    put(body, PrefixRecord{6, 56, 0, site6(n).bytes});
    for (unsigned line = 0; line < 2; ++line) {
        TunnelRecord t{};
        t.id = 1U << 24 | (1 + 2 * n + line);
        t.encapsulation = udp_ ? Encapsulation::GreUdp : Encapsulation::Gre;
        t.family = static_cast<std::uint8_t>(outer_);
        t.mtu = 1400;
        std::memcpy(t.local.data(), outer_ == 4 ? kLocal4.data() : kLocal6.data(),
                    outer_ == 4 ? 4 : 16);
        const Bytes r = remote(n, line);
        std::memcpy(t.remote.data(), r.data(), r.size());
        t.line[0] = line == 0 ? 'a' : 'b';
        put(body, t);
    }
    if (!transaction.add(Type::UpsertSubscriber, body)) fail("transaction full");
}

void Traffic::write_packet(rte_mbuf* m, std::mt19937& random, bool downlink) const {
    const auto n = static_cast<unsigned>(random() % subscribers_);
    const auto line = static_cast<unsigned>(random() % 2);
    IpAddress site = inner_ == 4 ? site4(n) : site6(n);
    site.bytes[inner_ == 4 ? 3 : 15] |= 1;
    const std::size_t size = inner_ == 4 ? 4 : 16;
    const std::span<const std::uint8_t> inside(site.bytes.data(), size);
    const Bytes outside = outside_address(inner_);
    Bytes packet = downlink ? udp_packet(outside, inside, inner_ == 4 ? 18 : 0)
                            : udp_packet(inside, outside, inner_ == 4 ? 18 : 0);
    const auto ports = static_cast<std::uint32_t>(random());
    std::memcpy(packet.data() + (inner_ == 4 ? 20 : 40), &ports, 4);
    Bytes frame;
    if (downlink) {
        frame = ethernet_frame(0, packet);
    } else {
        const unsigned kind = (udp_ ? TunnelRow::kUdp : 0U) | (outer_ == 6 ? TunnelRow::kIpv6 : 0U);
        const std::uint32_t id = 1U << 24 | (1 + 2 * n + line);
        frame = tunnel_frame(id, kind, remote(n, line),
                             outer_ == 4 ? Bytes(kLocal4.begin(), kLocal4.end())
                                         : Bytes(kLocal6.begin(), kLocal6.end()),
                             packet);
    }
    rte_pktmbuf_reset(m);
    std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(),
                frame.size());
}

void Traffic::fill(std::mt19937& random, bool downlink, unsigned count) {
    for (unsigned port = 0; port < 2; ++port) {
        void* m = nullptr;
        while (rte_ring_dequeue(tx_[port], &m) == 0)
            free_.insert(free_.begin(), static_cast<rte_mbuf*>(m));
    }
    for (unsigned i = 0; i < count; ++i) {
        if (free_.empty()) fail("packets were lost: no buffer came back");
        rte_mbuf* m = free_.back();
        free_.pop_back();
        write_packet(m, random, downlink);
        rte_ring_enqueue(rx_[downlink ? 0 : 1], m);
    }
}

std::uint64_t Traffic::collect() {
    std::uint64_t other = 0;
    for (std::size_t e = 0; e < kExitCount; ++e) {
        const bool forwarded = e == static_cast<std::size_t>(Exit::ForwardedDownlink) ||
                               e == static_cast<std::size_t>(Exit::ForwardedUplink);
        if (!forwarded) other += block_->exits[e];
        block_->exits[e] = 0;
    }
    return other;
}

}  // namespace dr::test
