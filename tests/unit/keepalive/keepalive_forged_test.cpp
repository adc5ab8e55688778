// What somebody can do who has no key: who guesses, and who has seen a tunnel's keepalives.
#include <rte_cycles.h>
#include <sys/mman.h>

#include <catch2/catch.hpp>
#include <cstring>

#include "dataplane/liveness/auth.h"
#include "dataplane/worker/context.h"
#include "tests/unit/keepalive/keepalive_world.h"

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

// As of somebody who knows a tunnel's id, and that it has the key number 1.
Bytes guessed(std::uint32_t n) {
    Bytes message(88, 0x11);
    message[0] = 0x11;
    message[1] = 0;
    message[2] = 0;
    message[3] = 88;
    message[4] = 1;
    put64(message, 8, 0x1234567800000000ULL + n);
    return message;
}

Endpoint spoofed(std::uint32_t n) {
    return {4,
            static_cast<std::uint16_t>(1024 + n % 60'000),
            {static_cast<std::uint8_t>(1 + n % 200), static_cast<std::uint8_t>(n * 7),
             static_cast<std::uint8_t>(n * 13), 9}};
}

struct Attacked {
    explicit Attacked(std::uint64_t tsc_per_ms = 1) : w(1, tsc_per_ms) {
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
    [[nodiscard]] std::uint64_t believed() const {
        return w.service->shard(0).statistics().received;
    }
    // A keepalive with the peer's salt and a tag that is wrong.
    [[nodiscard]] Bytes forged(std::uint64_t counter) const {
        Bytes message = guessed(0);
        put64(message, 8, peer().salt.load());
        put64(message, 16, counter);
        return message;
    }
    // The UR's own, never sent.
    [[nodiscard]] Bytes genuine(std::uint64_t counter, State state = State::Up) const {
        Bytes message(88);
        wire::Message m;
        m.key_number = 1;
        m.state = state;
        m.multiplier = 3;
        m.salt = peer().salt.load();
        m.counter = counter;
        m.desired_tx_us = m.required_rx_us = 100'000;
        REQUIRE(wire::encode(m, message) == 88);
        liveness::TunnelKey key{1, key_of(site.lines[0])};
        liveness::write_tag(liveness::derive_mac_key(key, liveness::Role::UserRouter, kTunnel),
                            message);
        return message;
    }
    void put(const Bytes& message, const Endpoint& from) {
        w.put(World::outer(from, kDr, kTunnel, wire::kEtherKeepalive, message));
    }
    void flood(const Bytes& message, unsigned count) {
        for (unsigned i = 0; i < count; ++i) {
            put(message, ur->from[0]);
            if (i % 100 == 99) w.step();
        }
    }
    // The UR starts again, while `attack` puts packets each millisecond: until it is Up. The
    // limits are of the machine's clock, so virtual time goes no faster.
    // Until a millisecond has passed since the turn before.
    static void await(std::uint64_t& turn) {
        while (rte_rdtsc() < turn) {
        }
        turn += rte_get_tsc_hz() / 1000;
    }
    [[nodiscard]] Time restart_under(const std::function<void()>& attack) {
        ur->cut[0] = true;
        ur = &w.add_ur(site);
        const Time start = w.now;
        std::uint64_t turn = rte_rdtsc();
        const auto ended = [&] {
            attack();
            await(turn);
            return ur->state(0) == State::Up;
        };
        return w.run_until(ended, 5 * kSecond) ? w.now - start : liveness::kNever;
    }

    Site site;
    World w;
    Ur* ur{};
};

constexpr unsigned kEachMs = 20;  // 20,000 a second

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

TEST_CASE("guessed keepalives from anywhere and from the UR's own address delay no start of it") {
    Attacked a;
    std::uint32_t n = 0;
    const Time took = a.restart_under([&] {
        for (unsigned i = 0; i < kEachMs; ++i, ++n)
            a.put(guessed(n), n % 2 != 0 ? spoofed(n) : a.ur->from[0]);
    });
    CHECK(took < kSecond);
    CHECK(a.w.service->shard(0).statistics().unknown_salt < 100);
}

TEST_CASE("keepalives of an earlier start, replayed from anywhere, delay no start of the UR") {
    Attacked a;
    std::vector<Bytes> seen;
    a.w.record = &seen;
    a.w.run(2 * kSecond);
    a.w.record = nullptr;
    REQUIRE(seen.size() > 10);
    std::uint32_t n = 0;
    const auto replay = [&] {
        for (unsigned i = 0; i < kEachMs; ++i, ++n) {
            const Bytes& packet = seen[n % seen.size()];
            a.put({packet.begin() + 36, packet.end()}, n % 2 != 0 ? spoofed(n) : a.ur->from[0]);
        }
    };
    // Of the start that is believed, then of one that is not any more.
    CHECK(a.restart_under(replay) < kSecond);
    a.w.run(100 * kMillisecond);
    CHECK(a.restart_under(replay) < kSecond);
}

TEST_CASE("keepalives replayed while the tunnel is Up take none of its own") {
    Attacked a(0);
    std::vector<Bytes> seen;
    a.w.record = &seen;
    const std::uint64_t before = a.believed();
    // What a tunnel may have verified is counted by the machine's clock: so the attack keeps to it.
    std::uint64_t turn = rte_rdtsc();
    for (unsigned ms = 0; ms < 2000; ++ms) {
        for (unsigned i = 0; i < kEachMs && !seen.empty(); ++i) {
            const Bytes& packet = seen[seen.size() - 1 - i % std::min<std::size_t>(seen.size(), 4)];
            const Bytes message{packet.begin() + 36, packet.end()};
            a.put(message, i % 2 != 0 ? spoofed(i) : a.ur->from[0]);
        }
        a.w.step();
        a.await(turn);
    }
    CHECK(a.believed() >= before + 18);
    CHECK(a.up());
    CHECK(a.w.service->shard(0).statistics().downs == 0);
}

TEST_CASE("somebody who has seen a tunnel's salt and counters takes none of its pace") {
    Attacked a(0);
    const Bytes forged = a.forged(a.peer().counter.load() + 1'000'000);
    const std::uint64_t before = a.believed();
    const std::uint64_t limited = a.w.exit(Exit::DropKeepaliveRate);
    for (unsigned i = 0; i < 2000; ++i) {
        for (unsigned k = 0; k < 100; ++k) a.put(forged, a.ur->from[0]);
        a.w.step();
    }
    CHECK(a.believed() >= before + 18);
    CHECK(a.up());
    CHECK(a.w.service->shard(0).statistics().downs == 0);
    CHECK(a.w.exit(Exit::DropKeepaliveRate) == limited);
}

TEST_CASE("somebody elsewhere who has seen a tunnel's salt has few of his messages verified") {
    Attacked a(0);
    const Bytes forged = a.forged(~0ULL);
    const std::uint64_t before = a.w.exit(Exit::DropKeepaliveTag);
    const std::uint64_t begin = rte_rdtsc();
    for (unsigned i = 0; i < 100'000; ++i) {
        a.put(forged, spoofed(7));
        if (i % 100 == 99) a.w.step();
    }
    const std::uint64_t us = (rte_rdtsc() - begin) * 1'000'000 / rte_get_tsc_hz();
    // What a tunnel's strays, a network and the rest have at once, and in the time that it took.
    CHECK(a.w.exit(Exit::DropKeepaliveTag) - before <=
          16 + 32 + 4'000 + us * 200'150 / 1'000'000 + 3);
    // The UR moves meanwhile, and is followed by its first message.
    a.ur->from[0].port = 40'000;
    CHECK(a.w.run_until([&] { return a.w.live(kTunnel).port == 40'000; }, 300 * kMillisecond));
}

TEST_CASE("a site that sends without end, with its own key, is held to a pace") {
    // By the machine's clock: what comes up takes less than what is allowed at once.
    Attacked a(0);
    const std::uint64_t before = a.believed();
    std::uint64_t counter = a.peer().counter.load();
    const std::uint64_t begin = rte_rdtsc();
    for (unsigned i = 0; i < 5000; ++i) {
        a.put(a.genuine(++counter), a.ur->from[0]);
        if (i % 100 == 99) a.w.step();
    }
    const std::uint64_t ms = (rte_rdtsc() - begin) * 1000 / rte_get_tsc_hz();
    CHECK(a.believed() - before >= KeepalivePace::kAtOnce / 2);
    CHECK(a.believed() - before <=
          KeepalivePace::kAtOnce + ms / KeepalivePace::kGapMs + 8 + ms / 5 + 20);
    CHECK(a.w.exit(Exit::DropKeepaliveRate) > 1000);
}

TEST_CASE("a tunnel whose owner makes it flap does not fill the events that readers have missed") {
    Attacked a;
    const auto* const header = static_cast<const southbound::LivenessHeader*>(
        mmap(nullptr, a.w.report->bytes(), PROT_READ, MAP_SHARED, a.w.report->fd(), 0));
    REQUIRE(header != MAP_FAILED);
    const auto event = [&](std::uint64_t number) -> const southbound::LivenessEvent& {
        const auto* at = reinterpret_cast<const std::uint8_t*>(header) + header->events;
        return reinterpret_cast<const southbound::LivenessEvent*>(
            at)[number % southbound::kLivenessEventSlots];
    };
    const std::uint64_t before = header->latest.load();
    const std::uint64_t downs = a.w.service->shard(0).statistics().downs;
    std::uint64_t counter = a.peer().counter.load();
    a.ur->cut[0] = true;
    for (unsigned i = 0; i < 4000; ++i) {
        a.put(a.genuine(++counter, i % 2 != 0 ? State::Down : State::Init), a.ur->from[0]);
        a.w.step();
    }
    REQUIRE(a.w.service->shard(0).statistics().downs > downs + 100);
    const std::uint64_t told = header->latest.load() - before;
    CHECK(told < 64 + 8 + 64);  // of the tunnel, and of its subscriber's moves
    CHECK(told > 32);
    // Quiet again: the latest is told, and how many were not.
    a.w.run(3 * kSecond);
    std::uint64_t suppressed = 0;
    for (std::uint64_t n = before + 1; n <= header->latest.load(); ++n)
        suppressed += event(n).suppressed;
    CHECK(suppressed > 200);
    CHECK(event(header->latest.load()).to == a.w.live(kTunnel).state);
    munmap(const_cast<southbound::LivenessHeader*>(header), a.w.report->bytes());
}

TEST_CASE("a message that waits while its key is withdrawn is verified again, and refused") {
    Attacked a;
    const Bytes old = a.genuine(a.peer().counter.load() + 5);
    Site changed = a.site;
    changed.lines[0].key_number = 2;
    changed.lines[0].remote_port = 4755;  // the UR has to say something, and cannot
    a.w.provision(changed, {{{"a", 1}}});
    // The worker has met it, the thread has not.
    a.put(old, a.ur->from[0]);
    while (a.w.worker->poll() != 0) {
    }
    const std::uint64_t believed = a.believed();
    a.ur->cut[0] = true;
    a.w.run(100 * kMillisecond);
    CHECK(a.believed() == believed);
    CHECK(a.w.service->shard(0).statistics().unknown_key == 1);
    // From now on the worker refuses it.
    const std::uint64_t refused = a.w.exit(Exit::DropKeepaliveTag);
    a.put(old, a.ur->from[0]);
    a.w.step();
    CHECK(a.w.exit(Exit::DropKeepaliveTag) == refused + 1);
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

TEST_CASE("one network that sends without end leaves every other its share of verified tags") {
    constexpr std::uint64_t kHz = 1'000'000'000;
    const auto limiter = std::make_unique<CheckLimiter>();
    std::uint64_t now = 10 * kHz;
    unsigned checked = 0;
    for (unsigned i = 0; i < 1'000'000; ++i, now += 1000)
        checked += limiter->take(1, false, 77, now, kHz) ? 1U : 0U;
    CHECK(checked < 210'000);
    CHECK(checked > 190'000);
    unsigned others = 0;
    for (std::uint64_t network = 2; network < 302; ++network)
        others += limiter->take(network, false, 77, now, kHz) ? 1U : 0U;
    CHECK(others >= 295);  // a few share the place of the first
}

}  // namespace dr::keepalive::test
