// Several workers on in-memory ports with a queue pair for each: the pipeline's tables
// (pipeline.h), real counters, and flows that are spread over the queues as a NIC would.
#pragma once

#include <map>
#include <thread>

#include "dataplane/server/counters_memfd.h"
#include "tests/support/pipeline.h"

namespace dr::test {

// What a packet carries at its end, so that it is known again after any header.
struct Tag {
    std::uint32_t flow;
    std::uint32_t sequence;
};

struct Sent {
    unsigned port;    // that it left by
    unsigned worker;  // that sent it
    Tag tag;
    Bytes frame;
};

class Fleet final {
  public:
    // queues: receive queues of each of the two ports, dealt to the workers as assign() does.
    // shared_counters: all workers count in the first one's block, as they must not.
    Fleet(unsigned workers, std::uint16_t queues, bool shared_counters = false);
    ~Fleet();
    Fleet(const Fleet&) = delete;
    Fleet& operator=(const Fleet&) = delete;

    // Puts the flow's next packet into the queue that all of its packets take: from outside to a
    // site when it is even, else out of a site's tunnel to outside.
    void send(std::uint32_t flow);
    // All workers on threads of their own until everything has left; `meanwhile` is called over
    // and over by this thread, which is the writer.
    template <typename Meanwhile>
    void run(Meanwhile meanwhile) {
        std::vector<std::thread> threads;
        for (auto& worker : workers_) threads.emplace_back([&worker] { worker->run(); });
        bool in_time = true;
        while (exits() < sent_ && (in_time = wait_allowed())) meanwhile();
        shared_->stop = true;
        for (std::thread& thread : threads) thread.join();
        shared_->stop = false;
    }
    // The same without threads, a burst of each worker in turn.
    void run_in_turns();
    // Everything that has left, each worker's in its order; the queues are empty after it.
    std::vector<Sent> collect();

    [[nodiscard]] std::uint64_t sent() const { return sent_; }
    [[nodiscard]] std::uint64_t exits() const;  // over all workers and kinds
    [[nodiscard]] std::uint64_t exit(Exit exit) const;
    [[nodiscard]] southbound::PortCounters port_counters(unsigned port) const;
    [[nodiscard]] southbound::TunnelCounters tunnel_counters(TunnelId id) const;
    [[nodiscard]] Tables& tables() { return pipeline_.tables(); }
    [[nodiscard]] Worker& worker(unsigned number) { return *workers_[number]; }
    [[nodiscard]] WorkerShared& shared() { return *shared_; }
    [[nodiscard]] rte_mempool* pool() const { return pool_; }

  private:
    bool wait_allowed();
    void make_port(unsigned port, std::uint16_t queues);

    Pipeline pipeline_;
    rte_mempool* pool_;
    Ports ports_;
    std::unique_ptr<WorkerShared> shared_;
    std::unique_ptr<southbound::CountersMemfd> counters_;
    std::array<std::vector<rte_ring*>, 2> rx_, tx_;
    std::vector<std::unique_ptr<Worker>> workers_;
    std::map<std::uint32_t, std::uint32_t> next_;  // sequence, by flow
    std::uint64_t sent_ = 0;
    std::uint64_t deadline_ = 0;  // TSC
};

}  // namespace dr::test
