// Makes the liveness threads, and serves what they ask of the writer.
#include "dataplane/keepalive/service.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <bit>

namespace dr::keepalive {
namespace {

constexpr std::uint32_t kPolicies = 4096;  // as many as the table writer takes
constexpr unsigned kOtherSize = 512;
// Of the shards' memory beyond an even share: indices modulo the threads are not quite even.
constexpr std::uint32_t share_of(std::uint32_t total, unsigned threads) {
    return threads == 1 ? total : total / threads + total / 8 + 1;
}

rte_ring* make_ring(const std::string& name, unsigned size, unsigned flags, std::string* error) {
    rte_ring* ring = rte_ring_create(name.c_str(), size, SOCKET_ID_ANY, flags);
    if (ring == nullptr)
        *error = fmt::format("no ring of {} for keepalives: {}; raise memory_mib", size,
                             rte_strerror(rte_errno));
    return ring;
}

void free_ring(rte_ring* ring) {
    if (ring == nullptr) return;
    void* item = nullptr;
    while (rte_ring_dequeue(ring, &item) == 0) rte_pktmbuf_free(static_cast<rte_mbuf*>(item));
    rte_ring_free(ring);
}

}  // namespace

bool Service::make_rings(const ServiceConfig& config, std::string* error) {
    // Names of rings are the process's.
    static unsigned serial = 0;
    const unsigned made = serial++;
    const unsigned each = std::max(config.threads, config.workers);
    const unsigned size = std::clamp(std::bit_floor(config.mbufs / 8 / each), 256U, 8192U);
    for (unsigned i = 0; i < config.threads; ++i) {
        KeepaliveRings rings;
        rings.trusted =
            make_ring(fmt::format("ka{}-trusted{}", made, i), size, RING_F_SC_DEQ, error);
        rings.other = make_ring(fmt::format("ka{}-other{}", made, i), std::min(size, kOtherSize),
                                RING_F_SC_DEQ, error);
        handover_.shards.push_back(rings);
        if (rings.trusted == nullptr || rings.other == nullptr) return false;
    }
    for (unsigned i = 0; i < config.workers; ++i) {
        inject_.push_back(
            make_ring(fmt::format("ka{}-inject{}", made, i), size, RING_F_SC_DEQ, error));
        if (inject_.back() == nullptr) return false;
    }
    return true;
}

std::unique_ptr<Service> Service::create(const ServiceConfig& config, Tables& tables,
                                         const southbound::CountersMemfd& counters,
                                         southbound::LivenessMemfd& report, rte_mempool* pool,
                                         std::string* error) {
    std::unique_ptr<Service> self(new Service);
    self->wake_ = FileDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    if (!self->wake_.valid()) {
        *error = "no eventfd for liveness";
        return nullptr;
    }
    if (!self->handover_.peers.allocate(tables.tunnel_keys.size())) {
        *error = "no memory for the salts of tunnels; lower the capacity or add memory";
        return nullptr;
    }
    if (!self->handover_.owners.allocate(tables.tunnel_keys.size())) {
        *error = "no memory for the owners of sessions; lower the capacity or add memory";
        return nullptr;
    }
    self->handover_.refused.resize(config.workers);
    for (auto& counts : self->handover_.refused) {
        if (counts.allocate(tables.tunnel_keys.size())) continue;
        *error = "no memory for counts of refused packets; lower the capacity or add memory";
        return nullptr;
    }
    self->handover_.tsc_per_ms =
        config.tsc_per_ms != 0 ? config.tsc_per_ms : rte_get_tsc_hz() / 1000;
    self->handover_.refusals = std::make_unique<KeepaliveRefusals[]>(config.workers);
    self->handover_.seen.resize(config.workers);
    for (auto& seen : self->handover_.seen) {
        if (seen.allocate(tables.tunnel_keys.size())) continue;
        *error = "no memory for the pace of keepalives; lower the capacity or add memory";
        return nullptr;
    }
    if (!self->make_rings(config, error)) return nullptr;
    const Surroundings around{&tables, &counters,         &report,       &self->handover_,
                              pool,    self->wake_.get(), &self->binds_, &self->choices_};
    for (unsigned i = 0; i < config.threads; ++i) {
        ShardConfig shard;
        shard.number = i;
        shard.workers = config.workers;
        shard.tunnels = share_of(config.tunnels, config.threads);
        shard.policies = kPolicies;
        shard.inject = self->inject_[i % config.workers];
        shard.tsc_hz = rte_get_tsc_hz();
        self->shards_.push_back(Shard::create(shard, around, error));
        if (self->shards_.back() == nullptr) return nullptr;
    }
    return self;
}

Service::~Service() {
    for (const KeepaliveRings& rings : handover_.shards) {
        free_ring(rings.trusted);
        free_ring(rings.other);
    }
    for (rte_ring* ring : inject_) free_ring(ring);
}

void Service::policy_changed(const southbound::LivePolicy& policy) {
    for (const std::unique_ptr<Shard>& shard : shards_) shard->instruct(policy);
}

void Service::subscriber_changed(southbound::LiveSubscriber subscriber) {
    const std::size_t shard = subscriber.index.value % shards_.size();
    shards_[shard]->instruct(std::move(subscriber));
}

void Service::serve(southbound::TableWriter& writer) {
    std::uint64_t count = 0;
    // Only to make it unreadable; what is asked for is in the mailboxes.
    if (read(wake_.get(), &count, sizeof count) < 0) count = 0;
    // Endpoints first: a choice may name the tunnel that has just got its own.
    const std::vector<southbound::BindRequest> binds = binds_.take();
    const std::vector<southbound::ChoiceRequest> choices = choices_.take();
    writer.serve(binds, choices);
}

}  // namespace dr::keepalive
