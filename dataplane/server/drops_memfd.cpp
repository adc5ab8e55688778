// Lays out the memfd of drop samples, and counts in it.
#include "dataplane/server/drops_memfd.h"

#include <cstring>

namespace dr::southbound {

std::unique_ptr<DropsMemfd> DropsMemfd::create(std::size_t exits, unsigned workers,
                                               std::uint32_t tunnel_slots,
                                               const std::array<std::uint8_t, 16>& uuid,
                                               std::uint64_t tsc_hz, std::string* error) {
    // Two workers share no page.
    const std::uint64_t samples = round_up(sizeof(DropsHeader), kPage);
    const std::uint64_t sample_stride = round_up(exits * kDropSamples * sizeof(DropSample), kPage);
    const std::uint64_t tunnels = samples + workers * sample_stride;
    const std::uint64_t tunnel_stride =
        round_up(std::uint64_t{tunnel_slots} * sizeof(TunnelDrops), kPage);
    const std::uint64_t bytes = tunnels + workers * tunnel_stride;
    std::unique_ptr<DropsMemfd> self(new DropsMemfd);
    // Pages are taken when they are first written.
    if (!self->memory_.make("dr-drops", bytes, 0, error)) return nullptr;
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
    if (!self->memory_.seal(error)) return nullptr;
    return self;
}

WorkerDrops DropsMemfd::worker(unsigned number) const {
    auto* bytes = memory_.at<std::uint8_t>();
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
    memory_.report("drops", state);
}

}  // namespace dr::southbound
