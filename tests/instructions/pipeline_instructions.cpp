// What `valgrind --tool=callgrind` counts: the pipeline's instructions in each case of traffic. The
// worker runs on in-memory ports; subscribers and flows are drawn by a generator with a fixed seed,
// so that two runs count the same.
//
// On standard output a JSON line on the toolchain, then one for each case; callgrind dumps the
// profile that belongs to it under the same label ("desc: Trigger: Client Request: LABEL"). Only
// bursts that are measured are counted: callgrind is to be started with --instr-atstart=no.
#include <rte_version.h>
#include <valgrind/callgrind.h>

#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "tests/support/traffic.h"

using namespace dr;
using namespace dr::test;

namespace {

struct Tunnels {
    bool udp;
    unsigned outer;
    unsigned inner;
};

// Every code path that tunnels differ by is in one of these.
constexpr Tunnels kTunnels[] = {{true, 4, 4}, {true, 4, 6},  {true, 6, 4},
                                {true, 6, 6}, {false, 4, 4}, {false, 6, 6}};
#ifdef __clang__
constexpr const char* kCompiler = "clang++ " __clang_version__;
#else
constexpr const char* kCompiler = "g++ " __VERSION__;
#endif
constexpr unsigned kSites = 256;
constexpr unsigned kWarmBursts = 4;
constexpr unsigned kPackets = 2048;  // counted in each case, whatever the burst

// Returns false when a packet was not forwarded: the count would be of something else.
bool measure(Traffic& traffic, const Tunnels& tunnels, bool downlink, unsigned burst) {
    const std::string label = std::string(downlink ? "downlink" : "uplink") +
                              (tunnels.udp ? "-gre-udp-" : "-gre-") +
                              std::to_string(tunnels.outer) + '-' + std::to_string(tunnels.inner) +
                              '-' + std::to_string(burst);
    std::mt19937 random(1);
    const auto forward = [&](unsigned bursts) {
        unsigned packets = 0;
        for (unsigned i = 0; i < bursts; ++i) {
            traffic.fill(random, downlink, burst);
            packets += traffic.poll();
        }
        return packets;
    };
    forward(kWarmBursts);
    CALLGRIND_START_INSTRUMENTATION;
    CALLGRIND_ZERO_STATS;
    const unsigned packets = forward(kPackets / burst);
    CALLGRIND_DUMP_STATS_AT(label.c_str());
    CALLGRIND_STOP_INSTRUMENTATION;
    const std::uint64_t lost = traffic.collect();
    if (packets != kPackets || lost != 0) {
        std::fprintf(stderr, "pipeline_instructions: %s: %u of %u packets received, %llu lost\n",
                     label.c_str(), packets, kPackets, static_cast<unsigned long long>(lost));
        return false;
    }
    std::printf(
        "{\"label\": \"%s\", \"direction\": \"%s\", \"encapsulation\": \"%s\", "
        "\"outer\": %u, \"inner\": %u, \"burst\": %u, \"packets\": %u}\n",
        label.c_str(), downlink ? "downlink" : "uplink", tunnels.udp ? "gre-udp" : "gre",
        tunnels.outer, tunnels.inner, burst, packets);
    std::fflush(stdout);
    return true;
}

}  // namespace

int main() {
    if (RUNNING_ON_VALGRIND == 0) {
        std::fprintf(stderr,
                     "pipeline_instructions: runs under valgrind --tool=callgrind only "
                     "(scripts/bench instructions)\n");
        return 2;
    }
    if (!start_eal()) {
        std::fprintf(stderr, "pipeline_instructions: DPDK did not start\n");
        return 1;
    }
    std::printf("{\"compiler\": \"%s\", \"dpdk\": \"%s\"}\n", kCompiler, rte_version());
    for (const Tunnels& tunnels : kTunnels) {
        Traffic traffic(kSites, tunnels.udp, tunnels.outer, tunnels.inner, false);
        for (const bool downlink : {true, false}) {
            if (!measure(traffic, tunnels, downlink, 64)) return 1;
            // What a burst costs that is not full, once.
            if (&tunnels != kTunnels) continue;
            for (const unsigned burst : {1U, 8U})
                if (!measure(traffic, tunnels, downlink, burst)) return 1;
        }
    }
    return 0;
}
