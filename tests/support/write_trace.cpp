#include "tests/support/write_trace.h"

#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>

namespace dr::test {

namespace {

constexpr std::uintptr_t kPage = 4096;
constexpr std::size_t kMaxRanges = 64;
constexpr std::size_t kMaxStores = 1UL << 18;
constexpr long kTrapFlag = 0x100;

struct Pages {
    std::uintptr_t first;
    std::uintptr_t bytes;
};

// The handlers' memory: none of it may lie in a traced page.
struct Trace {
    std::array<Pages, kMaxRanges> pages;
    std::size_t count;
    std::array<std::uintptr_t, kMaxStores> stores;
    std::size_t stored;
    std::array<char, 1UL << 16> stack;
    struct sigaction before_fault, before_trap;
};
Trace* trace = nullptr;

void protect(int protection) {
    for (std::size_t i = 0; i < trace->count; ++i)
        mprotect(reinterpret_cast<void*>(trace->pages[i].first), trace->pages[i].bytes, protection);
}

void on_fault(int, siginfo_t* info, void* context) {
    const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
    bool ours = false;
    for (std::size_t i = 0; i < trace->count; ++i)
        ours = ours || address - trace->pages[i].first < trace->pages[i].bytes;
    if (!ours || trace->stored == kMaxStores) _exit(99);
    trace->stores[trace->stored++] = address;
    protect(PROT_READ | PROT_WRITE);
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] |= kTrapFlag;
}

void on_step(int, siginfo_t*, void* context) {
    static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
    protect(PROT_READ);
}

void handle(int signal, void (*handler)(int, siginfo_t*, void*), struct sigaction* before) {
    struct sigaction action {};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(signal, &action, before);
}

}  // namespace

WriteTrace::WriteTrace(std::span<const MemoryRange> ranges) {
    void* memory =
        mmap(nullptr, sizeof(Trace), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || ranges.size() > kMaxRanges) std::abort();
    trace = static_cast<Trace*>(memory);
    for (const MemoryRange& range : ranges) {
        const auto data = reinterpret_cast<std::uintptr_t>(range.data);
        const std::uintptr_t first = data & ~(kPage - 1);
        const std::uintptr_t end = (data + range.bytes + kPage - 1) & ~(kPage - 1);
        if (end > first) trace->pages[trace->count++] = {first, end - first};
    }
}

WriteTrace::~WriteTrace() {
    munmap(trace, sizeof(Trace));
    trace = nullptr;
}

void WriteTrace::begin() {
    trace->stored = 0;
    stack_t stack{};
    stack.ss_sp = trace->stack.data();
    stack.ss_size = trace->stack.size();
    sigaltstack(&stack, nullptr);
    handle(SIGSEGV, on_fault, &trace->before_fault);
    handle(SIGTRAP, on_step, &trace->before_trap);
    protect(PROT_READ);
}

std::set<std::uintptr_t> WriteTrace::end() {
    protect(PROT_READ | PROT_WRITE);
    sigaction(SIGSEGV, &trace->before_fault, nullptr);
    sigaction(SIGTRAP, &trace->before_trap, nullptr);
    stack_t none{};
    none.ss_flags = SS_DISABLE;
    sigaltstack(&none, nullptr);
    std::set<std::uintptr_t> lines;
    for (std::size_t i = 0; i < trace->stored; ++i) lines.insert(trace->stores[i] / 64);
    return lines;
}

}  // namespace dr::test
