// Lays out the memfd of counters, and zeroes tunnels' counters in it.
#include "dataplane/server/counters_memfd.h"

#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "dataplane/tables/placement.h"

namespace dr::southbound {
namespace {

constexpr std::uint64_t kHugePage = 2UL * 1024 * 1024;

// Where everything lies; also decides the size of the memfd. Blocks of different workers share no
// cache line, tunnel arrays of different workers no page of either size: a huge page is on one
// node.
struct Layout {
    CountersHeader header{};
    std::uint64_t bytes{};
};

Layout lay_out(std::size_t exits, unsigned workers, std::uint32_t tunnel_slots, std::size_t ports) {
    Layout layout;
    CountersHeader& h = layout.header;
    h.magic = kCountersMagic;
    h.version = 1;
    h.workers = workers;
    h.exits = static_cast<std::uint32_t>(exits);
    h.ports = static_cast<std::uint32_t>(ports);
    h.tunnel_slots = tunnel_slots;
    h.exit_names = round_up(sizeof(CountersHeader), 64);
    h.port_names = h.exit_names + exits * sizeof(ExitName);
    h.health = round_up(h.port_names + ports * sizeof(PortName), sizeof(Health));
    h.worker_blocks = round_up(h.health + (ports + workers) * sizeof(Health), kPage);
    h.worker_stride = round_up(sizeof(WorkerBlock), kPage);
    h.tunnel_blocks = round_up(h.worker_blocks + workers * h.worker_stride, kHugePage);
    h.tunnel_stride = round_up(std::uint64_t{tunnel_slots} * sizeof(TunnelCounters), kHugePage);
    layout.bytes = h.tunnel_blocks + workers * h.tunnel_stride;
    return layout;
}

// The destination is zero-filled and keeps a zero at its end.
template <std::size_t Size>
void copy_name(std::array<char, Size>& to, std::string_view from) {
    std::memcpy(to.data(), from.data(), std::min(from.size(), Size - 1));
}

}  // namespace

std::unique_ptr<CountersMemfd> CountersMemfd::create(std::span<const NamedExit> exits,
                                                     unsigned workers, std::uint32_t tunnel_slots,
                                                     std::span<const std::string> port_names,
                                                     std::string* error) {
    if (workers == 0 || port_names.size() > kPortSlots || exits.size() > kExitSlots) {
        *error = "counters: need at least 1 worker, at most " + std::to_string(kPortSlots) +
                 " ports and " + std::to_string(kExitSlots) + " exits, got " +
                 std::to_string(workers) + ", " + std::to_string(port_names.size()) + " and " +
                 std::to_string(exits.size());
        return nullptr;
    }
    Layout layout = lay_out(exits.size(), workers, tunnel_slots, port_names.size());
    if (getrandom(layout.header.uuid.data(), layout.header.uuid.size(), 0) !=
        static_cast<ssize_t>(layout.header.uuid.size())) {
        *error = std::string("counters: getrandom: ") + std::strerror(errno);
        return nullptr;
    }

    std::unique_ptr<CountersMemfd> self(new CountersMemfd);
    // On huge pages when there are enough: a worker meets a tunnel's counters at random.
    self->huge_ =
        self->memory_.make("dr-counters", layout.bytes, MFD_HUGETLB | MFD_HUGE_2MB, error);
    if (!self->huge_ && !self->memory_.make("dr-counters", layout.bytes, 0, error)) return nullptr;
    error->clear();

    auto* bytes = self->memory_.at<std::uint8_t>();
    std::memcpy(bytes, &layout.header, sizeof layout.header);
    auto* names = reinterpret_cast<ExitName*>(bytes + layout.header.exit_names);
    for (std::size_t i = 0; i < exits.size(); ++i) {
        copy_name(names[i].name, exits[i].name);
        copy_name(names[i].help, exits[i].help);
    }
    auto* ports = reinterpret_cast<PortName*>(bytes + layout.header.port_names);
    for (std::size_t i = 0; i < port_names.size(); ++i) copy_name(ports[i].name, port_names[i]);

    if (!self->memory_.seal(error)) return nullptr;
    return self;
}

WorkerBlock* CountersMemfd::worker_block(unsigned number) const {
    auto* bytes = memory_.at<std::uint8_t>();
    return reinterpret_cast<WorkerBlock*>(bytes + header()->worker_blocks +
                                          number * header()->worker_stride);
}

Health& CountersMemfd::port_health(unsigned number) const {
    auto* bytes = memory_.at<std::uint8_t>();
    return reinterpret_cast<Health*>(bytes + header()->health)[number];
}

Health& CountersMemfd::worker_health(unsigned number) const {
    return port_health(header()->ports + number);
}

TunnelCounters* CountersMemfd::tunnel_counters(unsigned number) const {
    auto* bytes = memory_.at<std::uint8_t>();
    return reinterpret_cast<TunnelCounters*>(bytes + header()->tunnel_blocks +
                                             number * header()->tunnel_stride);
}

bool CountersMemfd::place(unsigned worker, unsigned node) const {
    const std::uint64_t nodes = node < 64 ? std::uint64_t{1} << node : 0;
    TunnelCounters* const tunnels = tunnel_counters(worker);
    const std::uint64_t stride = header()->tunnel_stride;
    const bool placed = dr::place(tunnels, stride, nodes);
    if (!huge_) return dr::place(worker_block(worker), header()->worker_stride, nodes) && placed;
    // All workers' blocks are on the first huge page, which is taken already. Else no worker should
    // be the first on a page; a kernel before Linux 5.14 lets it.
    (void)madvise(tunnels, stride, MADV_POPULATE_WRITE);
    return placed;
}

CountersMemfd::Words CountersMemfd::words(unsigned worker, std::uint32_t slot) const {
    TunnelCounters& c = tunnel_counters(worker)[slot];
    return {&c.downlink_packets, &c.downlink_bytes, &c.uplink_packets, &c.uplink_bytes};
}

void CountersMemfd::zero_tunnel(std::uint32_t slot) {
    if (slot >= tunnel_slots()) return;
    for (unsigned w = 0; w < workers(); ++w) {
        Zeroed zeroed{slot, w, {}};
        bool any = false;
        // A page that was never counted on stays unwritten.
        for (unsigned i = 0; std::uint64_t * word : words(w, slot)) {
            std::uint64_t& before = zeroed.before[i++];
            before = __atomic_load_n(word, __ATOMIC_RELAXED);
            if (before == 0) continue;
            __atomic_store_n(word, 0, __ATOMIC_RELAXED);
            any = true;
        }
        if (any) zeroed_.push_back(zeroed);
    }
}

// A sum that is as great as before was written back: adding to it and storing it are two steps of
// the worker, and the zero fell between them.
void CountersMemfd::settle() {
    for (const Zeroed& zeroed : zeroed_) {
        for (unsigned i = 0; std::uint64_t * word : words(zeroed.worker, zeroed.slot)) {
            const std::uint64_t before = zeroed.before[i++];
            if (before != 0 && __atomic_load_n(word, __ATOMIC_RELAXED) >= before)
                __atomic_store_n(word, 0, __ATOMIC_RELAXED);
        }
    }
    zeroed_.clear();
}

void CountersMemfd::report(State* state) const {
    memory_.report("counters", state);
}

}  // namespace dr::southbound
