// A clsact filter of urd's own.
#include "ur/hook.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <system_error>

namespace dr::ur {

namespace {

// urd's filter on a hook: known, so that one left by a killed run is found and replaced.
constexpr std::uint32_t kFilterHandle = 1;
constexpr std::uint32_t kFilterPriority = 0x1292;  // 4754

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

std::uint32_t id_of(int program) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(program, &info, &size) != 0)
        throw std::system_error(errno, std::generic_category(), "the id of a tc program");
    return info.id;
}

}  // namespace

Hook::Hook(Netlink& netlink, int index, bool ingress, int program)
    : netlink_(netlink),
      index_(index),
      ingress_(ingress),
      tcx_(index, ingress),
      program_(program),
      program_id_(id_of(program)) {
    attach();
}

Hook::~Hook() {
    if (!keep_) remove();
}

std::string Hook::crowded() const {
    if (netlink_.ingress_qdisc(index_) == "ingress")
        return "the device has a qdisc `ingress`, which has no place for what leaves";
    if (netlink_.has_filters(index_, ingress_, kFilterPriority))
        return "somebody's filter comes before urd's";
    return {};
}

void Hook::attach() {
    const Quiet quiet;
    if (first_) return attach_first({});
    bpf_tc_hook hook = make_hook(index_, BPF_TC_INGRESS);
    const int created = bpf_tc_hook_create(&hook);
    if (created != 0 && created != -EEXIST)
        throw std::system_error(-created, std::generic_category(), "adding a clsact qdisc");
    if (created == -EEXIST)
        if (const std::string why = crowded(); !why.empty()) return attach_first(why);
    attach_filter(created == 0);
    // Of a run that stood before others, who have gone since.
    for (const auto& old : tcx_.left_over(program_id_)) tcx_.detach(old.get());
}

void Hook::attach_filter(bool made_qdisc) {
    const bpf_tc_hook hook = make_hook(index_, ingress_ ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    bpf_tc_opts old = make_options(0);
    const bool left_over = !made_qdisc && bpf_tc_query(&hook, &old) == 0;
    own_qdisc_ = own_qdisc_ || made_qdisc || left_over;
    bpf_tc_opts options = make_options(program_);
    options.flags = BPF_TC_F_REPLACE;
    const int attached = bpf_tc_attach(&hook, &options);
    if (attached == 0) return;
    remove();
    throw std::system_error(-attached, std::generic_category(), "attaching a tc program");
}

void Hook::attach_first(const std::string& why) {
    const int error = tcx_.attach(program_, program_id_);
    if (error != 0)
        throw std::system_error(
            error, std::generic_category(),
            why + (why.empty() ? "" : "; ") +
                "the guard cannot be put before it by tcx (needs Linux 6.6); remove it (`tc qdisc "
                "del dev DEVICE ingress`), or use a qdisc clsact and priorities above 4754");
    // In a qdisc `ingress` a filter of ours may be one of the other direction.
    if (!first_) remove_filter();
    first_ = true;
}

bool Hook::has_filter() const {
    const bpf_tc_hook hook = make_hook(index_, ingress_ ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    bpf_tc_opts now = make_options(0);
    return bpf_tc_query(&hook, &now) == 0 && now.prog_id == program_id_;
}

HookRepair Hook::restore() {
    const bool was_first = first_;
    if (first_) {
        const auto ids = tcx_.ids();
        if (std::find(ids.begin(), ids.end(), program_id_) != ids.end()) return HookRepair::None;
    } else {
        const Quiet quiet;
        if (has_filter() && crowded().empty()) return HookRepair::None;
    }
    attach();
    return first_ == was_first ? HookRepair::Again : HookRepair::Before;
}

void Hook::remove_filter() noexcept {
    const Quiet quiet;
    const bpf_tc_hook hook = make_hook(index_, ingress_ ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    const bpf_tc_opts options = make_options(0);
    bpf_tc_detach(&hook, &options);
}

void Hook::remove() noexcept {
    if (first_) tcx_.detach(program_);
    if (!first_) remove_filter();
    const Quiet quiet;
    try {
        if (!own_qdisc_ || netlink_.ingress_qdisc(index_) != "clsact" ||
            netlink_.has_filters(index_, true) || netlink_.has_filters(index_, false))
            return;
    } catch (const std::exception&) {
        return;  // the device is gone, and all that hung on it
    }
    bpf_tc_hook hook = make_hook(index_, BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook_destroy(&hook);
}

}  // namespace dr::ur
