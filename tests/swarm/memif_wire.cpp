#include "tests/swarm/memif_wire.h"

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <sched.h>
#include <unistd.h>

#include <vector>

namespace dr::swarm {

namespace {

constexpr const char* kDevice = "net_memif0";
constexpr unsigned kBuffers = 8'191;
constexpr unsigned kMemoryMib = 64;
constexpr Time kHandshake = 200 * liveness::kMillisecond;
constexpr Time kPause = 5 * liveness::kMillisecond;
// A ring that stays full for this many tries: the data plane does not poll.
constexpr unsigned kFlushTries = 2'000;

bool start_eal(unsigned cpu, std::string* error) {
    std::vector<std::string> arguments{"swarm",
                                       "--no-huge",
                                       "--no-shconf",
                                       "--no-pci",
                                       "--no-telemetry",
                                       "--iova-mode=va",
                                       "--log-level=error",
                                       "--log-level=pmd.net.memif:critical",
                                       "--file-prefix=swarm-" + std::to_string(getpid()),
                                       "-m",
                                       std::to_string(kMemoryMib),
                                       "--lcores",
                                       "0@" + std::to_string(cpu)};
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (rte_eal_init(static_cast<int>(arguments.size()), argv.data()) >= 0) return true;
    *error = std::string("DPDK does not start: ") + rte_strerror(rte_errno);
    return false;
}

}  // namespace

bool MemifWire::open(const std::string& socket, unsigned cpu, std::string* error) {
    if (!start_eal(cpu, error)) return false;
    const std::string arguments = "role=client,id=0,socket-abstract=no,rsize=11,socket=" + socket;
    pool_ = rte_pktmbuf_pool_create("frames", kBuffers, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
                                    SOCKET_ID_ANY);
    const rte_eth_conf conf{};
    if (pool_ == nullptr || rte_eal_hotplug_add("vdev", kDevice, arguments.c_str()) != 0 ||
        rte_eth_dev_get_port_by_name(kDevice, &port_) != 0 ||
        rte_eth_dev_configure(port_, 1, 1, &conf) != 0 ||
        rte_eth_tx_queue_setup(port_, 0, 2'048, 0, nullptr) != 0 ||
        rte_eth_rx_queue_setup(port_, 0, 2'048, 0, nullptr, pool_) != 0) {
        *error = std::string("no memif device: ") + rte_strerror(rte_errno);
        return false;
    }
    return true;
}

MemifWire::~MemifWire() {
    disconnect();
    if (port_ != 0xffff) rte_eth_dev_close(port_);
    if (pool_ != nullptr) rte_eal_cleanup();
}

bool MemifWire::link_is_up() const {
    rte_eth_link link{};
    return rte_eth_link_get_nowait(port_, &link) == 0 && link.link_status == RTE_ETH_LINK_UP;
}

void MemifWire::try_to_connect(Time now) {
    if (started_ && link_is_up()) {
        connected_ = true;
        return;
    }
    if (now < next_try_) return;
    if (started_) rte_eth_dev_stop(port_);
    started_ = rte_eth_dev_start(port_) == 0;
    next_try_ = now + (started_ ? kHandshake : kPause);
}

void MemifWire::disconnect() {
    wanted_ = connected_ = false;
    if (started_) rte_eth_dev_stop(port_);
    started_ = false;
    next_try_ = 0;
}

unsigned MemifWire::poll(Time now, const std::function<void(std::span<const std::uint8_t>)>& sink) {
    if (wanted_ && !connected_) try_to_connect(now);
    if (!connected_) return 0;
    std::array<rte_mbuf*, kBurst> mbufs;
    const unsigned count = rte_eth_rx_burst(port_, 0, mbufs.data(), kBurst);
    for (unsigned i = 0; i < count; ++i)
        sink({rte_pktmbuf_mtod(mbufs[i], const std::uint8_t*), mbufs[i]->data_len});
    if (count != 0) rte_pktmbuf_free_bulk(mbufs.data(), count);
    return count;
}

std::span<std::uint8_t> MemifWire::frame() {
    if (current_ == nullptr && connected_) current_ = rte_pktmbuf_alloc(pool_);
    if (current_ == nullptr) return sink_;
    return {rte_pktmbuf_mtod(current_, std::uint8_t*), kMaxFrame};
}

void MemifWire::commit(unsigned size) {
    if (current_ == nullptr) {
        ++lost_;
        return;
    }
    current_->data_len = static_cast<std::uint16_t>(size);
    current_->pkt_len = size;
    waiting_[waiting_count_++] = current_;
    current_ = nullptr;
    if (waiting_count_ == waiting_.size()) flush();
}

void MemifWire::flush() {
    unsigned sent = 0;
    for (unsigned tries = 0; connected_ && sent != waiting_count_ && tries < kFlushTries; ++tries) {
        const auto left = static_cast<std::uint16_t>(waiting_count_ - sent);
        sent += rte_eth_tx_burst(port_, 0, waiting_.data() + sent, left);
        if (sent != waiting_count_) sched_yield();
    }
    lost_ += waiting_count_ - sent;
    if (sent != waiting_count_) rte_pktmbuf_free_bulk(&waiting_[sent], waiting_count_ - sent);
    waiting_count_ = 0;
}

}  // namespace dr::swarm
