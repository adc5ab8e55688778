// Liveness in dr-dataplane: its shards, the rings between them and the workers, and what passes
// between them and the table writer.
//
//   workers --rings--> shards --inject rings--> workers
//   table writer --instructions--> shards --bind, choice--> table writer
//
// Threads: create() and the destructor by main, when no shard runs; what is marked so by the
// writer; Shard::run() by a thread for each shard.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "dataplane/keepalive/shard.h"
#include "dataplane/writer/table_writer.h"

namespace dr::keepalive {

struct ServiceConfig {
    unsigned threads = 1;
    unsigned workers = 1;
    std::uint32_t tunnels = 65'536;  // with keys, over all threads
    std::uint32_t mbufs = 16'384;    // of the pool: bounds what may wait in rings
    std::uint64_t tsc_per_ms = 0;    // 0: this machine's; a test in virtual time has its own
};

class Service final {
  public:
    // The rest outlives it. Null and a reason.
    static std::unique_ptr<Service> create(const ServiceConfig& config, Tables& tables,
                                           const southbound::CountersMemfd& counters,
                                           southbound::LivenessMemfd& report, rte_mempool* pool,
                                           std::string* error);
    ~Service();
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;

    // For the workers.
    [[nodiscard]] const KeepaliveHandover* handover() const { return &handover_; }
    [[nodiscard]] rte_ring* inject(unsigned worker) const { return inject_[worker]; }

    [[nodiscard]] unsigned threads() const { return static_cast<unsigned>(shards_.size()); }
    [[nodiscard]] Shard& shard(unsigned number) const { return *shards_[number]; }

    // The writer: its hooks.
    void policy_changed(const southbound::LivePolicy& policy);
    void subscriber_changed(southbound::LiveSubscriber subscriber);
    // The writer: carries out what shards have asked for. wake_fd() is readable when there is
    // something.
    void serve(southbound::TableWriter& writer);
    [[nodiscard]] int wake_fd() const { return wake_.get(); }

  private:
    Service() = default;
    bool make_rings(const ServiceConfig& config, std::string* error);

    KeepaliveHandover handover_;
    std::vector<rte_ring*> inject_;  // by worker
    FileDescriptor wake_;
    Mailbox<southbound::BindRequest> binds_;
    Mailbox<southbound::ChoiceRequest> choices_;
    std::vector<std::unique_ptr<Shard>> shards_;
};

}  // namespace dr::keepalive
