// The loop of a worker: receive a burst, run the stages over it, report quiescence, sleep when
// idle.
#include "dataplane/worker/worker.h"

#include <rte_ring.h>
#include <sys/random.h>

#include <ctime>

#include "dataplane/worker/context.h"

namespace dr {

struct Worker::State {
    Context context;
    unsigned idle = 0;
};

namespace {

// Empty polls before the first sleep, and the length of a sleep.
constexpr unsigned kIdlePolls = 512;
constexpr long kSleepNs = 50'000;

// Charges the time since the last call to a stage, when that is wanted.
class StageClock {
  public:
    StageClock(Context& c) : c_(c), on_(c.config.measure_stages) {
        if (on_) last_ = rte_rdtsc();
    }
    void lap(Stage stage) {
        if (!on_) return;
        const std::uint64_t now = rte_rdtsc();
        count_up(c_.block->worker.stage_cycles[static_cast<std::size_t>(stage)], now - last_);
        last_ = now;
    }

  private:
    Context& c_;
    bool on_;
    std::uint64_t last_{};
};

void run_stages(Context& c) {
    Burst& b = c.received;
    Burst& replies = c.replies;
    StageClock clock(c);
    stage_parse(c, b);
    clock.lap(Stage::Parse);
    stage_lookup(c, b);
    clock.lap(Stage::Lookup);
    if (b.decapsulate.count != 0) {
        stage_decapsulate(c, b);
        clock.lap(Stage::Decapsulate);
    }
    if (b.steer.count != 0) {
        stage_steer(c, b);
        clock.lap(Stage::Steer);
        stage_encapsulate(c, b);
        clock.lap(Stage::Encapsulate);
    }
    if (b.forward.count != 0) {
        stage_forward(c, b);
        clock.lap(Stage::Forward);
    }
    if (b.errors.count != 0) [[unlikely]] {
        replies.in_port = b.in_port;
        stage_icmp(c, b, replies);
        stage_lookup(c, replies);
        stage_steer(c, replies);
        address_errors(c, replies);
        stage_encapsulate(c, replies);
        stage_forward(c, replies);
        clock.lap(Stage::Icmp);
    }
    stage_transmit(c, b, replies);
    clock.lap(Stage::Transmit);
}

}  // namespace

Worker::Worker(const WorkerConfig& config, WorkerShared& shared, southbound::WorkerBlock* block,
               southbound::TunnelCounters* tunnel_counters)
    : state_(std::make_unique<State>()) {
    Context& c = state_->context;
    c.config = config;
    c.shared = &shared;
    c.tables = shared.tables;
    c.ports = shared.ports;
    c.block = block;
    c.tunnel_counters = tunnel_counters;
    c.tsc_hz = rte_get_tsc_hz();
    // Too little to wait for; without it, places can be guessed, and no more than that.
    if (getrandom(&c.secret, sizeof c.secret, GRND_NONBLOCK) < 0) c.secret = rte_rdtsc();
}

Worker::~Worker() = default;

bool Worker::next_resolve_request(ResolveRequest& request) {
    return state_->context.resolve.pop(request);
}

unsigned Worker::poll() {
    Context& c = state_->context;
    const std::uint32_t gate = c.shared->gate.load(std::memory_order_acquire);
    unsigned received = 0;
    count_up(c.block->worker.turns);
    if (c.config.inject != nullptr && !rte_ring_empty(c.config.inject)) [[unlikely]]
        received = send_injected(c);
    for (const RxQueue& q : c.config.queues) {
        const Port& port = (*c.ports)[q.port];
        if (c.shared->paused[q.port].load(std::memory_order_acquire)) [[unlikely]]
            continue;
        if (port.gated && q.queue >= gate) continue;
        Burst& b = c.received;
        b.clear();
        c.replies.clear();
        std::array<rte_mbuf*, kBurst> mbufs;
        const std::uint64_t start = rte_rdtsc();
        b.count = rte_eth_rx_burst(port.ethdev, q.queue, mbufs.data(), kBurst);
        if (b.count == 0) continue;
        for (unsigned i = 0; i < b.count; ++i) b.packets[i].mbuf = mbufs[i];
        b.in_port = q.port;
        const std::uint64_t polled = rte_rdtsc();
        if (c.config.measure_stages)
            count_up(c.block->worker.stage_cycles[static_cast<std::size_t>(Stage::Receive)],
                     polled - start);
        run_stages(c);
        received += b.count;
        count_up(c.block->worker.bursts);
        count_up(c.block->worker.busy_cycles, rte_rdtsc() - start);
    }
    c.shared->qsbr->quiescent(c.config.number);
    return received;
}

void Worker::run() {
    Context& c = state_->context;
    Qsbr& qsbr = *c.shared->qsbr;
    qsbr.online(c.config.number);
    while (!c.shared->stop.load(std::memory_order_relaxed)) {
        if (poll() != 0) {
            state_->idle = 0;
            continue;
        }
        count_up(c.block->worker.idle_polls);
        if (!c.config.sleep_when_idle || ++state_->idle < kIdlePolls) continue;
        // Offline before sleeping: the writer never waits for a sleeper.
        qsbr.offline(c.config.number);
        count_up(c.block->worker.sleeps);
        const timespec pause{0, kSleepNs};
        nanosleep(&pause, nullptr);
        qsbr.online(c.config.number);
    }
    qsbr.offline(c.config.number);
}

}  // namespace dr
