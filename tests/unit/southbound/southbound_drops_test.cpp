// The drops memfd from both sides: what a worker writes, and what a reader may take for whole.
#include <sys/mman.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "dataplane/server/drops_memfd.h"
#include "dataplane/worker/exits.h"

namespace dr::southbound {
namespace {

std::unique_ptr<DropsMemfd> make(unsigned workers = 2) {
    std::string error;
    auto memory = DropsMemfd::create(kExitCount, workers, 64, {1, 2, 3}, 1'000'000'000, &error);
    INFO(error);
    REQUIRE(memory != nullptr);
    return memory;
}

// Every word of it says which one it is.
DropState numbered(std::uint64_t number) {
    DropState state{};
    state.tsc = number;
    state.from = state.into = static_cast<std::uint32_t>(number);
    state.head = kDropHead;
    state.frame.fill(static_cast<std::uint8_t>(number));
    return state;
}

}  // namespace

TEST_CASE("a note of a drop is read whole or not at all while a worker writes others",
          "[threads]") {
    const auto memory = make(1);
    DropSample& sample = memory->worker(0).samples[0];
    constexpr std::uint64_t kReads = 2'000, kMostNotes = 100'000'000;
    std::atomic<bool> ends{false};
    std::atomic<std::uint64_t> read{0};
    std::uint64_t torn = 0, notes = 0;
    std::thread reader([&] {
        while (!ends) {
            DropState state;
            if (!read_sample(sample, state)) continue;
            ++read;
            const DropState whole = numbered(state.tsc);
            if (std::memcmp(&state, &whole, sizeof whole) != 0) ++torn;
        }
    });
    while (read < kReads && notes < kMostNotes) {
        ++notes;
        write_sample(sample, notes, numbered(notes));
    }
    ends = true;
    reader.join();
    CHECK(read >= kReads);
    CHECK(torn == 0);
    DropState last;
    REQUIRE(read_sample(sample, last));
    CHECK(last.tsc == notes);
}

TEST_CASE("a note that is never finished does not keep its reader") {
    const auto memory = make();
    DropSample& sample = memory->worker(1).samples[7];
    DropState state;
    CHECK_FALSE(read_sample(sample, state));
    sample.sequence = 3;
    CHECK_FALSE(read_sample(sample, state));
}

TEST_CASE("a tunnel's drops are zeroed with it, also what a worker writes back at that moment") {
    const auto memory = make();
    TunnelDrops& drops = memory->worker(1).tunnels[5];
    const std::uint64_t counted = std::uint64_t{40} << TunnelDrops::kExitShift | 17;
    drops.reason[0] = counted;
    drops.others = 3;
    memory->zero_tunnel(5);
    CHECK(drops.reason[0] == 0);
    CHECK(drops.others == 0);
    drops.reason[0] = counted + 1;  // its worker had loaded the sum before
    memory->settle();
    CHECK(drops.reason[0] == 0);
    drops.reason[0] = counted;
    memory->settle();
    CHECK(drops.reason[0] == counted);
    memory->zero_tunnel(64);  // beyond the table
}

TEST_CASE("the notes of drops are handed over sealed, and workers share no page of them") {
    const auto memory = make();
    CHECK(mmap(nullptr, memory->bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd(), 0) ==
          MAP_FAILED);
    CHECK(ftruncate(memory->fd(), 0) != 0);
    const auto first = memory->worker(0), second = memory->worker(1);
    const auto apart = [](const void* a, const void* b) {
        return static_cast<const char*>(b) - static_cast<const char*>(a);
    };
    CHECK(apart(first.samples, second.samples) % 4096 == 0);
    CHECK(apart(first.tunnels, second.tunnels) % 4096 == 0);
}

}  // namespace dr::southbound
