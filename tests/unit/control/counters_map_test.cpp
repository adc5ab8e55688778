// A counters memfd that is not what it says it is.
#include "control/telemetry/counters_map.h"

#include <fcntl.h>
#include <linux/memfd.h>
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

FileDescriptor memfd_of(const sb::CountersHeader& header, std::uint64_t bytes, int seals) {
    FileDescriptor fd(::memfd_create("counters-test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    REQUIRE(::ftruncate(fd.get(), static_cast<off_t>(bytes)) == 0);
    REQUIRE(::pwrite(fd.get(), &header, sizeof header, 0) == sizeof header);
    REQUIRE(::fcntl(fd.get(), F_ADD_SEALS, seals) == 0);
    return fd;
}

void map(const sb::CountersHeader& header, std::uint64_t bytes = kBytes,
         int seals = F_SEAL_SHRINK) {
    (void)CountersMap(memfd_of(header, bytes, seals), bytes, {}).all();
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

TEST_CASE("counters that could shrink under their reader are refused, and the seal is named") {
    CHECK_THROWS_WITH(map(sound(), kBytes, F_SEAL_GROW | F_SEAL_FUTURE_WRITE),
                      Catch::Contains("counters could shrink") && Catch::Contains("F_SEAL_SHRINK"));
    // No memfd at all: a file has no seals, and whoever may write it may cut it.
    std::array<char, 32> path{"/tmp/counters-test.XXXXXX"};
    const FileDescriptor file(::mkstemp(path.data()));
    REQUIRE(file.valid());
    ::unlink(path.data());
    REQUIRE(::ftruncate(file.get(), kBytes) == 0);
    CHECK_THROWS_WITH(CountersMap(file, kBytes, {}), Catch::Contains("F_SEAL_SHRINK"));
}

}  // namespace dr::control
