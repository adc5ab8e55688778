#include "ur/hook.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

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
      program_(program),
      program_id_(id_of(program)) {
    attach();
}

Hook::~Hook() {
    if (!keep_) remove();
}

void Hook::attach() {
    const Quiet quiet;
    bpf_tc_hook hook = make_hook(index_, ingress_ ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    const int created = bpf_tc_hook_create(&hook);
    if (created != 0 && created != -EEXIST)
        throw std::system_error(-created, std::generic_category(), "adding a clsact qdisc");
    bpf_tc_opts old = make_options(0);
    const bool left_over = created == -EEXIST && bpf_tc_query(&hook, &old) == 0;
    own_qdisc_ = own_qdisc_ || created == 0 || left_over;
    bpf_tc_opts options = make_options(program_);
    options.flags = BPF_TC_F_REPLACE;
    const int attached = bpf_tc_attach(&hook, &options);
    if (attached == 0) return;
    remove();
    throw std::system_error(-attached, std::generic_category(), "attaching a tc program");
}

bool Hook::restore() {
    {
        const Quiet quiet;
        bpf_tc_hook hook = make_hook(index_, ingress_ ? BPF_TC_INGRESS : BPF_TC_EGRESS);
        bpf_tc_opts now = make_options(0);
        if (bpf_tc_query(&hook, &now) == 0 && now.prog_id == program_id_) return false;
    }
    attach();
    return true;
}

void Hook::remove() noexcept {
    const Quiet quiet;
    bpf_tc_hook hook = make_hook(index_, ingress_ ? BPF_TC_INGRESS : BPF_TC_EGRESS);
    const bpf_tc_opts options = make_options(0);
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

}  // namespace dr::ur
