// The packet buffers of one NUMA node, placed so that AF_XDP can use every one of them.
//
// The AF_XDP driver registers one piece of memory (umem) with the kernel: it begins at the page of
// the pool's first byte, and has as many bytes as the buffers would take up without gaps. The
// mempool library lets no buffer cross a page, so there are gaps, unless a buffer's size divides
// the page, and the last buffers lie beyond the registered piece. The kernel takes such a buffer
// out of the fill ring and never gives it back: after some turns of the pool the ring is empty, and
// the port receives nothing more.
//
//   small pages   each buffer is padded to a page (it would take up a whole one anyway)
//   huge pages    the few buffers that lie beyond (less than one of a thousand) are withheld
//
// Buffers of another pool, or of a port of another kind, may be sent from an AF_XDP port too: its
// driver copies what is not of the port's own pool.
//
// Thread: main. in_use() disturbs nobody.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

struct rte_mempool;

namespace dr {

struct PoolWish {
    std::string name;
    unsigned buffers = 0;
    unsigned cache = 0;           // that an lcore keeps for itself
    std::uint16_t data_room = 0;  // bytes, headroom included
    int node = 0;
    bool xdp = false;  // AF_XDP ports will use it
};

class PacketPool final {
  public:
    // Null and a reason: no memory, or with `xdp` a placement that AF_XDP cannot use.
    static std::unique_ptr<PacketPool> create(const PoolWish& wish, std::string* error);
    ~PacketPool();
    PacketPool(const PacketPool&) = delete;
    PacketPool& operator=(const PacketPool&) = delete;

    [[nodiscard]] rte_mempool* get() const { return pool_; }
    // Buffers that can be in use at once.
    [[nodiscard]] unsigned buffers() const;
    // Buffers in use now, those in queues and rings included; packets in flight make it vary.
    [[nodiscard]] unsigned in_use() const;
    // Bytes that one buffer takes, with everything around its data.
    [[nodiscard]] std::uint64_t buffer_bytes() const;
    [[nodiscard]] unsigned withheld() const { return static_cast<unsigned>(withheld_.size()); }

  private:
    PacketPool() = default;
    bool withhold(std::string* error);

    rte_mempool* pool_ = nullptr;
    std::vector<void*> withheld_;
};

// The memory of a pool that the AF_XDP driver registers.
struct UmemRange {
    std::uintptr_t begin = 0;
    std::uint64_t bytes = 0;
};
UmemRange umem_of(rte_mempool* pool);
// Buffers that lie, in part or as a whole, outside of what is registered, or that cross a small
// page where there are no huge ones: a device may refuse those.
std::vector<void*> outside_umem(rte_mempool* pool);

}  // namespace dr
