// The four rings that an AF_XDP socket shares with the kernel, read beside their driver.
//
// The driver does not give access to its sockets and rings. But the rings are memory of the socket
// (linux/if_xdp.h), and this process has the descriptor, so it can map them once more. The watchdog
// sees whether the fill ring is empty and whether anything moves, and a repair finds the packet
// buffers in the rings. Nothing is ever written here.
//
// Thread: main. The other ends write while it reads: a sample is of slightly different moments.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace dr {

// AF_XDP sockets of this process, ascending.
std::vector<int> xdp_sockets();

class XskRings final {
  public:
    // Positions, modulo 2^32. Both ends begin with 0.
    struct Ring {
        std::uint32_t produced = 0;
        std::uint32_t consumed = 0;
        [[nodiscard]] std::uint32_t waiting() const { return produced - consumed; }
    };
    struct Sample {
        Ring fill;        // buffers for the kernel to receive into
        Ring rx;          // received packets
        Ring tx;          // packets to send
        Ring completion;  // buffers of packets that were sent
        // The kernel's counts since the socket was created (XDP_STATISTICS), set by
        // add_statistics().
        std::uint64_t dropped = 0;  // for any reason, an empty fill ring too
        std::uint64_t found_fill_empty = 0;
        std::uint64_t invalid =
            0;  // buffers from the fill ring that it refused, and never gives back
    };

    // fd: the driver's descriptor, which it keeps. Null and a reason: it is not such a socket.
    static std::unique_ptr<XskRings> map(int fd, std::string* error);
    // Before the driver closes the socket: a mapping keeps it alive.
    ~XskRings();
    XskRings(const XskRings&) = delete;
    XskRings& operator=(const XskRings&) = delete;

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] Sample sample() const;
    void add_statistics(Sample* sample) const;
    // Zero copy: the NIC's driver holds buffers itself, as many as it has descriptors.
    [[nodiscard]] bool zero_copy() const;
    // Asks the kernel to send what waits, as the port's own driver does with each burst.
    void kick() const;

    // The buffers in the rings, as offsets of their beginnings from the start of the registered
    // memory; and the number of buffers handed over that have not come back. The difference is in
    // the kernel or the NIC, or lost. Call it only while the port is not in use.
    //
    // The kernel reports its progress in the fill ring late, so the buffers there are computed from
    // those that it has delivered. A NIC that takes buffers itself (zero copy) holds unknown ones,
    // so its fill ring is left out.
    struct Held {
        std::vector<std::uint64_t> offsets;
        std::uint32_t handed_over = 0;
    };
    [[nodiscard]] Held held() const;

  private:
    struct Mapped {
        void* base = nullptr;
        std::size_t bytes = 0;
        std::uint64_t producer = 0, consumer = 0, entries_at = 0;
        std::uint32_t entries = 0;  // a power of two
    };
    enum Which : unsigned { kFill, kRx, kTx, kCompletion };
    explicit XskRings(int fd) : fd_(fd) {}
    [[nodiscard]] Ring ring(Which which) const;
    void collect(Which which, std::uint32_t count, Held* held) const;
    bool map_ring(Which which, std::uint64_t page_offset, std::size_t entry);

    int fd_;
    std::array<Mapped, 4> mapped_;
};

}  // namespace dr
