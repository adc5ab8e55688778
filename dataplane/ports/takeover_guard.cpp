// Drops the data plane's packets by tc while an interface has no steering program.
#include "dataplane/ports/takeover_guard.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <net/if.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "dataplane/ports/bpf_ids.h"
#include "tc_guard.skel.h"

namespace dr {

namespace {

constexpr const char* kProgram = "dr_tc_guard";
// The filter's fixed place, so that one left behind can be found.
constexpr __u32 kHandle = 1;
constexpr __u32 kPriority = 0xd12;

bpf_tc_hook hook_of(int ifindex) {
    bpf_tc_hook hook{};
    hook.sz = sizeof hook;
    hook.ifindex = ifindex;
    hook.attach_point = BPF_TC_INGRESS;
    return hook;
}

bpf_tc_opts place() {
    bpf_tc_opts options{};
    options.sz = sizeof options;
    options.handle = kHandle;
    options.priority = kPriority;
    return options;
}

bool is_guard(__u32 program_id) {
    const FileDescriptor program = bpf_program_by_id(program_id);
    bpf_prog_info info{};
    __u32 length = sizeof info;
    return program.valid() && bpf_obj_get_info_by_fd(program.get(), &info, &length) == 0 &&
           std::strcmp(info.name, kProgram) == 0;
}

}  // namespace

void TakeoverGuard::Close::operator()(bpf_object* object) const {
    bpf_object__close(object);
}

std::optional<TakeoverGuard> TakeoverGuard::load(const std::string& interface, std::string* error) {
    std::size_t size = 0;
    const void* bytes = tc_guard__elf_bytes(&size);
    TakeoverGuard guard;
    guard.ifindex_ = static_cast<int>(if_nametoindex(interface.c_str()));
    guard.object_.reset(bpf_object__open_mem(bytes, size, nullptr));
    if (guard.object_ == nullptr || bpf_object__load(guard.object_.get()) != 0) {
        *error = fmt::format("cannot load the filter that guards {} while programs change: {}",
                             interface, std::strerror(errno));
        return std::nullopt;
    }
    return guard;
}

int TakeoverGuard::program_fd() const {
    return bpf_program__fd(bpf_object__find_program_by_name(object_.get(), kProgram));
}

bool TakeoverGuard::attach(std::string* error) {
    bpf_tc_hook hook = hook_of(ifindex_);
    const int made = bpf_tc_hook_create(&hook);
    made_qdisc_ = made == 0;
    bpf_tc_opts options = place();
    options.prog_fd = program_fd();
    options.flags = BPF_TC_F_REPLACE;
    int result = made == -EEXIST ? 0 : made;
    if (result == 0) result = bpf_tc_attach(&hook, &options);
    attached_ = result == 0;
    if (!attached_)
        *error = fmt::format(
            "cannot attach the filter that guards the interface while programs "
            "change: {}",
            std::strerror(-result));
    return attached_;
}

void TakeoverGuard::remove_stale(const std::string& interface) {
    const bpf_tc_hook hook = hook_of(static_cast<int>(if_nametoindex(interface.c_str())));
    bpf_tc_opts options = place();
    if (bpf_tc_query(&hook, &options) != 0 || !is_guard(options.prog_id)) return;
    options = place();
    bpf_tc_detach(&hook, &options);
}

TakeoverGuard::TakeoverGuard(TakeoverGuard&& other) noexcept
    : ifindex_(other.ifindex_),
      attached_(std::exchange(other.attached_, false)),
      made_qdisc_(std::exchange(other.made_qdisc_, false)),
      object_(std::move(other.object_)) {}

TakeoverGuard::~TakeoverGuard() {
    bpf_tc_hook hook = hook_of(ifindex_);
    if (attached_) {
        bpf_tc_opts options = place();
        bpf_tc_detach(&hook, &options);
    }
    if (!made_qdisc_) return;
    // Both attach points: the whole qdisc.
    hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
    bpf_tc_hook_destroy(&hook);
}

}  // namespace dr
