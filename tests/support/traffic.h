// Many subscribers through the real table writer, and random traffic for them through a worker on
// in-memory ports: the pipeline's cost without a driver's.
//
// Subscriber n: 100.128.0.0 + 8n /29 and 2001:db8:5000::/36 + n /56, two tunnels of equal weight.
#pragma once

#include <rte_mbuf.h>
#include <rte_ring.h>

#include <array>
#include <memory>
#include <random>
#include <vector>

#include "dataplane/worker/worker.h"
#include "dataplane/writer/table_writer.h"
#include "tests/support/pipeline.h"

namespace dr::test {

class Traffic final {
  public:
    Traffic(unsigned subscribers, bool udp, unsigned outer, unsigned inner, bool measure_stages);
    ~Traffic();
    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

    // Puts a burst of `count` packets for random subscribers into the receive queue.
    void fill(std::mt19937& random, bool downlink, unsigned count = 64);
    // The worker's round over its queues; packets received.
    unsigned poll() { return worker_->poll(); }
    // Packets so far that were received and not forwarded; then the count starts again.
    std::uint64_t collect();
    [[nodiscard]] std::array<std::uint64_t, 12> stage_cycles() const {
        return block_->worker.stage_cycles;
    }

  private:
    static constexpr unsigned kBuffers = 512;
    void provision();
    void add_subscriber(southbound::Transaction& transaction, unsigned n) const;
    void write_packet(rte_mbuf* m, std::mt19937& random, bool downlink) const;
    [[nodiscard]] Bytes remote(unsigned n, unsigned line) const;

    unsigned subscribers_;
    bool udp_;
    unsigned outer_, inner_;
    std::unique_ptr<Tables> tables_;
    std::unique_ptr<Rib> rib_;
    std::unique_ptr<southbound::TableWriter> writer_;
    Ports ports_;
    WorkerShared shared_;
    std::array<rte_ring*, 2> rx_{}, tx_{};
    std::vector<rte_mbuf*> free_;
    Region tunnel_counters_;
    std::unique_ptr<southbound::WorkerBlock> block_;
    std::unique_ptr<Worker> worker_;
};

}  // namespace dr::test
