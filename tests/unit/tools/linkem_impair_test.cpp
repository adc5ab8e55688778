#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <vector>

#include "tests/linkem/impair.h"

using namespace dr::linkem;

namespace {

constexpr Nanoseconds kMs = 1'000'000;

Packet packet(Packet::Kind kind = Packet::Kind::Other, std::uint32_t ip_bytes = 986) {
    Packet p;
    p.kind = kind;
    p.family = 4;
    p.ip_bytes = ip_bytes;
    p.frame_bytes = ip_bytes + 14;
    return p;
}

// Which of `n` packets, one a millisecond, are lost.
std::vector<bool> losses(Direction& direction, int n) {
    std::vector<bool> lost;
    for (int i = 0; i < n; ++i)
        lost.push_back(direction.decide(packet(), i * kMs).drop.has_value());
    return lost;
}

Impairments with_loss(double probability) {
    Impairments i;
    i.loss = probability;
    return i;
}

Delay spread(Delay::Kind kind, Nanoseconds first, Nanoseconds second) {
    Delay d;
    d.kind = kind;
    d.first = first;
    d.second = second;
    return d;
}

Direction configured(const Impairments& impairments, std::uint64_t seed = 1, unsigned number = 0) {
    Direction direction(seed, number);
    direction.configure(impairments, 0);
    return direction;
}

// The delays of `n` packets far apart, ascending.
std::vector<double> delays_ms(const Impairments& impairments, int n) {
    auto direction = configured(impairments);
    std::vector<double> delays;
    for (int i = 0; i < n; ++i) {
        const Nanoseconds now = i * 60'000 * kMs;
        delays.push_back(static_cast<double>(direction.decide(packet(), now).due[0] - now) / kMs);
    }
    std::sort(delays.begin(), delays.end());
    return delays;
}

}  // namespace

TEST_CASE("without impairments a packet leaves at once, alone") {
    Direction direction(1, 0);
    const auto decision = direction.decide(packet(), 5 * kMs);
    CHECK_FALSE(decision.drop);
    CHECK(decision.copies == 1);
    CHECK(decision.due[0] == 5 * kMs);
}

TEST_CASE("the same seed and packets give the same losses, another seed or direction others") {
    auto first = configured(with_loss(0.3));
    auto second = configured(with_loss(0.3));
    auto seeded = configured(with_loss(0.3), 2);
    auto reverse = configured(with_loss(0.3), 1, 1);
    const auto expected = losses(first, 1000);
    CHECK(losses(second, 1000) == expected);
    CHECK(losses(seeded, 1000) != expected);
    CHECK(losses(reverse, 1000) != expected);
    first.reseed(1);
    CHECK(losses(first, 1000) == expected);
}

TEST_CASE("neighbour discovery between the packets changes none of their fates") {
    auto quiet = configured(with_loss(0.3));
    auto noisy = configured(with_loss(0.3));
    for (int i = 0; i < 500; ++i) {
        const auto upkeep = noisy.decide(packet(Packet::Kind::Upkeep), i);
        CHECK_FALSE(upkeep.drop);
        REQUIRE(noisy.decide(packet(), i).drop == quiet.decide(packet(), i).drop);
    }
    CHECK(noisy.counters[Counter::upkeep] == 500);
}

TEST_CASE("duplication and delay switched on change no loss") {
    auto plain = configured(with_loss(0.3));
    auto more = with_loss(0.3);
    more.duplicate = 0.5;
    more.delay = spread(Delay::Kind::Normal, 20 * kMs, 5 * kMs);
    auto rich = configured(more);
    CHECK(losses(rich, 1000) == losses(plain, 1000));
    CHECK(rich.counters[Counter::duplicated] > 250);
}

TEST_CASE("independent loss has the probability that was asked for") {
    auto direction = configured(with_loss(0.05));
    const auto lost = losses(direction, 100'000);
    CHECK(std::abs(std::count(lost.begin(), lost.end(), true) - 5000) < 300);
    CHECK(direction.counters[Counter::drop_loss] ==
          static_cast<std::uint64_t>(std::count(lost.begin(), lost.end(), true)));
}

TEST_CASE("Gilbert-Elliott loss has the bursts and the total of its chain") {
    Impairments i;
    i.gilbert_elliott = GilbertElliott{.enter = 0.01, .leave = 0.2};
    auto direction = configured(i);
    const auto lost = losses(direction, 200'000);
    int bursts = 0;
    for (std::size_t k = 1; k < lost.size(); ++k) bursts += lost[k] && !lost[k - 1];
    const auto total = static_cast<double>(std::count(lost.begin(), lost.end(), true));
    CHECK(std::abs(total / 200'000 - 0.01 / 0.21) < 0.005);
    CHECK(std::abs(total / bursts - 5) < 0.5);  // 1 / leave
    CHECK(direction.counters[Counter::drop_burst_loss] == static_cast<std::uint64_t>(total));
}

TEST_CASE("delays have the distribution that was asked for") {
    Impairments i;
    const auto quantile = [](const std::vector<double>& sorted, double q) {
        return sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size()))];
    };
    SECTION("fixed") {
        i.delay.first = 25 * kMs;
        CHECK(delays_ms(i, 10) == std::vector<double>(10, 25.0));
    }
    SECTION("uniform") {
        i.delay = spread(Delay::Kind::Uniform, 10 * kMs, 30 * kMs);
        const auto d = delays_ms(i, 20'000);
        CHECK(d.front() >= 10);
        CHECK(d.back() <= 30);
        CHECK(quantile(d, 0.25) == Approx(15).margin(0.3));
        CHECK(quantile(d, 0.75) == Approx(25).margin(0.3));
    }
    SECTION("normal") {
        i.delay = spread(Delay::Kind::Normal, 50 * kMs, 10 * kMs);
        const auto d = delays_ms(i, 20'000);
        CHECK(quantile(d, 0.5) == Approx(50).margin(0.4));
        CHECK(quantile(d, 0.8413) == Approx(60).margin(0.5));
        CHECK(quantile(d, 0.0228) == Approx(30).margin(1));
    }
    SECTION("lognormal, its tail cut") {
        i.delay = spread(Delay::Kind::Lognormal, 43 * kMs, 0);
        i.delay.spread = 2.315;  // the 90th percentile is 19.4 times the median
        i.delay.most = 2333 * kMs;
        const auto d = delays_ms(i, 50'000);
        CHECK(quantile(d, 0.5) == Approx(43).epsilon(0.05));
        CHECK(quantile(d, 0.9) == Approx(836).epsilon(0.06));
        CHECK(d.back() == 2333);
    }
    SECTION("fixed with jitter") {
        i.delay.first = 20 * kMs;
        i.jitter = 5 * kMs;
        const auto d = delays_ms(i, 20'000);
        CHECK(d.front() >= 15);
        CHECK(d.back() <= 25);
        CHECK(quantile(d, 0.25) == Approx(17.5).margin(0.15));
    }
}

TEST_CASE("a delay trace is replayed packet by packet, or by the clock") {
    Impairments i;
    i.keep_order = false;
    i.delay.kind = Delay::Kind::Trace;
    i.delay.trace =
        std::make_shared<const std::vector<Nanoseconds>>(std::vector<Nanoseconds>{1, 2, 3});
    SECTION("packet by packet, and from the start") {
        auto direction = configured(i);
        for (const Nanoseconds expected : {1, 2, 3, 1, 2})
            CHECK(direction.decide(packet(), 0).due[0] == expected);
    }
    SECTION("by the clock, from when it was set") {
        i.delay.trace_interval = 100;
        Direction direction(1, 0);
        direction.configure(i, 1000);
        CHECK(direction.decide(packet(), 1000).due[0] == 1001);
        CHECK(direction.decide(packet(), 1099).due[0] == 1100);
        CHECK(direction.decide(packet(), 1250).due[0] == 1253);
        CHECK(direction.decide(packet(), 1300).due[0] == 1301);
    }
}

TEST_CASE("jitter keeps the order of packets unless it may change it") {
    Impairments i;
    i.delay.first = 20 * kMs;
    i.jitter = 10 * kMs;
    const auto overtakings = [](Direction direction) {
        int n = 0;
        Nanoseconds last = 0;
        for (int k = 0; k < 1000; ++k) {
            const auto due = direction.decide(packet(), k * kMs).due[0];
            n += due < last;
            last = due;
        }
        return n;
    };
    CHECK(overtakings(configured(i)) == 0);
    i.keep_order = false;
    CHECK(overtakings(configured(i)) > 100);
}

TEST_CASE("reordering holds the chosen packets back, and nobody behind them") {
    Impairments i;
    i.delay.first = 10 * kMs;
    i.reorder = Reorder{.probability = 0.1, .hold = 3 * kMs};
    auto direction = configured(i);
    int held = 0;
    for (int k = 0; k < 2000; ++k) {
        const Nanoseconds late = direction.decide(packet(), k * kMs).due[0] - k * kMs;
        CHECK((late == 10 * kMs || late == 13 * kMs));
        held += late == 13 * kMs;
    }
    CHECK(std::abs(held - 200) < 45);
    CHECK(direction.counters[Counter::reordered] == static_cast<std::uint64_t>(held));
}

TEST_CASE("a rate limit spaces packets, fills its queue to the byte, and drops the rest") {
    Impairments i;
    i.rate = Rate{.bits_per_second = 8'000'000, .queue_bytes = 5000};  // 1000 bytes a millisecond
    i.delay.first = 20 * kMs;
    auto direction = configured(i);
    for (int k = 1; k <= 5; ++k) CHECK(direction.decide(packet(), 0).due[0] == (k + 20) * kMs);
    CHECK(direction.queued_bytes(0) == 5000);
    CHECK(direction.decide(packet(), 0).drop == Counter::drop_queue);
    CHECK_FALSE(direction.decide(packet(), kMs).drop);
    CHECK(direction.counters[Counter::drop_queue] == 1);
    CHECK(direction.queued_bytes(10 * kMs) == 0);
}

TEST_CASE("a black hole for keepalives passes data, one for data passes keepalives") {
    Impairments i;
    i.black_hole = BlackHole::Keepalives;
    auto direction = configured(i);
    CHECK(direction.decide(packet(Packet::Kind::Keepalive), 0).drop == Counter::drop_keepalive);
    CHECK_FALSE(direction.decide(packet(Packet::Kind::Data), 0).drop);
    i.black_hole = BlackHole::Data;
    direction.configure(i, 0);
    CHECK(direction.decide(packet(Packet::Kind::Data), 0).drop == Counter::drop_data);
    CHECK_FALSE(direction.decide(packet(Packet::Kind::Keepalive), 0).drop);
    CHECK_FALSE(direction.decide(packet(Packet::Kind::Other), 0).drop);
}

TEST_CASE("a cut path lets neighbour discovery live, a cut of all does not") {
    Impairments i;
    i.cut = Cut::Path;
    auto direction = configured(i);
    CHECK(direction.decide(packet(Packet::Kind::Keepalive), 0).drop == Counter::drop_cut);
    CHECK_FALSE(direction.decide(packet(Packet::Kind::Upkeep), 0).drop);
    i.cut = Cut::All;
    direction.configure(i, 0);
    CHECK(direction.decide(packet(Packet::Kind::Upkeep), 0).drop == Counter::drop_cut);
}

TEST_CASE("what is longer than the MTU is dropped, or split where a router would") {
    Impairments i;
    i.mtu = Mtu{.bytes = 1400, .icmp = true};
    auto direction = configured(i);
    auto splittable = packet(Packet::Kind::Other, 1401);
    splittable.may_fragment = true;
    CHECK_FALSE(direction.decide(packet(Packet::Kind::Other, 1400), 0).drop);
    CHECK(direction.decide(packet(Packet::Kind::Other, 1401), 0).drop == Counter::drop_mtu);
    CHECK(direction.decide(splittable, 0).fragment);
    i.mtu->icmp = false;
    direction.configure(i, 0);
    CHECK(direction.decide(splittable, 0).drop == Counter::drop_mtu);
    i.mtu->ignore_df = true;
    direction.configure(i, 0);
    auto whole = packet(Packet::Kind::Other, 1401);
    whole.family = 4;
    CHECK(direction.decide(whole, 0).fragment);
    whole.family = 6;
    CHECK(direction.decide(whole, 0).drop == Counter::drop_mtu);
}
