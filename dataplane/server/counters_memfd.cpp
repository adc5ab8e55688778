#include "dataplane/server/counters_memfd.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "dataplane/tables/placement.h"

namespace dr::southbound {
namespace {

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
    return (value + to - 1) / to * to;
}

constexpr std::uint64_t kPage = 4096;
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

std::string failure(const char* what) {
    return std::string("counters: ") + what + ": " + std::strerror(errno);
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
        *error = failure("getrandom");
        return nullptr;
    }

    std::unique_ptr<CountersMemfd> self(new CountersMemfd);
    // On huge pages when there are enough: a worker meets a tunnel's counters at random.
    if (!self->map(layout.bytes, MFD_HUGETLB | MFD_HUGE_2MB) && !self->map(layout.bytes, 0)) {
        *error = failure("making the memfd");
        return nullptr;
    }

    auto* bytes = static_cast<std::uint8_t*>(self->base_);
    std::memcpy(bytes, &layout.header, sizeof layout.header);
    auto* names = reinterpret_cast<ExitName*>(bytes + layout.header.exit_names);
    for (std::size_t i = 0; i < exits.size(); ++i) {
        copy_name(names[i].name, exits[i].name);
        copy_name(names[i].help, exits[i].help);
    }
    auto* ports = reinterpret_cast<PortName*>(bytes + layout.header.port_names);
    for (std::size_t i = 0; i < port_names.size(); ++i) copy_name(ports[i].name, port_names[i]);

    // Existing writable mappings, this one, stay; no new one can be made, by anyone.
    if (fcntl(self->fd_, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
        *error = failure("sealing the memfd");
        return nullptr;
    }
    return self;
}

bool CountersMemfd::map(std::size_t bytes, unsigned flags) {
    const int fd = memfd_create("dr-counters", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
    if (fd < 0) return false;
    // Huge pages are reserved as a whole by mmap, so that a shortage shows here. They are taken by
    // place(), small ones when something is counted on them.
    void* base = ftruncate(fd, static_cast<off_t>(bytes)) == 0
                     ? mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
                     : MAP_FAILED;
    if (base == MAP_FAILED) {
        close(fd);
        return false;
    }
    fd_ = fd;
    base_ = base;
    bytes_ = bytes;
    huge_ = flags != 0;
    return true;
}

CountersMemfd::~CountersMemfd() {
    if (base_ != nullptr) munmap(base_, bytes_);
    if (fd_ >= 0) close(fd_);
}

WorkerBlock* CountersMemfd::worker_block(unsigned number) const {
    auto* bytes = static_cast<std::uint8_t*>(base_);
    return reinterpret_cast<WorkerBlock*>(bytes + header()->worker_blocks +
                                          number * header()->worker_stride);
}

Health& CountersMemfd::port_health(unsigned number) const {
    auto* bytes = static_cast<std::uint8_t*>(base_);
    return reinterpret_cast<Health*>(bytes + header()->health)[number];
}

Health& CountersMemfd::worker_health(unsigned number) const {
    return port_health(header()->ports + number);
}

TunnelCounters* CountersMemfd::tunnel_counters(unsigned number) const {
    auto* bytes = static_cast<std::uint8_t*>(base_);
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

// The kernel knows which pages are taken.
void CountersMemfd::report(State* state) const {
    struct stat file {};
    if (state->memories >= kMaxMemories || fstat(fd_, &file) != 0) return;
    Memory& memory = state->memory[state->memories++];
    copy_name(memory.name, "counters");
    memory.bytes = static_cast<std::uint64_t>(file.st_blocks) * 512;
    memory.capacity_bytes = bytes_;
}

}  // namespace dr::southbound
