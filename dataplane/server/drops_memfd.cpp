#include "dataplane/server/drops_memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace dr::southbound {
namespace {

constexpr std::uint64_t kPage = 4096;

constexpr std::uint64_t round_up(std::uint64_t value) {
    return (value + kPage - 1) / kPage * kPage;
}

std::string failure(const char* what) {
    return std::string("drops: ") + what + ": " + std::strerror(errno);
}

}  // namespace

std::unique_ptr<DropsMemfd> DropsMemfd::create(std::size_t exits, unsigned workers,
                                               std::uint32_t tunnel_slots,
                                               const std::array<std::uint8_t, 16>& uuid,
                                               std::uint64_t tsc_hz, std::string* error) {
    // Two workers share no page.
    const std::uint64_t samples = round_up(sizeof(DropsHeader));
    const std::uint64_t sample_stride = round_up(exits * kDropSamples * sizeof(DropSample));
    const std::uint64_t tunnels = samples + workers * sample_stride;
    const std::uint64_t tunnel_stride = round_up(std::uint64_t{tunnel_slots} * sizeof(TunnelDrops));
    const std::uint64_t bytes = tunnels + workers * tunnel_stride;
    std::unique_ptr<DropsMemfd> self(new DropsMemfd);
    self->fd_ = memfd_create("dr-drops", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (self->fd_ < 0 || ftruncate(self->fd_, static_cast<off_t>(bytes)) != 0) {
        *error = failure("making the memfd");
        return nullptr;
    }
    // Pages are taken with the first drop that is noted on them.
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd_, 0);
    if (base == MAP_FAILED) {
        *error = failure("mapping the memfd");
        return nullptr;
    }
    self->base_ = base;
    self->bytes_ = bytes;
    DropsHeader& h = *self->header();
    h.magic = kDropsMagic;
    h.version = kDropsVersion;
    h.workers = workers;
    h.exits = static_cast<std::uint32_t>(exits);
    h.tunnel_slots = tunnel_slots;
    h.uuid = uuid;
    h.samples = samples;
    h.sample_stride = sample_stride;
    h.tunnels = tunnels;
    h.tunnel_stride = tunnel_stride;
    h.tsc_hz = tsc_hz;
    // The existing writable mapping, this one, stays; no new one can be made, by anyone.
    if (fcntl(self->fd_, F_ADD_SEALS,
              F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL) != 0) {
        *error = failure("sealing the memfd");
        return nullptr;
    }
    return self;
}

DropsMemfd::~DropsMemfd() {
    if (base_ != nullptr) munmap(base_, bytes_);
    if (fd_ >= 0) close(fd_);
}

WorkerDrops DropsMemfd::worker(unsigned number) const {
    auto* bytes = static_cast<std::uint8_t*>(base_);
    const DropsHeader& h = *header();
    return {reinterpret_cast<DropSample*>(bytes + h.samples + number * h.sample_stride),
            reinterpret_cast<TunnelDrops*>(bytes + h.tunnels + number * h.tunnel_stride)};
}

void DropsMemfd::set_clock(std::uint64_t tsc, std::uint64_t ns) {
    DropsHeader& h = *header();
    const std::uint64_t odd = h.clock.load(std::memory_order_relaxed) | 1U;
    h.clock.store(odd, std::memory_order_relaxed);
    // Release: a reader that sees a new word sees the odd number before it, too.
    h.clock_tsc.store(tsc, std::memory_order_release);
    h.clock_ns.store(ns, std::memory_order_release);
    h.clock.store(odd + 1, std::memory_order_release);
}

void DropsMemfd::zero_tunnel(std::uint32_t slot) {
    if (slot >= header()->tunnel_slots) return;
    for (unsigned w = 0; w < header()->workers; ++w) {
        TunnelDrops& drops = worker(w).tunnels[slot];
        for (std::uint64_t* word :
             {&drops.reason[0], &drops.reason[1], &drops.reason[2], &drops.others}) {
            const std::uint64_t before = __atomic_load_n(word, __ATOMIC_RELAXED);
            if (before == 0) continue;  // a page that was never counted on stays unwritten
            __atomic_store_n(word, 0, __ATOMIC_RELAXED);
            zeroed_.push_back({word, before});
        }
    }
}

// A count that is as great as before was written back: the zero fell between a worker's load and
// its store.
void DropsMemfd::settle() {
    for (const Zeroed& zeroed : zeroed_)
        if (__atomic_load_n(zeroed.word, __ATOMIC_RELAXED) >= zeroed.before)
            __atomic_store_n(zeroed.word, 0, __ATOMIC_RELAXED);
    zeroed_.clear();
}

void DropsMemfd::report(State* state) const {
    struct stat file {};
    if (state->memories >= kMaxMemories || fstat(fd_, &file) != 0) return;
    Memory& memory = state->memory[state->memories++];
    memory = {};
    std::string_view("drops").copy(memory.name.data(), memory.name.size() - 1);
    memory.bytes = static_cast<std::uint64_t>(file.st_blocks) * 512;
    memory.capacity_bytes = bytes_;
}

}  // namespace dr::southbound
