// A forwarding worker: polls its queues and runs the stages over each burst, to completion.
// Nothing on a worker blocks, allocates from the heap, logs, locks or makes a system call; the one
// exception is the adaptive sleep of an idle worker, when that is configured.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/ip.h"
#include "dataplane/ports/port.h"
#include "dataplane/southbound/counters.h"
#include "dataplane/southbound/drops.h"
#include "dataplane/tables/spsc_ring.h"
#include "dataplane/tables/tables.h"

struct rte_mempool;
struct rte_ring;

namespace dr {

struct KeepaliveHandover;

// A worker met a destination on a connected network whose MAC address nobody knows yet.
struct ResolveRequest {
    std::uint16_t port;
    IpAddress address;
};

struct WorkerConfig {
    unsigned number = 0;  // also its Qsbr reader slot
    std::vector<RxQueue> queues;
    std::uint16_t tx_queue = 0;  // its own transmit queue on every port
    bool sleep_when_idle = true;
    bool measure_stages = false;
    // Outer IP packets that liveness threads have made: many put, the worker takes. Null: none do.
    rte_ring* inject = nullptr;
    // Where it notes dropped packets; null: nowhere.
    southbound::WorkerDrops drops{};
};

// Shared by all workers; set up before the first one starts.
struct WorkerShared {
    const Tables* tables{};
    const Ports* ports{};
    Qsbr* qsbr{};
    rte_mempool* pool{};
    // Whole frames for the kernel, mbuf->port = number of the port that received them. Many
    // workers put, the writer takes. Null: no port has an exception path.
    rte_ring* punt{};
    // Null: keepalives are dropped.
    const KeepaliveHandover* keepalive{};
    std::atomic<bool> stop{false};
    // Replay: receive queue n of a gated port is polled when gate > n.
    std::atomic<std::uint32_t> gate{0};
    // Source of ICMP errors by the port that they leave by, network order; 0 on every port: this
    // router has no address of the family. Writer; rarely changed, so a pair of relaxed words may
    // be torn for one ICMP error only.
    struct PortAddresses {
        std::atomic<std::uint32_t> ipv4{};
        std::array<std::atomic<std::uint64_t>, 2> ipv6{};
    };
    std::array<PortAddresses, kMaxPorts> addresses;
    // A paused port is neither received from nor sent to. One grace period (qsbr) after it was set
    // nobody uses the port's device, and its row in `ports` may be changed. Writer.
    std::array<std::atomic<bool>, kMaxPorts> paused{};
};

class Worker final {
  public:
    // block: this worker's counters; tunnel_counters: its array, by tunnel slot.
    Worker(const WorkerConfig& config, WorkerShared& shared, southbound::WorkerBlock* block,
           southbound::TunnelCounters* tunnel_counters);
    ~Worker();
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;

    // Returns when shared.stop is set. Any lcore.
    void run();
    // One round over all queues; the number of packets received. For tests and benchmarks.
    unsigned poll();
    // Consumer side: the writer.
    bool next_resolve_request(ResolveRequest& request);

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace dr
