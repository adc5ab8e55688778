// Puts the data plane together, and the writer's loop.
#include "dataplane/data_plane.h"

#include <fmt/format.h>
#include <rte_cycles.h>
#include <rte_launch.h>
#include <sys/capability.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/printable.h"
#include "dataplane/addresses.h"
#include "dataplane/keepalive/service.h"
#include "dataplane/notices.h"
#include "dataplane/ports/eal.h"
#include "dataplane/ports/exception_path.h"
#include "dataplane/ports/netlink_mirror.h"
#include "dataplane/ports/port_set.h"
#include "dataplane/ports/port_watch.h"
#include "dataplane/ports/static_config.h"
#include "dataplane/server/server.h"
#include "dataplane/worker/exits.h"
#include "dataplane/worker/worker.h"
#include "process/rights.h"

namespace dr {

namespace {

// How often the writer looks for what nothing wakes it for: reclamation, resolve requests, and,
// with a TAP, packets.
constexpr int kTickMs = 5;
constexpr int kTickWithTapMs = 1;
constexpr unsigned kResolveTurn = 256;
// For the kernel to list what it has at start; a million routes take about a second.
constexpr std::chrono::seconds kListingLimit{30};

// A worker is made by the thread that will run it: what it takes then is on its own NUMA node, and
// shares no page with another worker's.
struct WorkerMaker {
    const WorkerConfig& config;
    WorkerShared& shared;
    const southbound::CountersMemfd& counters;
    std::unique_ptr<Worker> worker;
};

int make_worker(void* argument) {
    auto& m = *static_cast<WorkerMaker*>(argument);
    m.worker =
        std::make_unique<Worker>(m.config, m.shared, m.counters.worker_block(m.config.number),
                                 m.counters.tunnel_counters(m.config.number));
    return 0;
}

int run_worker(void* worker) {
    static_cast<Worker*>(worker)->run();
    return 0;
}

std::uint64_t now_ns() {
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
}

struct LivenessRun {
    keepalive::Shard& shard;
    const std::atomic<bool>& stop;
};

int run_liveness(void* argument) {
    const auto& run = *static_cast<const LivenessRun*>(argument);
    run.shard.run(run.stop);
    return 0;
}

}  // namespace

// Members in the order in which they depend on each other; they go in the reverse order.
struct DataPlane::Core {
    bool start(const Config& c, bool no_huge, std::string* error);
    bool make_tables(std::string* error);
    bool make_routes(std::string* error);
    bool make_liveness(std::string* error);
    bool make_workers(std::string* error);
    bool make_server(std::string* error);
    static bool drop_rights(std::string* error);
    bool launch(std::string* error);
    void stop();
    void tell_choices() const;
    void place_memory() const;
    void make_watch();

    void housekeeping();
    void steer();
    [[nodiscard]] std::uint32_t waiting_routes() const;
    void publish_addresses();

    Config config;
    Eal eal;
    std::unique_ptr<PortSet> ports;
    std::unique_ptr<ExceptionPath> exception;
    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    std::unique_ptr<southbound::CountersMemfd> counters;
    std::unique_ptr<southbound::LivenessMemfd> liveness_memfd;
    std::unique_ptr<southbound::DropsMemfd> drops;
    std::unique_ptr<southbound::TableWriter> writer;
    std::unique_ptr<NetlinkMirror> mirror;
    WorkerShared shared;
    std::unique_ptr<keepalive::Service> liveness;
    std::vector<LivenessRun> liveness_runs;
    std::vector<std::unique_ptr<Worker>> workers;
    std::unique_ptr<southbound::Server> server;
    std::unique_ptr<Notices> notices;
    std::unique_ptr<PortWatch> watch;
    Addresses addresses;
    bool launched = false;
};

bool DataPlane::Core::start(const Config& c, bool no_huge, std::string* error) {
    config = c;
    StartLog log;
    std::string notice;
    if (!eal.start(config, no_huge, &notice, error)) {
        *error += log.text();
        return false;
    }
    if (!notice.empty()) fmt::print(stderr, "dr-dataplane: notice: {}\n", printable(notice));
    if (!make_tables(error)) return false;
    ports = PortSet::start(config, eal.worker_nodes(), log, error);
    if (ports) {
        tell_choices();
        place_memory();
    }
    return ports && make_routes(error) && make_liveness(error) && make_workers(error) &&
           make_server(error) && drop_rights(error) && launch(error);
}

// Once, so that the log of a start says how packets will be spread.
void DataPlane::Core::tell_choices() const {
    for (const std::string& choice : ports->choices())
        fmt::print(stderr, "dr-dataplane: {}\n", printable(choice));
    for (const std::string& warning : ports->assignment().warnings)
        fmt::print(stderr, "dr-dataplane: notice: {}\n", printable(warning));
}

// Where workers are, before anything is written.
void DataPlane::Core::place_memory() const {
    const Assignment& assignment = ports->assignment();
    tables->place(assignment.table_nodes);
    for (unsigned i = 0; i < config.workers; ++i)
        counters->place(i, static_cast<unsigned>(assignment.worker_nodes[i]));
}

bool DataPlane::Core::make_tables(std::string* error) {
    tables = Tables::create(config.capacity, error);
    if (!tables) return false;
    rib = std::make_unique<Rib>(*tables);
    std::vector<std::string> names;
    for (const PortConfig& port : config.ports) names.push_back(port.name);
    counters = southbound::CountersMemfd::create(kExits, config.workers, config.capacity.tunnels,
                                                 names, error);
    if (!counters) return false;
    liveness_memfd = southbound::LivenessMemfd::create(
        config.capacity.tunnels, config.liveness.threads, counters->uuid(), error);
    if (!liveness_memfd) return false;
    drops = southbound::DropsMemfd::create(kExitCount, config.workers, config.capacity.tunnels,
                                           counters->uuid(), rte_get_tsc_hz(), error);
    if (!drops) return false;
    drops->set_clock(rte_rdtsc(), now_ns());
    southbound::WriterHooks hooks;
    hooks.zero_tunnel_counters = [this](std::uint32_t slot) {
        counters->zero_tunnel(slot);
        drops->zero_tunnel(slot);
    };
    hooks.policy_changed = [this](const southbound::LivePolicy& policy) {
        liveness->policy_changed(policy);
    };
    hooks.keyed_subscriber_changed = [this](southbound::LiveSubscriber subscriber) {
        liveness->subscriber_changed(std::move(subscriber));
    };
    writer = std::make_unique<southbound::TableWriter>(*tables, *rib, std::move(hooks));
    writer->limit_keyed_tunnels(std::min(config.liveness.tunnels, config.capacity.tunnels));
    return true;
}

bool DataPlane::Core::make_liveness(std::string* error) {
    keepalive::ServiceConfig service;
    service.threads = config.liveness.threads;
    service.workers = config.workers;
    service.tunnels = std::min(config.liveness.tunnels, config.capacity.tunnels);
    service.mbufs = config.mbufs;
    liveness = keepalive::Service::create(service, *tables, *counters, *liveness_memfd,
                                          ports->pool(), error);
    return liveness != nullptr;
}

bool DataPlane::Core::make_routes(std::string* error) {
    std::vector<MirroredPort> mirrored;
    const auto count = static_cast<std::uint16_t>(config.ports.size());
    for (std::uint16_t i = 0; i < count; ++i) {
        const PortConfig& port = config.ports[i];
        if (port.mirrors_kernel()) {
            mirrored.push_back({i, port.interface, ports->ports()[i].mtu});
            continue;
        }
        if (!install_static(*rib, i, ports->ports()[i], port, error)) return false;
        for (const IpPrefix& address : port.addresses) addresses.add_static({address.address, i});
    }
    publish_addresses();
    if (mirrored.empty()) return true;
    NetlinkMirror::Hooks hooks;
    hooks.addresses_changed = [this] {
        if (mirror) publish_addresses();
    };
    hooks.link = [this](std::uint16_t port, bool up) {
        if (server)
            server->publish(up ? southbound::EventKind::LinkUp : southbound::EventKind::LinkDown,
                            port, 0);
    };
    mirror = NetlinkMirror::create(*rib, std::move(mirrored), std::move(hooks), error);
    if (!mirror) return false;
    // The kernel answers from memory; a worker never starts on half a table.
    const auto deadline = std::chrono::steady_clock::now() + kListingLimit;
    while (!mirror->synced()) {
        if (std::chrono::steady_clock::now() > deadline) {
            *error = fmt::format(
                "the kernel has not listed its links, addresses, neighbours and routes within {} "
                "s: check that `ip route show` and `ip neigh show` end",
                kListingLimit.count());
            return false;
        }
        mirror->poll();
    }
    publish_addresses();
    return true;
}

bool DataPlane::Core::make_workers(std::string* error) {
    exception = ExceptionPath::create(ports->ports(), error);
    if (!exception && !error->empty()) return false;
    shared.tables = tables.get();
    shared.ports = &ports->ports();
    shared.qsbr = &tables->qsbr;
    shared.pool = ports->pool();
    shared.keepalive = liveness->handover();
    shared.punt = exception ? exception->ring() : nullptr;
    std::vector<WorkerConfig> configs(config.workers);
    for (unsigned i = 0; i < config.workers; ++i) {
        configs[i].number = i;
        configs[i].queues = ports->assignment().queues[i];
        configs[i].tx_queue = static_cast<std::uint16_t>(i);
        configs[i].sleep_when_idle = config.sleep_when_idle;
        configs[i].measure_stages = config.measure_stages;
        configs[i].inject = liveness->inject(i);
        configs[i].drops = drops->worker(i);
        WorkerMaker maker{configs[i], shared, *counters, nullptr};
        if (rte_eal_remote_launch(make_worker, &maker, i + 1) != 0 ||
            rte_eal_wait_lcore(i + 1) != 0) {
            *error = fmt::format("worker {} cannot be made: its thread does not answer", i);
            return false;
        }
        workers.push_back(std::move(maker.worker));
    }
    return true;
}

bool DataPlane::Core::make_server(std::string* error) {
    southbound::ServerConfig server_config;
    server_config.path = config.socket;
    server_config.group = config.socket_group;
    server_config.liveness = liveness_memfd.get();
    server_config.drops = drops.get();
    server_config.report = [this](southbound::State* state) {
        ports->report(state);
        state->flags |= std::min(waiting_routes(), southbound::kMaxRoutesWaiting)
                        << southbound::kRoutesWaitingShift;
    };
    bool gated = false;
    for (const PortConfig& port : config.ports) gated = gated || port.gated;
    if (gated)
        server_config.on_advance_gate = [this](std::uint32_t step) {
            shared.gate.store(step, std::memory_order_release);
        };
    server = southbound::Server::create(std::move(server_config), *writer, *counters, error);
    if (!server) return false;
    notices = std::make_unique<Notices>(config, *server, *liveness_memfd);
    return true;
}

// Everything is open now, and no packet has been seen. What is still done later, to open an AF_XDP
// port again too: netlink requests and the attaching of programs (NET_ADMIN), their loading and
// their maps (BPF, and PERFMON for the verifier to accept them), packet sockets (NET_RAW), and
// memory locked for them (IPC_LOCK).
bool DataPlane::Core::drop_rights(std::string* error) {
    if (process::keep_capabilities({CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, CAP_PERFMON, CAP_IPC_LOCK},
                                   error))
        return true;
    *error = "the rights that only the start needs cannot be dropped: " + *error;
    return false;
}

bool DataPlane::Core::launch(std::string* error) {
    steer();
    make_watch();
    for (unsigned i = 0; i < workers.size(); ++i) {
        const int result = rte_eal_remote_launch(run_worker, workers[i].get(), i + 1);
        if (result != 0) {
            *error = fmt::format("worker {} does not start: {}", i, std::strerror(-result));
            return false;
        }
        launched = true;
    }
    for (unsigned i = 0; i < liveness->threads(); ++i)
        liveness_runs.push_back({liveness->shard(i), shared.stop});
    for (unsigned i = 0; i < liveness->threads(); ++i) {
        const int result =
            rte_eal_remote_launch(run_liveness, &liveness_runs[i], config.workers + 1 + i);
        if (result == 0) continue;
        *error = fmt::format("liveness thread {} does not start: {}", i, std::strerror(-result));
        return false;
    }
    return true;
}

void DataPlane::Core::make_watch() {
    PortWatch::Around around;
    around.ports = ports.get();
    around.qsbr = &tables->qsbr;
    around.paused = &shared.paused;
    for (unsigned i = 0; i < config.ports.size(); ++i)
        around.port_health.push_back(&counters->port_health(i));
    for (unsigned i = 0; i < config.workers; ++i) {
        around.worker_health.push_back(&counters->worker_health(i));
        around.turns.push_back(&counters->worker_block(i)->worker.turns);
    }
    around.tell = [this](const PortWatch::Notice& notice) { notices->health(notice, now_ns()); };
    watch = std::make_unique<PortWatch>(std::move(around));
}

void DataPlane::Core::stop() {
    shared.stop.store(true, std::memory_order_relaxed);
    if (launched) rte_eal_mp_wait_lcore();
}

void DataPlane::Core::publish_addresses() {
    addresses.publish(mirror.get(), static_cast<std::uint16_t>(config.ports.size()), shared);
}

void DataPlane::Core::steer() {
    if (!ports->steering().empty()) addresses.steer(mirror.get(), *writer, ports->steering());
}

std::uint32_t DataPlane::Core::waiting_routes() const {
    return mirror ? static_cast<std::uint32_t>(mirror->waiting_routes()) : 0;
}

void DataPlane::Core::housekeeping() {
    // No more in a turn than a ring holds: workers may fill them as fast.
    ResolveRequest request{};
    for (const auto& worker : workers)
        for (unsigned n = 0; n < kResolveTurn && worker->next_resolve_request(request); ++n)
            if (mirror) mirror->want(request.port, request.address);
    writer->housekeeping();
    counters->settle();
    drops->settle();
    drops->set_clock(rte_rdtsc(), now_ns());
    rib->reclaim();
    steer();
    notices->routes(waiting_routes(), now_ns());
    if (watch) watch->tick(now_ns());
}

DataPlane::DataPlane() : core_(std::make_unique<Core>()) {}

DataPlane::~DataPlane() {
    core_->stop();
}

std::unique_ptr<DataPlane> DataPlane::start(const Config& config, bool no_huge,
                                            std::string* error) {
    std::unique_ptr<DataPlane> data_plane(new DataPlane);
    error->clear();
    if (!data_plane->core_->start(config, no_huge, error)) return nullptr;
    return data_plane;
}

void DataPlane::run(int signal_fd) {
    Core& core = *core_;
    const FileDescriptor epoll(epoll_create1(EPOLL_CLOEXEC));
    const auto watch = [&](int fd) {
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = fd;
        epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event);
    };
    watch(signal_fd);
    watch(core.server->epoll_fd());
    watch(core.liveness->wake_fd());
    if (core.mirror) watch(core.mirror->fd());
    const int tick = core.exception ? kTickWithTapMs : kTickMs;
    for (;;) {
        std::array<epoll_event, 5> events{};
        const int count = epoll_wait(epoll.get(), events.data(), events.size(), tick);
        for (int i = 0; i < count; ++i)
            if (events[static_cast<unsigned>(i)].data.fd == signal_fd) return;
        // Before transactions and after: a choice does not wait for more than one of them.
        core.liveness->serve(*core.writer);
        core.server->poll(0);
        core.liveness->serve(*core.writer);
        if (core.mirror) core.mirror->poll();
        if (core.exception) core.exception->poll();
        core.housekeeping();
    }
}

}  // namespace dr
