// Creates the pool of packet buffers inside the memory that AF_XDP registers.
#include "dataplane/ports/packet_pool.h"

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <unistd.h>

#include <algorithm>
#include <unordered_set>

namespace dr {

namespace {

// With huge pages one buffer of this many is withheld; more means an unexpected placement.
constexpr unsigned kTolerated = 64;

std::uint64_t small_page() {
    return static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

// The size of a buffer as the AF_XDP driver counts it.
std::uint64_t pitch_of(const rte_mempool* pool) {
    return rte_mempool_calc_obj_size(pool->elt_size, pool->flags, nullptr);
}

// Private bytes of each buffer, between its structure and its data, that make it as long as a
// page. The data room stays what it is, and so does the longest packet.
std::uint16_t padding(unsigned element, unsigned flags) {
    const std::uint64_t natural = rte_mempool_calc_obj_size(element, flags, nullptr);
    const std::uint64_t page = small_page();
    return static_cast<std::uint16_t>(natural < page ? page - natural : 0);
}

struct Walk {
    UmemRange umem;
    std::uint64_t pitch;
    std::uint64_t page;  // that no buffer may cross; 0: any
    std::vector<void*> outside;
};

void visit(rte_mempool* pool, void* walk, void* object, unsigned) {
    Walk& w = *static_cast<Walk*>(walk);
    const auto begin = reinterpret_cast<std::uintptr_t>(object) - pool->header_size;
    const auto end = begin + w.pitch;
    const bool inside = begin >= w.umem.begin && end <= w.umem.begin + w.umem.bytes;
    const bool crosses = w.page != 0 && begin / w.page != (end - 1) / w.page;
    if (!inside || crosses) w.outside.push_back(object);
}

}  // namespace

UmemRange umem_of(rte_mempool* pool) {
    const rte_mempool_memhdr* first = STAILQ_FIRST(&pool->mem_list);
    if (first == nullptr) return {};
    const auto at = reinterpret_cast<std::uintptr_t>(first->addr);
    const std::uintptr_t begin = at & ~static_cast<std::uintptr_t>(small_page() - 1);
    // Later drivers register the first chunk of memory; only what both register counts.
    const std::uint64_t bytes =
        std::min<std::uint64_t>(pool->populated_size * pitch_of(pool), first->len);
    return {begin, at - begin + bytes};
}

std::vector<void*> outside_umem(rte_mempool* pool) {
    Walk walk{umem_of(pool), pitch_of(pool), rte_eal_has_hugepages() != 0 ? 0 : small_page(), {}};
    rte_mempool_obj_iter(pool, visit, &walk);
    return std::move(walk.outside);
}

std::unique_ptr<PacketPool> PacketPool::create(const PoolWish& wish, std::string* error) {
    const bool padded = wish.xdp && rte_eal_has_hugepages() == 0;
    // Spreading over memory channels would make a padded buffer longer than the page.
    const unsigned flags = padded ? RTE_MEMPOOL_F_NO_SPREAD : 0U;
    const unsigned element = sizeof(rte_mbuf) + wish.data_room;
    rte_pktmbuf_pool_private room{};
    room.mbuf_data_room_size = wish.data_room;
    room.mbuf_priv_size = padded ? padding(element, flags) : std::uint16_t{0};

    std::unique_ptr<PacketPool> self(new PacketPool);
    self->pool_ =
        rte_mempool_create_empty(wish.name.c_str(), wish.buffers, element + room.mbuf_priv_size,
                                 wish.cache, sizeof(rte_pktmbuf_pool_private), wish.node, flags);
    int result = self->pool_ == nullptr ? -rte_errno : 0;
    if (result == 0)
        result = rte_mempool_set_ops_byname(self->pool_, rte_mbuf_best_mempool_ops(), nullptr);
    if (result == 0) {
        rte_pktmbuf_pool_init(self->pool_, &room);
        result = rte_mempool_populate_default(self->pool_);
    }
    if (result < 0) {
        *error = fmt::format(
            "no memory for {} packet buffers of {} bytes on NUMA node {} ({}): "
            "raise memory_mib or lower mbufs",
            wish.buffers, wish.data_room, wish.node, rte_strerror(-result));
        return nullptr;
    }
    rte_mempool_obj_iter(self->pool_, rte_pktmbuf_init, nullptr);
    if (wish.xdp && !self->withhold(error)) return nullptr;
    return self;
}

bool PacketPool::withhold(std::string* error) {
    withheld_ = outside_umem(pool_);
    if (withheld_.size() > pool_->size / kTolerated) {
        *error = fmt::format(
            "{} of {} packet buffers on NUMA node {} lie outside of the memory that AF_XDP can "
            "register ({} bytes each, in {} pieces): the memory is in pieces, free huge pages or "
            "use --no-huge",
            withheld_.size(), pool_->size, pool_->socket_id, pitch_of(pool_), pool_->nb_mem_chunks);
        return false;
    }
    if (withheld_.empty()) return true;
    // No buffer is in use yet: all are taken out, and the usable ones put back.
    std::vector<void*> all(pool_->size);
    if (rte_mempool_generic_get(pool_, all.data(), pool_->size, nullptr) != 0) {
        *error = "packet buffers are missing from a new pool";
        return false;
    }
    const std::unordered_set<void*> kept(withheld_.begin(), withheld_.end());
    std::erase_if(all, [&](void* object) { return kept.contains(object); });
    rte_mempool_generic_put(pool_, all.data(), static_cast<unsigned>(all.size()), nullptr);
    return true;
}

PacketPool::~PacketPool() {
    rte_mempool_free(pool_);
}

unsigned PacketPool::buffers() const {
    return pool_->size - withheld();
}

std::uint64_t PacketPool::buffer_bytes() const {
    return pitch_of(pool_);
}

unsigned PacketPool::in_use() const {
    const unsigned taken = rte_mempool_in_use_count(pool_);
    return taken > withheld() ? taken - withheld() : 0;
}

}  // namespace dr
