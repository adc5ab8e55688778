// Where packet buffers lie, and what the AF_XDP driver registers of them. Small pages, as tests may
// count on no others; scripts/soak ports tries huge ones too.
#include "dataplane/ports/packet_pool.h"

#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <catch2/catch.hpp>
#include <set>

#include "dataplane/config/config.h"
#include "tests/support/pipeline.h"

using namespace dr;

namespace {

constexpr unsigned kBuffers = 2048;

PoolWish wish(std::uint16_t mtu, bool xdp) {
    static unsigned serial = 0;
    PoolWish w;
    w.name = "pool-" + std::to_string(serial++);
    w.buffers = kBuffers;
    w.cache = 256;
    w.data_room = mbuf_data_room(mtu);
    w.xdp = xdp;
    return w;
}

std::unique_ptr<PacketPool> made(const PoolWish& w) {
    REQUIRE(test::start_eal());
    std::string error;
    auto pool = PacketPool::create(w, &error);
    INFO(error);
    REQUIRE(pool != nullptr);
    return pool;
}

}  // namespace

TEST_CASE("every buffer that can be taken lies inside what AF_XDP registers, for each MTU") {
    for (const unsigned mtu : {1280U, 1500U, 2000U, 3000U, 3498U}) {
        CAPTURE(mtu);
        const auto pool = made(wish(static_cast<std::uint16_t>(mtu), true));
        const std::vector<void*> outside = outside_umem(pool->get());
        const std::set<void*> bad(outside.begin(), outside.end());
        CHECK(bad.size() == pool->withheld());
        std::vector<rte_mbuf*> all(pool->buffers());
        REQUIRE(rte_pktmbuf_alloc_bulk(pool->get(), all.data(), pool->buffers()) == 0);
        for (rte_mbuf* m : all) REQUIRE(!bad.contains(m));
        // There is not one more.
        CHECK(rte_pktmbuf_alloc(pool->get()) == nullptr);
        for (rte_mbuf* m : all) rte_pktmbuf_free(m);
        CHECK(pool->in_use() == 0);
    }
}

TEST_CASE("on small pages no buffer is withheld, and none crosses a page") {
    const auto pool = made(wish(1500, true));
    CHECK(pool->buffers() >= kBuffers - 1);
    CHECK(pool->buffer_bytes() == 4096);
    rte_mbuf* m = rte_pktmbuf_alloc(pool->get());
    REQUIRE(m != nullptr);
    const auto at = reinterpret_cast<std::uintptr_t>(m) - pool->get()->header_size;
    CHECK(at % 4096 == 0);
    rte_pktmbuf_free(m);
}

TEST_CASE("a buffer for AF_XDP has the same room for a packet as one for other ports") {
    const auto xdp = made(wish(1500, true));
    const auto other = made(wish(1500, false));
    CHECK(rte_pktmbuf_data_room_size(xdp->get()) == rte_pktmbuf_data_room_size(other->get()));
    rte_mbuf* m = rte_pktmbuf_alloc(xdp->get());
    REQUIRE(m != nullptr);
    CHECK(rte_pktmbuf_headroom(m) == RTE_PKTMBUF_HEADROOM);
    CHECK(m->buf_len == mbuf_data_room(1500));
    rte_pktmbuf_free(m);
}

TEST_CASE("a plain pool on small pages is what AF_XDP must not be given: buffers lie outside") {
    const auto pool = made(wish(1500, false));
    CHECK(outside_umem(pool->get()).size() > kBuffers / 4);
}

TEST_CASE("a pool tells how many of its buffers are in use") {
    const auto pool = made(wish(1500, true));
    REQUIRE(pool->in_use() == 0);
    std::vector<rte_mbuf*> some(300);
    REQUIRE(rte_pktmbuf_alloc_bulk(pool->get(), some.data(), 300) == 0);
    CHECK(pool->in_use() == 300);
    for (rte_mbuf* m : some) rte_pktmbuf_free(m);
    CHECK(pool->in_use() == 0);
}

TEST_CASE("a pool that memory does not suffice for is refused, with what would help") {
    REQUIRE(test::start_eal());
    PoolWish w = wish(1500, true);
    w.buffers = 1U << 22;
    std::string error;
    CHECK(PacketPool::create(w, &error) == nullptr);
    CHECK(error.find("raise memory_mib or lower mbufs") != std::string::npos);
}
