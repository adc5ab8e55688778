// Loads the eBPF programs, attaches them, and writes their maps.
#include "ur/datapath.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <system_error>

#include "ur/log.h"
#include "urd.skel.h"

namespace dr::ur {

namespace {

int log_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
    return level == LIBBPF_WARN ? std::vfprintf(stderr, format, arguments) : 0;
}

std::uint32_t milliseconds_now() {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<std::uint32_t>(now.tv_sec * 1000 + now.tv_nsec / 1'000'000);
}

// Writes the copy that nobody reads, then says that it is the one to read. A program runs to its
// end within microseconds, long before the other copy is written again.
template <typename Row>
void publish(const Row& row, Row (&copies)[2], std::uint32_t& active) {
    const std::uint32_t now = active & 1U;
    if (std::memcmp(&copies[now], &row, sizeof row) == 0) return;
    copies[now ^ 1U] = row;
    std::atomic_ref(active).store(now ^ 1U, std::memory_order_release);
}

}  // namespace

void SkeletonFree::operator()(urd_bpf* skeleton) const {
    urd_bpf__destroy(skeleton);
}

Datapath::Datapath(Netlink& netlink, const Tap& device)
    : netlink_(netlink), device_(device.name()) {
    libbpf_set_print(log_libbpf);
    skeleton_.reset(urd_bpf__open());
    if (!skeleton_) throw std::system_error(errno, std::generic_category(), "opening the programs");
    bpf_program__set_autoload(skeleton_->progs.urd_choice, false);
    fill_site({}, site());
    const int loaded = urd_bpf__load(skeleton_.get());
    if (loaded != 0)
        throw std::system_error(
            -loaded, std::generic_category(),
            "loading the programs (needs CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN)");
    set_device(device);
    try {
        make_finisher();
    } catch (const std::system_error& e) {
        // A small router's kernel may have no veth. Nearly every line does without.
        say("warning: %s: data cannot have UDP checksums; a line that drops those of 0 will lose "
            "it",
            e.what());
    }
}

void Datapath::set_device(const Tap& device) {
    std::memcpy(site().device_mac, device.mac().data(), sizeof site().device_mac);
    std::atomic_ref(site().device)
        .store(static_cast<std::uint32_t>(device.index()), std::memory_order_release);
    uplink_.reset();
    uplink_ = std::make_unique<Hook>(netlink_, device.index(), false,
                                     bpf_program__fd(skeleton_->progs.urd_uplink));
}

void Datapath::make_finisher() {
    std::atomic_ref(site().finisher).store(0, std::memory_order_release);
    whole_.reset();
    finisher_.reset();
    finisher_ = std::make_unique<Finisher>(netlink_, device_);
    whole_ = std::make_unique<Hook>(netlink_, finisher_->out(), true,
                                    bpf_program__fd(skeleton_->progs.urd_uplink_whole));
    std::atomic_ref(site().finisher)
        .store(static_cast<std::uint32_t>(finisher_->in()), std::memory_order_release);
    finishes_ = true;
}

bool Datapath::restore() {
    const bool missing = uplink_->restore() != HookRepair::None;
    if (!finishes_) return missing;
    if (finisher_ != nullptr && whole_ != nullptr && finisher_->whole())
        return whole_->restore() != HookRepair::None || missing;
    make_finisher();
    return true;
}

ur_site& Datapath::site() const {
    return *reinterpret_cast<ur_site*>(&skeleton_->bss->site);
}

int Datapath::downlink_program(bool ethernet) const {
    return bpf_program__fd(ethernet ? skeleton_->progs.urd_downlink
                                    : skeleton_->progs.urd_downlink_raw);
}

int Datapath::line_out_program(bool ethernet) const {
    return bpf_program__fd(ethernet ? skeleton_->progs.urd_line_out
                                    : skeleton_->progs.urd_line_out_raw);
}

int Datapath::below_program(bool ethernet) const {
    return bpf_program__fd(ethernet ? skeleton_->progs.urd_below : skeleton_->progs.urd_below_raw);
}

void Datapath::set_lines(const std::vector<int>& devices) {
    for (std::size_t i = 0; i < UR_LINES; ++i) {
        const auto index = i < devices.size() ? static_cast<std::uint32_t>(devices[i]) : 0U;
        std::atomic_ref(site().line[i]).store(index, std::memory_order_relaxed);
    }
}

void Datapath::set_breakout(bool allowed) {
    std::atomic_ref(site().breakout).store(allowed ? 1 : 0, std::memory_order_relaxed);
}

void Datapath::set_rules(const ur_rules& rules) {
    publish(rules, site().rules, site().active_rules);
}

void Datapath::set_tunnel(unsigned slot, const ur_tunnel& tunnel) {
    auto& row = site().tunnel[slot];
    publish(tunnel, row.copy, row.active);
    if (slot >= site().slots)
        std::atomic_ref(site().slots).store(slot + 1, std::memory_order_release);
}

void Datapath::set_buckets(const BucketPlan& plan) {
    publish_buckets(plan, site());
}

void Datapath::set_moving(bool moving) {
    const std::uint8_t wanted = moving ? 1 : 0;
    if (site().moving == wanted) return;
    if (moving)
        for (auto& used : site().bucket_used)
            std::atomic_ref(used).store(milliseconds_now(), std::memory_order_relaxed);
    std::atomic_ref(site().moving).store(wanted, std::memory_order_release);
}

const ur_tunnel& Datapath::tunnel(unsigned slot) const {
    const auto& row = site().tunnel[slot];
    return row.copy[row.active & 1U];
}

std::uint32_t Datapath::bucket_age_ms(unsigned bucket) const {
    const auto age = milliseconds_now() -
                     std::atomic_ref(site().bucket_used[bucket]).load(std::memory_order_relaxed);
    // A program on another CPU may have noted its use since the clock was read.
    return age > UINT32_MAX / 2 ? 0 : age;
}

std::vector<std::uint64_t> Datapath::counters() const {
    const auto cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
    std::vector<std::uint64_t> totals(UrCounters), values(cpus);
    for (std::uint32_t c = 0; c < UrCounters; ++c) {
        if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.counters), &c, values.data()) != 0)
            continue;
        for (const auto v : values) totals[c] += v;
    }
    return totals;
}

ur_tunnel_counters Datapath::tunnel_counters(unsigned slot) const {
    std::vector<ur_tunnel_counters> values(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    ur_tunnel_counters total{};
    const std::uint32_t key = slot;
    const int map = bpf_map__fd(skeleton_->maps.tunnel_counters);
    if (bpf_map_lookup_elem(map, &key, values.data()) != 0) return total;
    for (const auto& v : values) {
        total.tx_packets += v.tx_packets;
        total.tx_bytes += v.tx_bytes;
        total.rx_packets += v.rx_packets;
        total.rx_bytes += v.rx_bytes;
        total.rx_arrived += v.rx_arrived;
    }
    return total;
}

}  // namespace dr::ur
