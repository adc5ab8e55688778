#include "ur/datapath.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>
#include <sys/socket.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <system_error>

#include "urd.skel.h"

namespace dr::ur {

namespace {

// urd's filter on a hook: known, so that one left by a killed run is found and replaced.
constexpr std::uint32_t kFilterHandle = 1;
constexpr std::uint32_t kFilterPriority = 0x1292;  // 4754

int log_libbpf(libbpf_print_level level, const char* format, va_list arguments) {
    return level == LIBBPF_WARN ? std::vfprintf(stderr, format, arguments) : 0;
}

// Expected failures of tc calls (no such hook, no such filter) are not worth a line.
int log_nothing(libbpf_print_level, const char*, va_list) {
    return 0;
}

class Quiet final {
  public:
    Quiet() : before_(libbpf_set_print(log_nothing)) {}
    ~Quiet() { libbpf_set_print(before_); }
    Quiet(const Quiet&) = delete;
    Quiet& operator=(const Quiet&) = delete;

  private:
    libbpf_print_fn_t before_;
};

bpf_tc_hook make_hook(int index, int point) {
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = index;
    hook.attach_point = static_cast<bpf_tc_attach_point>(point);
    return hook;
}

bpf_tc_opts make_options(int program) {
    bpf_tc_opts options{};
    options.sz = sizeof options;
    options.handle = kFilterHandle;
    options.priority = kFilterPriority;
    options.prog_fd = program;
    return options;
}

}  // namespace

void SkeletonFree::operator()(urd_bpf* skeleton) const {
    urd_bpf__destroy(skeleton);
}

Hook::Hook(Netlink& netlink, int index, bool ingress, int program)
    : netlink_(netlink), index_(index), ingress_(ingress), own_qdisc_(false) {
    const Quiet quiet;
    bpf_tc_hook hook = make_hook(index, ingress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    const int created = bpf_tc_hook_create(&hook);
    if (created != 0 && created != -EEXIST)
        throw std::system_error(-created, std::generic_category(), "adding a clsact qdisc");
    bpf_tc_opts old = make_options(0);
    const bool left_over = created == -EEXIST && bpf_tc_detach(&hook, &old) == 0;
    own_qdisc_ = created == 0 || left_over;
    bpf_tc_opts options = make_options(program);
    const int attached = bpf_tc_attach(&hook, &options);
    if (attached == 0) return;
    remove();
    throw std::system_error(-attached, std::generic_category(), "attaching a tc program");
}

Hook::~Hook() {
    remove();
}

void Hook::remove() noexcept {
    const Quiet quiet;
    bpf_tc_hook hook = make_hook(index_, ingress_ ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    bpf_tc_opts options = make_options(0);
    bpf_tc_detach(&hook, &options);
    try {
        if (!own_qdisc_ || netlink_.has_filters(index_, true) ||
            netlink_.has_filters(index_, false))
            return;
    } catch (const std::exception&) {
        return;  // the device is gone, and all that hung on it
    }
    hook = make_hook(index_, BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook_destroy(&hook);
}

Datapath::Datapath(Netlink& netlink, const Config& config, const Tap& device) : config_(config) {
    libbpf_set_print(log_libbpf);
    skeleton_.reset(urd_bpf__open());
    if (!skeleton_) throw std::system_error(errno, std::generic_category(), "opening the programs");
    bpf_program__set_autoload(skeleton_->progs.urd_choice, false);
    auto& site = *reinterpret_cast<ur_site*>(&skeleton_->bss->site);
    fill_site(config, site);
    site.device = static_cast<std::uint32_t>(device.index());
    std::memcpy(site.device_mac, device.mac().data(), sizeof site.device_mac);
    const int loaded = urd_bpf__load(skeleton_.get());
    if (loaded != 0)
        throw std::system_error(-loaded, std::generic_category(),
                                "loading the programs (needs CAP_BPF and CAP_NET_ADMIN)");
    uplink_ = std::make_unique<Hook>(netlink, device.index(), false,
                                     bpf_program__fd(skeleton_->progs.urd_uplink));
}

int Datapath::downlink_program(bool ethernet) const {
    return bpf_program__fd(ethernet ? skeleton_->progs.urd_downlink
                                    : skeleton_->progs.urd_downlink_raw);
}

void Datapath::set_path(const Tunnel& tunnel, int index, const IpAddress& local,
                        const IpAddress& next_hop) {
    auto& row = reinterpret_cast<ur_site*>(&skeleton_->bss->site)->tunnel[tunnel.slot];
    const std::uint32_t family = next_hop.family == 0   ? 0U
                                 : next_hop.family == 4 ? AF_INET
                                                        : AF_INET6;
    const ur_path path{static_cast<std::uint32_t>(index), family, to_words(local),
                       to_words(next_hop)};
    const std::uint32_t active = row.active & 1U;
    if (std::memcmp(&row.path[active], &path, sizeof path) == 0) return;
    row.path[active ^ 1U] = path;
    std::atomic_ref(row.active).store(active ^ 1U, std::memory_order_release);
}

void Datapath::set_eligible(std::uint32_t lines) {
    fill_buckets(config_, lines, *reinterpret_cast<ur_site*>(&skeleton_->bss->site));
}

bool Datapath::usable(unsigned slot) const {
    const auto& row = reinterpret_cast<const ur_site*>(&skeleton_->bss->site)->tunnel[slot];
    return row.path[row.active & 1U].ifindex != 0;
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
    }
    return total;
}

}  // namespace dr::ur
