#include "tests/support/pipeline.h"

#include <rte_eal.h>
#include <rte_mbuf.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "dataplane/wire/checksum.h"
#include "dataplane/worker/exits.h"
#include "tests/support/ring_ports.h"

namespace dr::test {

namespace {

constexpr std::array<std::uint8_t, 4> kLocal4{192, 0, 2, 1};
constexpr std::array<std::uint8_t, 16> kLocal6{0x20, 1, 0xd, 0xb8, 0, 0xff, 0, 0,
                                               0,    0, 0,   0,    0, 0,    0, 1};

std::array<std::uint8_t, 4> remote4(unsigned subscriber) {
    return {192, 0, 2, static_cast<std::uint8_t>(100 + subscriber)};
}
std::array<std::uint8_t, 16> remote6(unsigned subscriber) {
    auto address = kLocal6;
    address[15] = static_cast<std::uint8_t>(100 + subscriber);
    return address;
}

void append(Bytes& out, const void* data, std::size_t size) {
    const std::size_t at = out.size();
    out.resize(at + size);
    if (size != 0) std::memcpy(out.data() + at, data, size);
}
template <typename T>
void put(Bytes& out, const T& value) {
    append(out, &value, sizeof value);
}

wire::Ipv4 ipv4_header(std::span<const std::uint8_t> source,
                       std::span<const std::uint8_t> destination, std::uint8_t protocol,
                       std::size_t payload) {
    wire::Ipv4 h{};
    h.version_ihl = 0x45;
    h.total_length = Be16::from(static_cast<std::uint16_t>(20 + payload));
    h.fragment = Be16::from(wire::Ipv4::kDontFragment);
    h.ttl = 64;
    h.protocol = protocol;
    std::memcpy(&h.source, source.data(), 4);
    std::memcpy(&h.destination, destination.data(), 4);
    h.checksum = wire::checksum(&h, sizeof h);
    return h;
}

wire::Ipv6 ipv6_header(std::span<const std::uint8_t> source,
                       std::span<const std::uint8_t> destination, std::uint8_t protocol,
                       std::size_t payload) {
    wire::Ipv6 h{};
    h.version_class_label = Be32::from(0x60000000U);
    h.payload_length = Be16::from(static_cast<std::uint16_t>(payload));
    h.next_header = protocol;
    h.hop_limit = 64;
    std::memcpy(h.source.data(), source.data(), 16);
    std::memcpy(h.destination.data(), destination.data(), 16);
    return h;
}

Bytes with_ip(std::span<const std::uint8_t> source, std::span<const std::uint8_t> destination,
              std::uint8_t protocol, const Bytes& payload) {
    Bytes out;
    if (source.size() == 4)
        put(out, ipv4_header(source, destination, protocol, payload.size()));
    else
        put(out, ipv6_header(source, destination, protocol, payload.size()));
    append(out, payload.data(), payload.size());
    return out;
}

}  // namespace

bool start_eal() {
    static const bool started = [] {
        const std::string prefix = "--file-prefix=test" + std::to_string(getpid());
        std::vector<std::string> words{"test",        "--no-huge", "-m",
                                       "64",          "--no-pci",  "--no-telemetry",
                                       "--no-shconf", prefix,      "--log-level=*:error",
                                       "--lcores=0"};
        std::vector<char*> argv;
        for (std::string& word : words) argv.push_back(word.data());
        return rte_eal_init(static_cast<int>(argv.size()), argv.data()) >= 0;
    }();
    return started;
}

Pipeline::Pipeline(unsigned tx_size, unsigned punt_size) {
    make_tables();
    make_ports(tx_size);
    if (punt_size != 0) {
        punt_ = rte_ring_create("punt", punt_size, SOCKET_ID_ANY, 0);
        for (Port& port : ports_) port.exception = port.ethdev;
        shared_.punt = punt_;
    }
    shared_.tables = tables_.get();
    shared_.ports = &ports_;
    shared_.qsbr = &tables_->qsbr;
    shared_.pool = ring_pool();
    const std::array<std::array<std::uint8_t, 4>, 2> own4{{{198, 51, 100, 1}, kLocal4}};
    for (unsigned port = 0; port < 2; ++port) {
        std::uint32_t v4;
        std::memcpy(&v4, own4[port].data(), 4);
        shared_.addresses[port].ipv4 = v4;
        auto v6 = kLocal6;
        v6[5] = port == 0 ? 0xfe : 0xff;
        std::array<std::uint64_t, 2> words;
        std::memcpy(words.data(), v6.data(), 16);
        shared_.addresses[port].ipv6[0] = words[0];
        shared_.addresses[port].ipv6[1] = words[1];
    }
    block_ = std::make_unique<southbound::WorkerBlock>();
    tunnel_counters_.resize(128);
    WorkerConfig config;
    config.queues = {{0, 0}, {1, 0}};
    config.sleep_when_idle = false;
    samples_ = std::make_unique<southbound::DropSample[]>(kExitCount * southbound::kDropSamples);
    tunnel_drops_.resize(128);
    config.drops = {samples_.get(), tunnel_drops_.data()};
    worker_ = std::make_unique<Worker>(config, shared_, block_.get(), tunnel_counters_.data());
    tables_->qsbr.online(0);
}

std::uint64_t Pipeline::notes(Exit exit) const {
    std::uint64_t latest = 0;
    for (unsigned i = 0; i < southbound::kDropSamples; ++i) {
        const auto place = static_cast<std::size_t>(exit) * southbound::kDropSamples + i;
        latest = std::max(latest, samples_[place].sequence.load());
    }
    return latest / 2;
}

southbound::DropState Pipeline::noted(Exit exit) const {
    const std::uint64_t count = notes(exit);
    if (count == 0) std::abort();
    const auto place = static_cast<std::size_t>(exit) * southbound::kDropSamples +
                       (count - 1) % southbound::kDropSamples;
    std::array<std::uint64_t, sizeof(southbound::DropState) / 8> words;
    for (std::size_t i = 0; i < words.size(); ++i) words[i] = samples_[place].words[i].load();
    southbound::DropState state;
    std::memcpy(&state, words.data(), sizeof state);
    return state;
}

std::vector<Exit> Pipeline::unnoted() const {
    std::vector<Exit> out;
    for (std::size_t e = 0; e < kExitCount; ++e) {
        const auto exit = static_cast<Exit>(e);
        if (is_drop(exit) && this->exit(exit) != 0 && notes(exit) == 0) out.push_back(exit);
    }
    return out;
}

Pipeline::~Pipeline() {
    drain();
    for (unsigned port = 0; port < 2; ++port)
        free_ring_port({rx_[port], tx_[port], ports_[port].ethdev});
    rte_ring_free(punt_);
}

void Pipeline::make_ports(unsigned tx_size) {
    for (unsigned port = 0; port < 2; ++port) {
        const RingPort made = make_ring_port(tx_size);
        rx_.push_back(made.rx);
        tx_.push_back(made.tx);
        Port p;
        p.name = port == 0 ? "net" : "isp";
        p.kind = PortKind::Ring;
        p.ethdev = made.ethdev;
        p.mac = mac(port);
        ports_.push_back(p);
    }
}

namespace {

// As the Rib does it.
void insert4(Tables& t, const Lpm4::Address& prefix, unsigned length, Target target) {
    t.lpm4->insert(prefix, length, target);
    if (target.is_ours()) t.sources4.add(prefix, length);
}
void insert6(Tables& t, const Lpm6::Address& prefix, unsigned length, Target target) {
    t.lpm6->insert(prefix, length, target);
    if (target.is_ours()) t.sources6.add(prefix, length);
}

}  // namespace

void Pipeline::make_tables() {
    Capacity capacity;
    capacity.subscribers = 16;
    capacity.tunnels = 128;
    capacity.maps = 64;
    capacity.next_hops = 16;
    capacity.prefixes4 = capacity.prefixes6 = 64;
    capacity.groups4 = capacity.groups6 = 128;
    std::string error;
    tables_ = Tables::create(capacity, &error);
    if (!tables_) std::abort();
    add_next_hops();
    Tables& t = *tables_;
    const Lpm4::Address any4{};
    const Lpm6::Address any6{};
    insert4(t, any4, 0, Target(TargetKind::NextHop, 1));
    insert6(t, any6, 0, Target(TargetKind::NextHop, 1));
    insert4(t, kLocal4, 32, Target(TargetKind::Local, 1));
    insert6(t, kLocal6, 128, Target(TargetKind::Local, 1));
    insert4(t, {203, 0, 113, 0}, 24, Target(TargetKind::Pool, 0));
    insert6(t, {0x20, 1, 0xd, 0xb8, 0x50}, 40, Target(TargetKind::Pool, 0));
    insert4(t, {198, 18, 0, 0}, 16, Target(TargetKind::Blackhole, 0));
    insert4(t, {198, 19, 0, 0}, 16, Target(TargetKind::Elsewhere, 0));
    for (unsigned n = 1; n <= kSubscribers; ++n) add_subscriber(n);
}

void Pipeline::add_next_hops() {
    for (std::uint32_t hop = 1; hop <= 2; ++hop) {
        NextHopRow& row = tables_->next_hop_rows[hop];
        row.destination = kPeer;
        row.source = mac(hop - 1);
        row.port = static_cast<std::uint16_t>(hop - 1);
        row.mtu = 1500;
        row.resolved = 1;
        row.family = 4;
        tables_->next_hops[hop] = hop;
    }
}

void Pipeline::add_subscriber(unsigned n) {
    Tables& t = *tables_;
    SubscriberRow& row = t.subscribers[n];
    row.seed = 0x1000 + n;
    row.id = n;
    row.policy = 1;
    BucketMap& map = t.maps[n];
    map.line.fill(static_cast<std::uint8_t>(n - 1));
    for (unsigned kind = 0; kind < 4; ++kind) {
        add_tunnel(n, kind);
        row.slot[kind] = n * 16 + kind;
    }
    row.map = n;
    const Target target(TargetKind::Subscriber, n);
    insert4(t, {203, 0, 113, static_cast<std::uint8_t>(8 * n)}, 29, target);
    insert6(t, {0x20, 1, 0xd, 0xb8, 0x50, 0, static_cast<std::uint8_t>(n)}, 56, target);
}

void Pipeline::discard(unsigned subscriber) {
    tables_->lpm4->insert({203, 0, 113, static_cast<std::uint8_t>(8 * subscriber)}, 29,
                          Target(TargetKind::Blackhole, subscriber));
}

void Pipeline::add_tunnel(unsigned subscriber, unsigned kind) {
    const bool udp = (kind & TunnelRow::kUdp) != 0;
    const bool ipv6 = (kind & TunnelRow::kIpv6) != 0;
    const auto local =
        ipv6 ? Bytes(kLocal6.begin(), kLocal6.end()) : Bytes(kLocal4.begin(), kLocal4.end());
    const auto r4 = remote4(subscriber);
    const auto r6 = remote6(subscriber);
    const auto remote = ipv6 ? Bytes(r6.begin(), r6.end()) : Bytes(r4.begin(), r4.end());
    Bytes gre;
    if (udp) put(gre, wire::Udp{Be16::from(49152), Be16::from(4754), {}, {}});
    put(gre, wire::GreKey{Be16::from(0x2000), {}, Be32::from(tunnel_id(subscriber, kind).value)});
    // Lengths are patched for each packet: the header is built around none.
    Bytes header = with_ip(local, remote, udp ? wire::kProtoUdp : wire::kProtoGre, gre);
    if (ipv6) {
        std::memset(header.data() + 4, 0, 2);
    } else {
        std::memset(header.data() + 2, 0, 2);
        std::memset(header.data() + 10, 0, 2);
        const Be16 sum = wire::checksum(header.data(), 20);
        std::memcpy(header.data() + 10, &sum, 2);
    }
    const std::uint32_t slot = subscriber * 16 + kind;
    TunnelRow& row = tables_->tunnels[slot];
    std::memcpy(row.header.data(), header.data(), header.size());
    row.subscriber = subscriber & 0xffffffU;
    row.flags = (kind | (udp ? TunnelRow::kEntropy | TunnelRow::kAnyPort : 0U)) & 0xffU;
    row.mtu = static_cast<std::uint16_t>(1500 - header.size());
    row.next_hop = 2;
    tables_->tunnel_of_slot[slot] = slot;
}

bool Pipeline::send(unsigned port, std::span<const std::uint8_t> frame) {
    rte_mbuf* m = rte_pktmbuf_alloc(ring_pool());
    if (m == nullptr) return false;
    char* data = rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size()));
    if (data == nullptr || rte_ring_enqueue(rx_[port], m) != 0) {
        rte_pktmbuf_free(m);
        return false;
    }
    if (!frame.empty()) std::memcpy(data, frame.data(), frame.size());
    return true;
}

bool Pipeline::send_in_two(unsigned port, std::span<const std::uint8_t> frame, std::size_t first) {
    std::array<rte_mbuf*, 2> pieces{};
    const std::array parts{frame.first(first), frame.subspan(first)};
    bool good = rte_pktmbuf_alloc_bulk(ring_pool(), pieces.data(), 2) == 0;
    if (!good) return false;
    for (std::size_t i = 0; i < 2; ++i) {
        char* data = rte_pktmbuf_append(pieces[i], static_cast<std::uint16_t>(parts[i].size()));
        good = good && data != nullptr;
        if (good && !parts[i].empty()) std::memcpy(data, parts[i].data(), parts[i].size());
    }
    good = rte_pktmbuf_chain(pieces[0], pieces[1]) == 0 && good &&
           rte_ring_enqueue(rx_[port], pieces[0]) == 0;
    if (!good) rte_pktmbuf_free(pieces[0]);
    return good;
}

void Pipeline::run() {
    while (worker_->poll() != 0) drain();
}

void Pipeline::drain() {
    for (unsigned port = 0; port < 2; ++port) {
        void* item = nullptr;
        while (rte_ring_dequeue(tx_[port], &item) == 0) {
            auto* m = static_cast<rte_mbuf*>(item);
            const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
            out_[port].emplace_back(data, data + m->data_len);
            rte_pktmbuf_free(m);
        }
    }
    void* item = nullptr;
    while (punt_ != nullptr && rte_ring_dequeue(punt_, &item) == 0)
        rte_pktmbuf_free(static_cast<rte_mbuf*>(item));
}

std::vector<rte_mbuf*> Pipeline::exhaust_buffers() {
    std::vector<rte_mbuf*> taken;
    while (rte_mbuf* m = rte_pktmbuf_alloc(ring_pool())) taken.push_back(m);
    return taken;
}

std::uint64_t Pipeline::exit(Exit exit) const {
    return block_->exits[static_cast<std::size_t>(exit)];
}

std::uint64_t Pipeline::exits() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t count : block_->exits) sum += count;
    return sum;
}

std::uint64_t Pipeline::received() const {
    return block_->ports[0].rx_packets + block_->ports[1].rx_packets;
}

unsigned Pipeline::missing_buffers() const {
    return rte_mempool_in_use_count(ring_pool());
}

Bytes site_address(unsigned subscriber, unsigned family) {
    if (family == 4) return {203, 0, 113, static_cast<std::uint8_t>(8 * subscriber + 1)};
    return {0x20, 1, 0xd, 0xb8, 0x50, 0, static_cast<std::uint8_t>(subscriber), 0, 0, 0,
            0,    0, 0,   0,    0,    1};
}

Bytes outside_address(unsigned family) {
    if (family == 4) return {8, 8, 8, 8};
    return {0x24, 0, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
}

Bytes udp_packet(std::span<const std::uint8_t> source, std::span<const std::uint8_t> destination,
                 std::size_t payload) {
    Bytes body;
    put(body, wire::Udp{Be16::from(1234),
                        Be16::from(53),
                        Be16::from(static_cast<std::uint16_t>(8 + payload)),
                        {}});
    body.resize(8 + payload);
    return with_ip(source, destination, wire::kProtoUdp, body);
}

Bytes tunnel_frame(std::uint32_t id, unsigned kind, std::span<const std::uint8_t> remote,
                   std::span<const std::uint8_t> local, std::span<const std::uint8_t> inner) {
    const bool v6 = !inner.empty() && inner[0] >> 4 == 6;
    const bool udp = (kind & TunnelRow::kUdp) != 0;
    Bytes gre;
    put(gre, wire::GreKey{Be16::from(0x2000), Be16::from(v6 ? wire::kEtherIpv6 : wire::kEtherIpv4),
                          Be32::from(id)});
    append(gre, inner.data(), inner.size());
    Bytes body;
    if (udp)
        put(body, wire::Udp{Be16::from(50000),
                            Be16::from(4754),
                            Be16::from(static_cast<std::uint16_t>(8 + gre.size())),
                            {}});
    append(body, gre.data(), gre.size());
    return ethernet_frame(1, with_ip(remote, local, udp ? wire::kProtoUdp : wire::kProtoGre, body));
}

Bytes tunnel_frame(unsigned subscriber, unsigned kind, std::span<const std::uint8_t> inner) {
    const std::uint32_t id = Pipeline::tunnel_id(subscriber, kind).value;
    if ((kind & TunnelRow::kIpv6) != 0)
        return tunnel_frame(id, kind, remote6(subscriber), kLocal6, inner);
    return tunnel_frame(id, kind, remote4(subscriber), kLocal4, inner);
}

Bytes ethernet_frame(unsigned port, std::span<const std::uint8_t> packet) {
    Bytes out;
    const bool v6 = !packet.empty() && packet[0] >> 4 == 6;
    put(out, wire::Ethernet{Pipeline::mac(port), Pipeline::kPeer,
                            Be16::from(v6 ? wire::kEtherIpv6 : wire::kEtherIpv4)});
    append(out, packet.data(), packet.size());
    return out;
}

}  // namespace dr::test
