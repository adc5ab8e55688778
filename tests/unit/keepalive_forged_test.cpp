// What somebody can do who has seen a tunnel's keepalives, but has no key.
#include <rte_cycles.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "dataplane/worker/context.h"
#include "tests/unit/keepalive_world.h"

namespace dr::keepalive::test {

using liveness::kMillisecond;
using liveness::kSecond;
using liveness::State;

namespace {

constexpr std::uint32_t kTunnel = 0x01000008;
const Endpoint kDr{4, 4754, {192, 0, 2, 1}};

void put64(Bytes& message, unsigned at, std::uint64_t value) {
    for (unsigned i = 0; i < 8; ++i)
        message[at + i] = static_cast<std::uint8_t>(value >> (56 - 8 * i));
}

struct Attacked {
    explicit Attacked(std::uint64_t tsc_per_ms = 1) : w(1, tsc_per_ms) {
        Site site;
        site.lines = {{.name = "a", .id = kTunnel, .remote = "198.51.100.2"}};
        w.provision(site, {{{"a", 1}}});
        ur = &w.add_ur(site);
        REQUIRE(w.run_until([&] { return up(); }, kSecond));
        w.run(kSecond);
    }
    [[nodiscard]] bool up() const {
        return w.live(kTunnel).state == static_cast<std::uint8_t>(State::Up) &&
               ur->state(0) == State::Up;
    }
    [[nodiscard]] const KeepalivePeer& peer() const {
        return w.service->handover()->peers[kTunnel & 0xffffff];
    }
    // A keepalive with the peer's salt and a tag that is wrong.
    [[nodiscard]] Bytes forged(std::uint64_t counter) const {
        Bytes message(88, 0x11);
        message[0] = 0x11;
        put64(message, 8, peer().salt.load());
        put64(message, 16, counter);
        return message;
    }
    // Floods, and returns how many of them reached the engine.
    std::uint64_t flood(const Bytes& message, unsigned count) {
        const std::uint64_t before = w.exit(Exit::DropKeepaliveRate);
        for (unsigned i = 0; i < count; ++i) {
            w.put(World::outer(ur->from[0], kDr, kTunnel, wire::kEtherKeepalive, message));
            if (i % 100 == 99) w.step();
        }
        return count - (w.exit(Exit::DropKeepaliveRate) - before);
    }

    World w;
    Ur* ur{};
};

}  // namespace

TEST_CASE("what is believed of a peer follows its messages, and workers see it") {
    Attacked a;
    const std::uint64_t salt = a.peer().salt.load();
    const std::uint64_t counter = a.peer().counter.load();
    CHECK(salt != 0);
    CHECK(salt != KeepalivePeer::kNoSalt);
    CHECK(counter > 5);
    a.w.run(kSecond);
    CHECK(a.peer().salt.load() == salt);
    CHECK(a.peer().counter.load() >= counter + 5);
}

TEST_CASE("a flood of replayed counters under the right salt takes the limited way") {
    Attacked a;
    const std::uint64_t newest = a.peer().counter.load();
    for (const std::uint64_t counter : {newest, newest - 1, std::uint64_t{1}})
        CHECK(a.flood(a.forged(counter), 500) < 100);
    a.w.run(3 * kSecond);
    CHECK(a.up());
    CHECK(a.w.service->shard(0).statistics().downs == 0);
}

TEST_CASE("what looks genuine is held to a pace, tunnel by tunnel") {
    // By the machine's clock: what comes up takes less than what is allowed at once.
    Attacked a(0);
    // Salt and counter are right, only the tag is wrong: only the engine can tell.
    const std::uint64_t newest = a.peer().counter.load();
    const std::uint64_t begin = rte_rdtsc();
    const std::uint64_t reached = a.flood(a.forged(newest + 1000), 2000);
    const std::uint64_t us = (rte_rdtsc() - begin) * 1'000'000 / rte_get_tsc_hz();
    const std::uint64_t spare =
        GenuineLimiter::kAtOnce + us * GenuineLimiter::kPerSecond / 1'000'000;
    CHECK(reached <= spare + KeepalivePace::kAtOnce + us / 1000 / KeepalivePace::kGapMs + 2);
    CHECK(reached >= KeepalivePace::kAtOnce);
}

TEST_CASE("somebody who has seen a tunnel's salt does not silence it") {
    Attacked a(0);
    const Bytes forged = a.forged(a.peer().counter.load() + 1'000'000);
    // More than the tunnel's pace allows, less than what the worker has to spare at once.
    a.flood(forged, 100);
    const std::uint64_t before = a.w.service->shard(0).statistics().received;
    for (unsigned i = 0; i < 100; ++i) {
        a.flood(forged, 1);
        a.w.run(20 * kMillisecond);
    }
    CHECK(a.w.service->shard(0).statistics().received >= before + 10);
    CHECK(a.up());
    CHECK(a.w.service->shard(0).statistics().downs == 0);
}

TEST_CASE("a flood of forged keepalives does not keep a tunnel from following its UR") {
    Attacked a;
    a.ur->from[0].port = 40'000;
    const Bytes forged(88, 0x11);
    for (unsigned i = 0; i < 200; ++i) {
        a.flood(forged, 100);
        a.w.step();
    }
    CHECK(a.w.live(kTunnel).port == 40'000);
    CHECK(a.w.exit(Exit::DropKeepaliveRate) > 10'000);
}

TEST_CASE("the pace allows a burst, then one message in each gap, whatever the clock has come to") {
    KeepalivePace pace{};
    for (const std::uint32_t start : {0U, 5U, 0x7fffffffU, 0xfffffff0U, 0x40000000U}) {
        unsigned taken = 0;
        for (unsigned i = 0; i < 100; ++i) taken += pace.take(start);
        CHECK(taken == KeepalivePace::kAtOnce);
        CHECK_FALSE(pace.take(start + KeepalivePace::kGapMs - 1));
        CHECK(pace.take(start + KeepalivePace::kGapMs));
        CHECK_FALSE(pace.take(start + KeepalivePace::kGapMs));
    }
}

TEST_CASE("the next message of the peer does not wait behind such a flood") {
    Attacked a;
    a.flood(a.forged(1), 500);
    const std::uint64_t before = a.w.service->shard(0).statistics().received;
    for (unsigned i = 0; i < 20; ++i) {
        a.flood(a.forged(1), 100);
        a.w.run(50 * kMillisecond);
    }
    CHECK(a.w.service->shard(0).statistics().received >= before + 8);
}

}  // namespace dr::keepalive::test
