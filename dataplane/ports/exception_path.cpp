// Moves frames between a port that DPDK owns and its TAP device.
#include "dataplane/ports/exception_path.h"

#include <fmt/format.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_ring.h>

#include <algorithm>
#include <array>

namespace dr {

namespace {

// The ring's size polices the way to the kernel: more than this between two polls is dropped.
constexpr unsigned kRing = 1024;
constexpr std::uint16_t kBurst = 64;

void transmit(std::uint16_t ethdev, std::uint16_t queue, rte_mbuf** mbufs, std::uint16_t count) {
    std::uint16_t sent = 0;
    for (unsigned attempt = 0; attempt < 4 && sent < count; ++attempt)
        sent = static_cast<std::uint16_t>(
            sent + rte_eth_tx_burst(ethdev, queue, mbufs + sent,
                                    static_cast<std::uint16_t>(count - sent)));
    for (std::uint16_t i = sent; i < count; ++i) rte_pktmbuf_free(mbufs[i]);
}

}  // namespace

std::unique_ptr<ExceptionPath> ExceptionPath::create(const Ports& ports, std::string* error) {
    const bool wanted = std::any_of(ports.begin(), ports.end(), [](const Port& port) {
        return port.exception != Port::kNoPort;
    });
    if (!wanted) return nullptr;
    std::unique_ptr<ExceptionPath> path(new ExceptionPath(ports));
    path->ring_ = rte_ring_create("punt", kRing, SOCKET_ID_ANY, RING_F_SC_DEQ);
    if (path->ring_ == nullptr) {
        *error = fmt::format("no memory for the ring to the kernel: {}", rte_strerror(rte_errno));
        return nullptr;
    }
    return path;
}

ExceptionPath::~ExceptionPath() {
    void* mbuf = nullptr;
    while (ring_ != nullptr && rte_ring_dequeue(ring_, &mbuf) == 0)
        rte_pktmbuf_free(static_cast<rte_mbuf*>(mbuf));
    rte_ring_free(ring_);
}

void ExceptionPath::poll() const {
    to_kernel();
    for (const Port& port : ports_)
        if (port.exception != Port::kNoPort) from_kernel(port);
}

void ExceptionPath::to_kernel() const {
    std::array<void*, kBurst> taken;
    unsigned count = 0;
    for (unsigned total = 0; total < kRing; total += count) {
        count = rte_ring_sc_dequeue_burst(ring_, taken.data(), kBurst, nullptr);
        if (count == 0) return;
        for (unsigned i = 0; i < count; ++i) {
            auto* mbuf = static_cast<rte_mbuf*>(taken[i]);
            transmit(ports_[mbuf->port].exception, 0, &mbuf, 1);
        }
    }
}

void ExceptionPath::from_kernel(const Port& port) const {
    std::array<rte_mbuf*, kBurst> mbufs;
    for (unsigned total = 0; total < kRing; total += kBurst) {
        const std::uint16_t count = rte_eth_rx_burst(port.exception, 0, mbufs.data(), kBurst);
        if (count == 0) return;
        transmit(port.ethdev, static_cast<std::uint16_t>(port.tx_queues - 1), mbufs.data(), count);
    }
}

}  // namespace dr
