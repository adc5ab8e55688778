// TSC cycles per packet of the pipeline alone, by stage: no driver, packets in 512 buffers that
// stay in L2, subscribers and flows drawn at random for every packet. Under valgrind it counts
// instructions instead (--bursts small).
//
//   pipeline_cycles [--subscribers N] [--bursts N] [--stages] [--outer 4|6] [--inner 4|6] [--gre]
#include <rte_cycles.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>

#include "tests/support/traffic.h"

using namespace dr;
using namespace dr::test;

namespace {

struct Options {
    unsigned subscribers = 1000;
    unsigned bursts = 20'000;
    bool stages = false;
    bool udp = true;
    unsigned outer = 4;
    unsigned inner = 4;
};

Options parse(int argc, char** argv) {
    Options o;
    for (int i = 1; i < argc; ++i) {
        const std::string_view word = argv[i];
        const auto number = [&] {
            return i + 1 < argc ? static_cast<unsigned>(std::strtoul(argv[++i], nullptr, 10)) : 0U;
        };
        if (word == "--subscribers")
            o.subscribers = number();
        else if (word == "--bursts")
            o.bursts = number();
        else if (word == "--outer")
            o.outer = number();
        else if (word == "--inner")
            o.inner = number();
        else if (word == "--stages")
            o.stages = true;
        else if (word == "--gre")
            o.udp = false;
        else {
            std::fprintf(stderr, "pipeline_cycles: unknown option %s\n", argv[i]);
            std::exit(2);
        }
    }
    return o;
}

constexpr std::array<const char*, 9> kStages{"receive",     "parse", "lookup",
                                             "decapsulate", "steer", "encapsulate",
                                             "forward",     "icmp",  "transmit"};

void measure(Traffic& traffic, const Options& o, bool downlink) {
    std::mt19937 random(1);
    std::vector<double> samples;
    samples.reserve(o.bursts);
    const auto before = traffic.stage_cycles();
    for (unsigned i = 0; i < o.bursts; ++i) {
        traffic.fill(random, downlink);
        const std::uint64_t start = rte_rdtsc();
        const unsigned count = traffic.poll();
        const std::uint64_t end = rte_rdtsc();
        samples.push_back(static_cast<double>(end - start) / count);
    }
    const std::uint64_t lost = traffic.collect();
    std::sort(samples.begin(), samples.end());
    std::printf(
        "{\"name\": \"pipeline\", \"direction\": \"%s\", \"encapsulation\": \"%s\", "
        "\"outer\": %u, \"inner\": %u, \"subscribers\": %u, \"cycles_per_packet\": %.1f, "
        "\"cycles_best_decile\": %.1f, \"not_forwarded\": %llu",
        downlink ? "downlink" : "uplink", o.udp ? "gre-udp" : "gre", o.outer, o.inner,
        o.subscribers, samples[samples.size() / 2], samples[samples.size() / 10],
        static_cast<unsigned long long>(lost));
    if (o.stages) {
        std::printf(", \"stages\": {");
        const auto after = traffic.stage_cycles();
        const char* separator = "";
        for (std::size_t s = 0; s < kStages.size(); ++s) {
            if (after[s] == before[s]) continue;
            std::printf("%s\"%s\": %.1f", separator, kStages[s],
                        static_cast<double>(after[s] - before[s]) / (64.0 * o.bursts));
            separator = ", ";
        }
        std::printf("}");
    }
    std::printf("}\n");
    std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    if (!start_eal()) {
        std::fprintf(stderr, "pipeline_cycles: DPDK did not start\n");
        return 1;
    }
    Traffic traffic(options.subscribers, options.udp, options.outer, options.inner, options.stages);
    measure(traffic, options, true);
    measure(traffic, options, false);
    return 0;
}
