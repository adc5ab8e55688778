// A counters memfd that is not what it says it is.
#include "control/southbound/counters_map.h"

#include <sys/mman.h>
#include <unistd.h>

#include <catch2/catch.hpp>

namespace dr::control {
namespace {

namespace sb = southbound;

constexpr std::uint64_t kBytes = 16'384;

// Two workers, three tunnels, one exit, one port.
sb::CountersHeader sound() {
    sb::CountersHeader h{};
    h.magic = sb::kCountersMagic;
    h.version = 1;
    h.workers = 2;
    h.exits = h.ports = 1;
    h.tunnel_slots = 3;
    h.exit_names = sizeof h;
    h.port_names = h.exit_names + sizeof(sb::ExitName);
    h.worker_blocks = 4 * alignof(sb::WorkerBlock);
    h.worker_stride = sizeof(sb::WorkerBlock);
    h.tunnel_blocks = h.worker_blocks + 2 * h.worker_stride;
    h.tunnel_stride = 3 * sizeof(sb::TunnelCounters);
    return h;
}

void map(const sb::CountersHeader& header, std::uint64_t bytes = kBytes) {
    Fd fd(::memfd_create("counters-test", MFD_CLOEXEC));
    REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0);
    REQUIRE(::pwrite(fd.get(), &header, sizeof header, 0) == sizeof header);
    (void)CountersMap(fd, bytes, {}).all();
}

}  // namespace

TEST_CASE("counters whose header fits their memfd are read") {
    CHECK_NOTHROW(map(sound()));
}

TEST_CASE("counters of tunnels that would not be aligned are refused") {
    auto header = sound();
    header.tunnel_stride += 1;
    CHECK_THROWS_WITH(map(header), Catch::Contains("contradict"));
}

TEST_CASE("counters whose size overflows 64 bits are refused") {
    constexpr std::uint64_t kLarge = std::uint64_t{1} << 33;  // takes a page of memory
    auto header = sound();
    header.workers = 1U << 31;
    header.worker_blocks = header.tunnel_blocks = 0;
    header.worker_stride = header.tunnel_stride = kLarge;
    CHECK_THROWS_WITH(map(header, kLarge), Catch::Contains("contradict"));
}

}  // namespace dr::control
