// Links by bpf(2) that stay.
#include "ur/tcx.h"

#include <bpf/bpf.h>

#include <array>
#include <cerrno>
#include <string>

namespace dr::ur {

namespace {

// Of the kernel's UAPI since 6.6; the headers here may be older.
constexpr int kIngress = 46;      // BPF_TCX_INGRESS
constexpr int kEgress = 47;       // BPF_TCX_EGRESS
constexpr unsigned kReplace = 4;  // BPF_F_REPLACE
constexpr unsigned kBefore = 8;   // BPF_F_BEFORE
constexpr std::uint32_t kMost = 64;

bpf_attach_type type_of(int type) {
    return static_cast<bpf_attach_type>(type);
}

bool is_ours(int program) {
    bpf_prog_info info{};
    std::uint32_t size = sizeof info;
    return bpf_obj_get_info_by_fd(program, &info, &size) == 0 &&
           std::string(info.name).starts_with("urd_");
}

}  // namespace

Tcx::Tcx(int index, bool ingress) : index_(index), type_(ingress ? kIngress : kEgress) {}

std::vector<std::uint32_t> Tcx::ids() const {
    std::vector<std::uint32_t> out(kMost);
    std::uint32_t flags = 0, count = kMost;
    if (bpf_prog_query(index_, type_of(type_), 0, &flags, out.data(), &count) != 0) return {};
    out.resize(count);
    return out;
}

std::vector<FileDescriptor> Tcx::left_over(std::uint32_t but) const {
    std::vector<FileDescriptor> out;
    for (const std::uint32_t id : ids()) {
        if (id == but) continue;
        FileDescriptor program(bpf_prog_get_fd_by_id(id));
        if (program.valid() && is_ours(program.get())) out.push_back(std::move(program));
    }
    return out;
}

int Tcx::attach(int program, std::uint32_t id) const {
    const auto old = left_over(id);
    struct bpf_prog_attach_opts options {};
    options.sz = sizeof options;
    options.flags = old.empty() ? kBefore : kReplace;
    options.replace_prog_fd = old.empty() ? 0 : old.front().get();
    if (bpf_prog_attach_opts(program, index_, type_of(type_), &options) != 0 && errno != EEXIST)
        return errno;
    for (const auto& other : left_over(id)) detach(other.get());
    return 0;
}

void Tcx::detach(int program) const {
    (void)bpf_prog_detach2(program, index_, type_of(type_));
}

}  // namespace dr::ur
