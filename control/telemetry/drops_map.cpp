// Maps the drops memfd and reads consistent rows.
#include "control/telemetry/drops_map.h"

#include <sys/mman.h>

#include <algorithm>

#include "control/telemetry/memfd.h"

namespace dr::control {
namespace {

namespace sb = southbound;

// A clock is written in less than a microsecond, and a few hundred times a second.
constexpr int kTries = 16;
constexpr std::uint64_t kSecond = 1'000'000'000;

}  // namespace

DropsMap::DropsMap(const FileDescriptor& fd, std::uint64_t bytes,
                   const std::array<std::uint8_t, 16>& uuid)
    : size_(bytes) {
    base_ = map_memfd(fd, bytes, sizeof(sb::DropsHeader), "notes of drops");
    try {
        check(uuid);
    } catch (...) {
        ::munmap(const_cast<std::uint8_t*>(base_), size_);
        throw;
    }
}

DropsMap::~DropsMap() {
    ::munmap(const_cast<std::uint8_t*>(base_), size_);
}

void DropsMap::check(const std::array<std::uint8_t, 16>& uuid) {
    const auto& h = *reinterpret_cast<const sb::DropsHeader*>(base_);
    if (h.magic != sb::kDropsMagic || h.version != sb::kDropsVersion)
        throw MemfdError(
            "data plane: notes of drops of an unknown layout; use programs of one build");
    workers_ = h.workers;
    exits_ = h.exits;
    tunnel_slots_ = h.tunnel_slots;
    samples_ = h.samples;
    sample_stride_ = h.sample_stride;
    tunnels_ = h.tunnels;
    tunnel_stride_ = h.tunnel_stride;
    tsc_hz_ = h.tsc_hz;
    // A whole stride for each worker, which holds `count` rows.
    const auto fits = [&](std::uint64_t offset, std::uint64_t stride, std::uint64_t row,
                          std::uint64_t count) {
        return offset % 32 == 0 && stride % 32 == 0 && offset <= size_ && stride / row >= count &&
               (workers_ == 0 || stride <= (size_ - offset) / workers_);
    };
    if (h.uuid != uuid || tsc_hz_ == 0 || exits_ > 256 ||
        !fits(samples_, sample_stride_, sizeof(sb::DropSample),
              std::uint64_t{exits_} * sb::kDropSamples) ||
        !fits(tunnels_, tunnel_stride_, sizeof(sb::TunnelDrops), tunnel_slots_))
        throw MemfdError("data plane: its notes of drops contradict themselves");
}

std::uint64_t DropsMap::at_ns(std::uint64_t tsc) const {
    const auto& h = *reinterpret_cast<const sb::DropsHeader*>(base_);
    std::uint64_t clock_tsc = 0, clock_ns = 0;
    for (int i = 0; i < kTries; ++i) {
        const std::uint64_t before = h.clock.load(std::memory_order_acquire);
        clock_tsc = h.clock_tsc.load(std::memory_order_acquire);
        clock_ns = h.clock_ns.load(std::memory_order_acquire);
        if (before % 2 == 0 && h.clock.load(std::memory_order_relaxed) == before) break;
    }
    const auto span = [&](std::uint64_t cycles) {
        return static_cast<std::uint64_t>(static_cast<double>(cycles) /
                                          static_cast<double>(tsc_hz_) *
                                          static_cast<double>(kSecond));
    };
    if (tsc > clock_tsc) return clock_ns + std::min(span(tsc - clock_tsc), kSecond);
    return clock_ns - std::min(span(clock_tsc - tsc), clock_ns);
}

std::vector<DropsMap::Sample> DropsMap::samples(std::uint32_t exit) const {
    std::vector<Sample> out;
    if (exit >= exits_) return out;
    for (std::uint32_t w = 0; w < workers_; ++w) {
        const auto* of_exit =
            reinterpret_cast<const sb::DropSample*>(base_ + samples_ + w * sample_stride_) +
            std::size_t{exit} * sb::kDropSamples;
        for (std::uint32_t i = 0; i < sb::kDropSamples; ++i)
            if (sb::DropState state; sb::read_sample(of_exit[i], state)) {
                state.head = std::min<std::uint8_t>(state.head, sb::kDropHead);
                out.push_back({at_ns(state.tsc), state});
            }
    }
    std::stable_sort(out.begin(), out.end(),
                     [](const Sample& a, const Sample& b) { return a.at_ns > b.at_ns; });
    return out;
}

DropsMap::OfTunnel DropsMap::tunnel(std::uint32_t tunnel_id) const {
    OfTunnel sum;
    const std::uint32_t slot = tunnel_id & 0xffffff;
    if (slot >= tunnel_slots_) return sum;
    const auto load = [](const std::uint64_t& word) {
        return __atomic_load_n(&word, __ATOMIC_RELAXED);
    };
    for (std::uint32_t w = 0; w < workers_; ++w) {
        const auto& drops =
            reinterpret_cast<const sb::TunnelDrops*>(base_ + tunnels_ + w * tunnel_stride_)[slot];
        for (const std::uint64_t& word : drops.reason)
            if (const std::uint64_t reason = load(word); reason != 0)
                sum.by_exit[static_cast<unsigned>(reason >> sb::TunnelDrops::kExitShift)] +=
                    reason & sb::TunnelDrops::kCountMask;
        sum.others += load(drops.others);
    }
    return sum;
}

}  // namespace dr::control
