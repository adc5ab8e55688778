// Allocation of tunnel ids.
#include "control/model/tunnel_ids.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <set>
#include <vector>

namespace dr::control::test {
namespace {

// Picks and takes `count` ids.
std::vector<std::uint32_t> allocate(TunnelIds& ids, std::size_t count) {
    std::vector<std::uint32_t> out;
    for (std::size_t i = 0; i < count; ++i) {
        const auto id = ids.pick(TunnelIds::Clock::now());
        if (!id) break;
        ids.take(*id, 7);
        out.push_back(*id);
    }
    return out;
}

}  // namespace

TEST_CASE("each slot below the capacity is handed out once, down to the last, and slot 0 never") {
    constexpr std::uint32_t kCapacity = 1U << 20;
    TunnelIds ids;
    ids.set_capacity(kCapacity);
    std::vector<bool> seen(kCapacity);
    for (const std::uint32_t id : allocate(ids, kCapacity)) {
        const std::uint32_t slot = TunnelIds::slot(id);
        REQUIRE(slot != 0);
        REQUIRE(slot < kCapacity);
        REQUIRE_FALSE(seen[slot]);
        REQUIRE(TunnelIds::generation(id) != 0);
        seen[slot] = true;
    }
    CHECK(std::count(seen.begin(), seen.end(), true) == kCapacity - 1);
    CHECK_FALSE(ids.pick(TunnelIds::Clock::now()));
}

TEST_CASE("ids that rest after a deletion leave others to a drd that has not seen a data plane") {
    TunnelIds ids;
    ids.set_capacity(4'000'000, false);
    for (int i = 0; i < 1000; ++i) {
        const auto id = ids.pick(TunnelIds::Clock::now());
        REQUIRE(id);
        ids.take(*id, 7);
        ids.release(*id, TunnelIds::Clock::now());
    }
}

TEST_CASE("an id does not follow from the ids that were handed out before") {
    constexpr std::size_t kIds = 4'000;
    TunnelIds ids;
    ids.set_capacity(4'000'000);
    const auto got = allocate(ids, kIds);
    REQUIRE(got.size() == kIds);
    unsigned near = 0, ascending = 0;
    std::set<std::uint32_t> generations, regions;
    for (std::size_t i = 0; i < kIds; ++i) {
        generations.insert(TunnelIds::generation(got[i]));
        regions.insert(TunnelIds::slot(got[i]) / 40'000);
        if (i == 0) continue;
        const auto a = TunnelIds::slot(got[i - 1]);
        const auto b = TunnelIds::slot(got[i]);
        near += (a > b ? a - b : b - a) < 400 ? 1U : 0U;
        ascending += b > a ? 1U : 0U;
    }
    // Drawn at random one pair in 5,000 is so near, half of all ascend, every generation occurs.
    CHECK(near < 20);
    CHECK(ascending > 1'700);
    CHECK(ascending < 2'300);
    CHECK(generations.size() > 245);
    CHECK(regions.size() == 100);
    // Another process, the same situation.
    TunnelIds again;
    again.set_capacity(4'000'000);
    CHECK(allocate(again, 10) != std::vector<std::uint32_t>(got.begin(), got.begin() + 10));
}

TEST_CASE("tunnel ids end below the capacity, and a slot taken in vain is fresh again") {
    TunnelIds ids;
    ids.set_capacity(3);
    ids.take(0x05000001, 7);
    for (int i = 0; i < 20; ++i)
        CHECK(TunnelIds::slot(ids.pick(TunnelIds::Clock::now()).value()) == 2);
    ids.forget(0x05000001);
    const auto got = allocate(ids, 9);
    REQUIRE(got.size() == 2);
    CHECK(TunnelIds::slot(got[0]) + TunnelIds::slot(got[1]) == 3);
    CHECK_FALSE(ids.pick(TunnelIds::Clock::now()));
    ids.set_capacity(4);
    CHECK(TunnelIds::slot(ids.pick(TunnelIds::Clock::now()).value()) == 3);
}

TEST_CASE("a slot that is taken, forgotten and drawn again is never handed out twice") {
    TunnelIds ids;
    ids.set_capacity(9);
    for (int i = 0; i < 50; ++i) {
        const auto id = ids.pick(TunnelIds::Clock::now()).value();
        ids.take(id, 7);
        ids.forget(id);
        ids.take(0x03000004, 8);
        ids.forget(0x03000004);
    }
    const auto got = allocate(ids, 100);
    CHECK(std::set<std::uint32_t>(got.begin(), got.end()).size() == 8);
    CHECK(got.size() == 8);
}

TEST_CASE("until a data plane has told its capacity, slots are low enough for a small one") {
    TunnelIds ids;
    ids.set_capacity(4'000'000, false);
    for (const std::uint32_t id : allocate(ids, 32)) CHECK(TunnelIds::slot(id) < 64);
    std::uint32_t highest = 0;
    for (const std::uint32_t id : allocate(ids, 1'000))
        highest = std::max(highest, TunnelIds::slot(id));
    CHECK(highest < 4 * 1'032);
    ids.set_capacity(4'000'000);
    highest = 0;
    for (const std::uint32_t id : allocate(ids, 100))
        highest = std::max(highest, TunnelIds::slot(id));
    CHECK(highest > 100'000);
}

TEST_CASE("a freed slot is not drawn while it rests, and then has the next generation") {
    TunnelIds ids(std::chrono::seconds(10));
    ids.set_capacity(3);
    const auto now = TunnelIds::Clock::now();
    const auto got = allocate(ids, 2);
    REQUIRE(got.size() == 2);
    ids.release(got[0], now);
    CHECK_FALSE(ids.pick(now + std::chrono::seconds(9)));
    CHECK(ids.pick(now + std::chrono::seconds(10)) == TunnelIds::next_generation(got[0]));
}

}  // namespace dr::control::test
