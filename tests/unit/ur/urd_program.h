// urd's eBPF programs, loaded by tests that run them on made packets (BPF_PROG_TEST_RUN).
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>

#include "ur/bpf/shared.h"
#include "urd.skel.h"

namespace dr::ur::test {

// meson's code for a test that cannot run here.
constexpr int kSkipped = 77;

struct Destroy {
    void operator()(urd_bpf* s) const { urd_bpf__destroy(s); }
};
using Programs = std::unique_ptr<urd_bpf, Destroy>;

// Not loaded yet: `site` is to be filled first. Null: `exit_code` says what the test ends with.
inline Programs open_programs(int* exit_code) {
    *exit_code = kSkipped;
    if (geteuid() != 0) {
        std::printf("skip: needs root to load an eBPF program\n");
        return nullptr;
    }
    libbpf_set_print(nullptr);
    *exit_code = 1;
#ifdef __clang_analyzer__
    return nullptr;  // it sees a leak in bpftool's code, where bpf_object__destroy_skeleton() frees
#else
    return Programs(urd_bpf__open());
#endif
}

// 0, or what the test ends with.
inline int load_programs(urd_bpf* programs) {
    const int loaded = urd_bpf__load(programs);
    if (loaded == 0) return 0;
    if (loaded == -EPERM) {
        std::printf("skip: the kernel does not permit to load an eBPF program\n");
        return kSkipped;
    }
    std::printf("the kernel refused the programs: %s\n", std::strerror(-loaded));
    return 1;
}

// Runs a program on an Ethernet frame with this IP packet of up to 498 bytes, in a context with the
// fields of `in`. What it returns is in *verdict; `context` is what it leaves. False: it could not
// be run.
inline bool run_program(const bpf_program* program, std::span<const std::uint8_t> ip,
                        std::uint32_t* verdict, __sk_buff* context, const __sk_buff& in = {}) {
    std::array<std::uint8_t, 512> frame{};
    const bool v6 = !ip.empty() && ip[0] >> 4 == 6;
    frame[12] = v6 ? 0x86 : 0x08;
    frame[13] = v6 ? 0xdd : 0x00;
    std::memcpy(frame.data() + 14, ip.data(), ip.size());
    *context = in;
    bpf_test_run_opts options{};
    options.sz = sizeof options;
    options.data_in = frame.data();
    options.data_size_in = static_cast<std::uint32_t>(14 + ip.size());
    options.ctx_in = context;
    options.ctx_size_in = sizeof *context;
    options.ctx_out = context;
    options.ctx_size_out = sizeof *context;
    if (bpf_prog_test_run_opts(bpf_program__fd(program), &options) != 0) return false;
    *verdict = options.retval;
    return true;
}

}  // namespace dr::ur::test
