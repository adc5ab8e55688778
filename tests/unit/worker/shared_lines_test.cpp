// No cache line is written by two workers on the fast path: each worker's stores into everything
// that could be shared (the heap, all tables, all counters) are noted one by one.
#include <malloc.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>

#include "tests/support/fleet.h"
#include "tests/support/write_trace.h"

using namespace dr;
using namespace dr::test;

namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kCanTrace = false;
#else
constexpr bool kCanTrace = true;
#endif

// All that workers look things up in.
std::vector<MemoryRange> tables_of(Fleet& fleet) {
    const Tables& t = fleet.tables();
    std::vector<MemoryRange> ranges;
    const auto add = [&](const auto& rows) { ranges.push_back({&rows[0], rows.bytes()}); };
    add(t.tunnels);
    add(t.subscribers);
    add(t.extra);
    add(t.tunnel_of_slot);
    add(t.maps);
    add(t.next_hops);
    add(t.next_hop_rows);
    for (const auto& memory : t.lpm4->readers_memory())
        ranges.push_back({memory.data(), memory.size()});
    for (const auto& memory : t.lpm6->readers_memory())
        ranges.push_back({memory.data(), memory.size()});
    return ranges;
}

// The heap, the counters memfd and the tables' regions: all that is writable and anonymous or ours,
// but for stacks, the C library, and DPDK's own memory, in which packets are handed over.
std::vector<MemoryRange> shared_memory(Fleet& fleet) {
    std::vector<MemoryRange> ranges;
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        std::uintptr_t first = 0;
        std::uintptr_t end = 0;
        if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " rw", &first, &end) != 2) continue;
        if (line.find("[heap]") == std::string::npos &&
            line.find("memfd:dr-counters") == std::string::npos)
            continue;
        ranges.push_back({reinterpret_cast<const void*>(first), end - first});
    }
    for (const MemoryRange& table : tables_of(fleet)) ranges.push_back(table);
    return ranges;
}

struct Lines {
    std::size_t first, second, both;
    bool tables;  // whether a table was written
};

Lines traced(Fleet& fleet) {
    for (std::uint32_t i = 0; i < 4; ++i)
        for (std::uint32_t flow = 0; flow < 64; ++flow) fleet.send(flow);
    const std::vector<MemoryRange> memory = shared_memory(fleet);
    WriteTrace trace(memory);
    // Two rounds each, by turns: the second poll of a worker is the one after the other's.
    std::array<std::set<std::uintptr_t>, 2> written;
    for (unsigned round = 0; round < 4; ++round) {
        Worker& worker = fleet.worker(round % 2);
        written[round % 2].merge(trace.lines([&] { worker.poll(); }));
    }
    Lines lines{written[0].size(), written[1].size(), 0, false};
    for (const std::uintptr_t line : written[0]) lines.both += written[1].contains(line) ? 1U : 0U;
    const std::vector<MemoryRange> tables = tables_of(fleet);
    for (const auto& one : written)
        for (const std::uintptr_t line : one)
            lines.tables =
                lines.tables || std::any_of(tables.begin(), tables.end(), [&](const auto& table) {
                    return line * 64 - reinterpret_cast<std::uintptr_t>(table.data) < table.bytes;
                });
    return lines;
}

struct Started {
    Started() {
        // A worker is large: it is to lie in the heap, where it is traced.
        if (kCanTrace) REQUIRE(mallopt(M_MMAP_THRESHOLD, 32 << 20) == 1);
        REQUIRE(start_eal());
    }
};

}  // namespace

TEST_CASE_METHOD(Started,
                 "two workers that forward in both directions write no common cache line") {
    if (!kCanTrace) {
        WARN("skipped: sanitizers have their own heap and handlers: not traced");
        return;
    }
    Fleet fleet(2, 2);
    const Lines lines = traced(fleet);
    CHECK(fleet.exit(Exit::ForwardedDownlink) > 0);
    CHECK(fleet.exit(Exit::ForwardedUplink) > 0);
    // Each writes something: its burst, its counters, its quiescent state.
    CHECK(lines.first > 20);
    CHECK(lines.second > 20);
    CHECK(lines.both == 0);
    CHECK_FALSE(lines.tables);
}

TEST_CASE_METHOD(Started, "the trace finds workers that count in one block") {
    if (!kCanTrace) {
        WARN("skipped: sanitizers have their own heap and handlers: not traced");
        return;
    }
    Fleet fleet(2, 2, true);
    CHECK(traced(fleet).both > 0);
}
