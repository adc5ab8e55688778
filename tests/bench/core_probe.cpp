// How much of a core this process gets: nops retired per TSC cycle over 20 ms, best of three. A
// busy SMT sibling halves it. Printed beside every figure, so that a figure from a bad moment
// shows.
#include <sched.h>
#include <x86intrin.h>

#include <cstdio>
#include <cstdlib>

namespace {

double probe() {
    constexpr unsigned kNops = 64 * 1000;
    const unsigned long long start = __rdtsc();
    unsigned long long now = start;
    unsigned long long nops = 0;
    while (now - start < 50'000'000ULL) {
        for (unsigned i = 0; i < kNops / 64; ++i)
            asm volatile(".rept 64\n nop\n .endr\n" ::: "memory");
        nops += kNops;
        now = __rdtsc();
    }
    return static_cast<double>(nops) / static_cast<double>(now - start);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<std::size_t>(std::atoi(argv[1])), &set);
        if (sched_setaffinity(0, sizeof set, &set) != 0) {
            std::perror("core_probe: sched_setaffinity");
            return 1;
        }
    }
    double best = 0;
    for (int i = 0; i < 3; ++i) {
        const double now = probe();
        best = now > best ? now : best;
    }
    std::printf("%.2f\n", best);
    return 0;
}
