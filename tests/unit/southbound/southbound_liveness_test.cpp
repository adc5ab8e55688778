// The liveness memfd as its readers see it.
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "dataplane/server/liveness_memfd_writer.h"

namespace dr::southbound {
namespace {

struct Mapped {
    Mapped() {
        std::string error;
        memory = LivenessMemfd::create(64, 1, {1, 2, 3}, &error);
        INFO(error);
        REQUIRE(memory != nullptr);
        base = static_cast<const std::uint8_t*>(
            mmap(nullptr, memory->bytes(), PROT_READ, MAP_SHARED, memory->fd(), 0));
        REQUIRE(base != MAP_FAILED);
    }
    ~Mapped() { munmap(const_cast<std::uint8_t*>(base), memory->bytes()); }
    Mapped(const Mapped&) = delete;
    Mapped& operator=(const Mapped&) = delete;

    [[nodiscard]] const LivenessHeader& header() const {
        return *reinterpret_cast<const LivenessHeader*>(base);
    }
    [[nodiscard]] LivenessState row(std::uint32_t slot) const {
        const auto& row = reinterpret_cast<const LivenessRow*>(base + header().rows)[slot];
        REQUIRE(row.sequence.load() % 2 == 0);
        std::array<std::uint64_t, sizeof(LivenessState) / 8> words;
        for (std::size_t i = 0; i < words.size(); ++i) words[i] = row.words[i].load();
        LivenessState state;
        std::memcpy(&state, words.data(), sizeof state);
        return state;
    }
    [[nodiscard]] const LivenessEvent& event(std::uint64_t number) const {
        return reinterpret_cast<const LivenessEvent*>(
            base + header().events)[number % kLivenessEventSlots];
    }

    std::unique_ptr<LivenessMemfd> memory;
    const std::uint8_t* base{};
};

TEST_CASE("a liveness row reads back as written, and one outside the memfd is passed over") {
    const Mapped m;
    CHECK(m.header().uuid[2] == 3);
    LivenessState state{};
    state.tunnel = 0x07000005;
    state.state = 3;
    state.jitter_us = 17;
    state.windows[2].messages = 99;
    m.memory->write_row(5, state);
    m.memory->write_row(64, state);
    CHECK(m.row(5).tunnel == 0x07000005);
    CHECK(m.row(5).state == 3);
    CHECK(m.row(5).jitter_us == 17);
    CHECK(m.row(5).windows[2].messages == 99);
    CHECK(m.row(6).tunnel == 0);
    m.memory->clear_row(5);
    CHECK(m.row(5).tunnel == 0);
}

TEST_CASE("liveness events are numbered from 1 and the oldest give way") {
    const Mapped m;
    CHECK(m.header().latest.load() == 0);
    LivenessMemfd::EventFields fields{};
    for (std::uint64_t n = 1; n <= kLivenessEventSlots + 2; ++n) {
        fields.at_ns = n * 10;
        fields.tunnel = static_cast<std::uint32_t>(n);
        m.memory->add_event(fields);
        if (n == 1) {
            CHECK(m.event(1).sequence.load() == 1);
            CHECK(m.event(1).at_ns == 10);
        }
    }
    const std::uint64_t last = kLivenessEventSlots + 2;
    CHECK(m.header().latest.load() == last);
    CHECK(m.event(last).tunnel == last);
    // The place of number 1 is that of one later by the length of the ring.
    CHECK(m.event(1).sequence.load() == 1 + kLivenessEventSlots);
}

}  // namespace
}  // namespace dr::southbound
