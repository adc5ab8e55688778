#include "tests/support/fleet.h"

#include <rte_cycles.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "dataplane/ports/assignment.h"
#include "dataplane/worker/exits.h"

namespace dr::test {

namespace {

constexpr unsigned kBuffers = 16'383;
constexpr unsigned kRing = 16'384;
constexpr std::uint64_t kSeconds = 60;

rte_mempool* fleet_pool() {
    static rte_mempool* pool = rte_pktmbuf_pool_create("fleet", kBuffers, 0, 0, 512, SOCKET_ID_ANY);
    if (pool == nullptr) std::abort();
    return pool;
}

std::string unique(const char* what) {
    static unsigned serial = 0;
    return what + std::to_string(serial++);
}

}  // namespace

Fleet::Fleet(unsigned workers, std::uint16_t queues, bool shared_counters)
    : pool_(fleet_pool()), shared_(std::make_unique<WorkerShared>()) {
    Topology topology{{{"net", -1, queues}, {"isp", -1, queues}}, std::vector<int>(workers)};
    const Assignment assignment = assign(topology);
    for (unsigned port = 0; port < 2; ++port) {
        for (unsigned w = 0; w < workers; ++w)
            tx_[port].push_back(rte_ring_create(unique("ft").c_str(), kRing, SOCKET_ID_ANY,
                                                RING_F_SP_ENQ | RING_F_SC_DEQ));
        make_port(port, queues);
    }
    shared_->tables = &tables();
    shared_->ports = &ports_;
    shared_->qsbr = &tables().qsbr;
    shared_->pool = pool_;
    const std::vector<std::string> names{"net", "isp"};
    std::string error;
    counters_ = southbound::CountersMemfd::create(kExits, workers, 128, names, &error);
    if (!counters_) std::abort();
    for (unsigned w = 0; w < workers; ++w) {
        WorkerConfig config;
        config.number = w;
        config.queues = assignment.queues[w];
        config.tx_queue = static_cast<std::uint16_t>(w);
        config.sleep_when_idle = true;
        const unsigned block = shared_counters ? 0 : w;
        workers_.push_back(std::make_unique<Worker>(
            config, *shared_, counters_->worker_block(block), counters_->tunnel_counters(block)));
    }
    tables().qsbr.offline(0);
}

Fleet::~Fleet() {
    collect();
    for (unsigned port = 0; port < 2; ++port) {
        rte_eth_dev_stop(ports_[port].ethdev);
        rte_eth_dev_close(ports_[port].ethdev);
        for (auto* rings : {&rx_[port], &tx_[port]})
            for (rte_ring* ring : *rings) rte_ring_free(ring);
    }
}

void Fleet::make_port(unsigned port, std::uint16_t queues) {
    for (unsigned q = 0; q < queues; ++q)
        rx_[port].push_back(rte_ring_create(unique("fr").c_str(), kRing, SOCKET_ID_ANY,
                                            RING_F_SP_ENQ | RING_F_SC_DEQ));
    const auto out = static_cast<std::uint16_t>(tx_[port].size());
    const int id = rte_eth_from_rings(unique("fleet").c_str(), rx_[port].data(), queues,
                                      tx_[port].data(), out, 0);
    if (id < 0) std::abort();
    Port p;
    p.name = port == 0 ? "net" : "isp";
    p.kind = PortKind::Ring;
    p.ethdev = static_cast<std::uint16_t>(id);
    p.mac = Pipeline::mac(port);
    p.rx_queues = queues;
    p.tx_queues = out;
    rte_eth_conf conf{};
    bool good = rte_eth_dev_configure(p.ethdev, queues, out, &conf) == 0;
    for (std::uint16_t q = 0; q < queues; ++q)
        good = good && rte_eth_rx_queue_setup(p.ethdev, q, 512, 0, nullptr, pool_) == 0;
    for (std::uint16_t q = 0; q < out; ++q)
        good = good && rte_eth_tx_queue_setup(p.ethdev, q, 512, 0, nullptr) == 0;
    if (!good || rte_eth_dev_start(p.ethdev) != 0) std::abort();
    ports_.push_back(p);
}

void Fleet::send(std::uint32_t flow) {
    const unsigned subscriber = 1 + flow / 2 % kSubscribers;
    const unsigned family = flow / 8 % 2 == 0 ? 4 : 6;
    const Tag tag{flow, next_[flow]++};
    const bool down = flow % 2 == 0;
    const Bytes site = site_address(subscriber, family);
    const Bytes outside = outside_address(family);
    Bytes inner = down ? udp_packet(outside, site, 40) : udp_packet(site, outside, 40);
    std::memcpy(inner.data() + inner.size() - sizeof tag, &tag, sizeof tag);
    const Bytes frame =
        down ? ethernet_frame(0, inner) : tunnel_frame(subscriber, subscriber - 1, inner);
    rte_mbuf* m = rte_pktmbuf_alloc(pool_);
    if (m == nullptr) std::abort();
    std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(),
                frame.size());
    auto& rings = rx_[down ? 0 : 1];
    if (rte_ring_enqueue(rings[flow / 2 % rings.size()], m) != 0) std::abort();
    ++sent_;
}

bool Fleet::wait_allowed() {
    if (deadline_ == 0) deadline_ = rte_rdtsc() + kSeconds * rte_get_tsc_hz();
    return rte_rdtsc() < deadline_;
}

void Fleet::run_in_turns() {
    for (bool more = true; more;) {
        more = false;
        for (auto& worker : workers_) more = worker->poll() != 0 || more;
    }
}

std::vector<Sent> Fleet::collect() {
    std::vector<Sent> all;
    for (unsigned port = 0; port < 2; ++port) {
        for (unsigned w = 0; w < tx_[port].size(); ++w) {
            void* item = nullptr;
            while (rte_ring_dequeue(tx_[port][w], &item) == 0) {
                auto* m = static_cast<rte_mbuf*>(item);
                const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
                Sent sent{port, w, {}, Bytes(data, data + m->data_len)};
                std::memcpy(&sent.tag, data + m->data_len - sizeof(Tag), sizeof(Tag));
                // What drivers must find for their fast way of freeing.
                if (m->pool != pool_ || rte_mbuf_refcnt_read(m) != 1 || m->nb_segs != 1 ||
                    !RTE_MBUF_DIRECT(m))
                    sent.tag.flow = ~0U;
                all.push_back(std::move(sent));
                rte_pktmbuf_free(m);
            }
        }
    }
    return all;
}

std::uint64_t Fleet::exits() const {
    std::uint64_t sum = 0;
    for (std::size_t e = 0; e < kExitCount; ++e) sum += exit(static_cast<Exit>(e));
    return sum;
}

std::uint64_t Fleet::exit(Exit exit) const {
    std::uint64_t sum = 0;
    for (unsigned w = 0; w < workers_.size(); ++w)
        sum += __atomic_load_n(&counters_->worker_block(w)->exits[static_cast<std::size_t>(exit)],
                               __ATOMIC_RELAXED);
    return sum;
}

southbound::PortCounters Fleet::port_counters(unsigned port) const {
    southbound::PortCounters sum{};
    for (unsigned w = 0; w < workers_.size(); ++w) {
        const southbound::PortCounters& one = counters_->worker_block(w)->ports[port];
        sum.rx_packets += one.rx_packets;
        sum.rx_bytes += one.rx_bytes;
        sum.tx_packets += one.tx_packets;
        sum.tx_bytes += one.tx_bytes;
    }
    return sum;
}

southbound::TunnelCounters Fleet::tunnel_counters(TunnelId id) const {
    southbound::TunnelCounters sum{};
    for (unsigned w = 0; w < workers_.size(); ++w) {
        const southbound::TunnelCounters& one = counters_->tunnel_counters(w)[id.slot()];
        sum.downlink_packets += one.downlink_packets;
        sum.downlink_bytes += one.downlink_bytes;
        sum.uplink_packets += one.uplink_packets;
        sum.uplink_bytes += one.uplink_bytes;
    }
    return sum;
}

}  // namespace dr::test
