// What the rings of an AF_XDP queue show over time, and what is a fault of it.
#include "dataplane/ports/port_judge.h"

#include <catch2/catch.hpp>

using namespace dr;
using southbound::Fault;

namespace {

constexpr std::uint64_t kStep = 250;

// A queue whose fill ring has 2,048 buffers, in copy mode, on an interface that is up.
struct Queue {
    QueueJudge judge;
    XskRings::Sample now;
    std::uint64_t arrived = 0;
    std::uint64_t ms = 1'000;
    bool zero_copy = false;
    bool running = true;

    Queue() { now.fill = {2'048, 0}; }
    // A packet is received and taken, and its buffer replaced.
    void packets(std::uint32_t count) {
        arrived += count;
        now.fill.consumed += count;
        now.rx.produced += count;
        now.rx.consumed += count;
        now.fill.produced += count;
    }
    // Looks again and again, `change` before each time; the first fault, or none.
    template <typename Change>
    Fault watch(std::uint64_t for_ms, Change change) {
        for (std::uint64_t end = ms + for_ms; ms < end; ms += kStep) {
            change();
            const Fault fault = judge.look(ms, now, arrived, zero_copy, running);
            if (fault != Fault::None) return fault;
        }
        return Fault::None;
    }
};

}  // namespace

TEST_CASE("a queue that receives is well, and so is one that nothing arrives at") {
    Queue q;
    CHECK(q.watch(10'000, [&] { q.packets(500); }) == Fault::None);
    CHECK(q.watch(60'000, [] {}) == Fault::None);
}

TEST_CASE("a fill ring that stays empty with nothing to read is a fault within two seconds") {
    Queue q;
    q.packets(10);
    q.watch(1'000, [] {});
    q.now.fill.consumed = q.now.fill.produced;
    CHECK(q.watch(2'000, [] {}) == Fault::FillRingEmpty);
}

TEST_CASE("a burst that empties the fill ring for a moment is no fault") {
    Queue q;
    bool low = false;
    CHECK(q.watch(20'000, [&] {
        low = !low;
        q.packets(4'000);
        q.now.fill.consumed = low ? q.now.fill.produced : q.now.fill.produced - 2'048;
        q.now.dropped += low ? 100 : 0;
        q.now.found_fill_empty += low ? 100 : 0;
    }) == Fault::None);
}

TEST_CASE("a NIC that has taken all buffers itself is well until packets arrive and none comes") {
    Queue q;
    q.zero_copy = true;
    q.now.fill.consumed = q.now.fill.produced;
    CHECK(q.watch(30'000, [] {}) == Fault::None);
    CHECK(q.watch(5'000, [&] { q.arrived += 3; }) == Fault::FillRingEmpty);
}

TEST_CASE("packets that are steered to a queue and do not arrive are a fault after two seconds") {
    Queue q;
    q.packets(10);
    q.watch(500, [] {});
    // One is enough, if nothing has been received since.
    q.arrived += 1;
    CHECK(q.watch(1'500, [] {}) == Fault::None);
    CHECK(q.watch(2'000, [] {}) == Fault::NothingReceived);
}

TEST_CASE("a packet that is counted before it is received is no fault") {
    Queue q;
    q.packets(10);
    q.watch(500, [] {});
    q.arrived += 1;
    q.watch(kStep, [] {});
    q.packets(1);
    q.arrived -= 1;
    CHECK(q.watch(30'000, [] {}) == Fault::None);
}

TEST_CASE("packets that the kernel drops as too long are no fault, however many") {
    Queue q;
    CHECK(q.watch(60'000, [&] {
        q.arrived += 1'000;
        q.now.dropped += 1'000;
    }) == Fault::None);
}

TEST_CASE("packets that the kernel drops for want of a buffer do not excuse the queue") {
    Queue q;
    q.zero_copy = true;
    q.now.fill.consumed = q.now.fill.produced;
    CHECK(q.watch(5'000, [&] {
        q.arrived += 1'000;
        q.now.dropped += 1'000;
        q.now.found_fill_empty += 1'000;
    }) == Fault::FillRingEmpty);
}

TEST_CASE("received packets that nobody takes are a fault; that some are taken is none") {
    Queue q;
    q.now.rx.produced = 100;
    CHECK(q.watch(10'000, [&] {
        q.now.rx.produced += 10;
        q.now.rx.consumed += 10;
    }) == Fault::None);
    CHECK(q.watch(3'000, [] {}) == Fault::NotRead);
}

TEST_CASE("packets that wait to be sent are asked for again, and are a fault after two seconds") {
    Queue q;
    q.now.tx = {64, 32};
    q.watch(2 * kStep, [] {});
    CHECK(q.judge.wants_kick());
    CHECK(q.watch(3'000, [] {}) == Fault::NothingSent);
}

TEST_CASE("nothing leaves by an interface without carrier, and that is no fault of the queue") {
    Queue q;
    q.now.tx = {64, 32};
    q.running = false;
    CHECK(q.watch(30'000, [] {}) == Fault::None);
    CHECK(!q.judge.wants_kick());
}

TEST_CASE("what was seen before the process was stopped is forgotten") {
    Queue q;
    q.now.fill.consumed = q.now.fill.produced;
    CHECK(q.watch(750, [] {}) == Fault::None);
    q.judge.forget();
    q.ms += 60'000;
    CHECK(q.watch(750, [] {}) == Fault::None);
    CHECK(q.watch(1'000, [] {}) == Fault::FillRingEmpty);
}

TEST_CASE("ring positions that pass 2^32 are counted on") {
    Queue q;
    q.now.fill = {1'024, 0xffff'fc00U};
    q.now.rx = {0xffff'fffeU, 0xffff'fffeU};
    q.now.tx = {0xffff'fff0U, 0xffff'fff0U};
    CHECK(q.now.fill.waiting() == 2'048);
    CHECK(q.watch(20'000, [&] { q.packets(300); }) == Fault::None);
}

TEST_CASE("a drop that is seen a moment after the arrival is no fault either") {
    Queue q;
    CHECK(q.watch(60'000, [&] {
        q.now.dropped = q.arrived;
        q.arrived += q.ms % 500 == 0 ? 1'000 : 0;
    }) == Fault::None);
}
