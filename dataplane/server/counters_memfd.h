// The counters memfd of counters.h: made, laid out and sealed at start, handed to readers over the
// socket. The data plane keeps the only writable mapping there can be.
//
// Threads: create(), zero_tunnel() and settle() by the writer; a worker writes its own block and
// array.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/server/shared_memory.h"
#include "dataplane/southbound/counters.h"
#include "dataplane/southbound/protocol.h"

namespace dr::southbound {

class CountersMemfd final {
  public:
    // exits: at most kExitSlots. workers: at least 1. tunnel_slots: Capacity::tunnels. port_names:
    // at most kPortSlots, by port number; longer than 31 bytes are cut. Null and a reason when the
    // kernel refuses.
    static std::unique_ptr<CountersMemfd> create(std::span<const NamedExit> exits, unsigned workers,
                                                 std::uint32_t tunnel_slots,
                                                 std::span<const std::string> port_names,
                                                 std::string* error);
    ~CountersMemfd() = default;
    CountersMemfd(const CountersMemfd&) = delete;
    CountersMemfd& operator=(const CountersMemfd&) = delete;

    // Of worker `number`, below `workers`; the array has tunnel_slots() elements.
    [[nodiscard]] WorkerBlock* worker_block(unsigned number) const;
    [[nodiscard]] TunnelCounters* tunnel_counters(unsigned number) const;

    // Of port and worker `number`; the writer thread's to fill.
    [[nodiscard]] Health& port_health(unsigned number) const;
    [[nodiscard]] Health& worker_health(unsigned number) const;

    // The memory of a worker's counters, as far as it is untouched, is to be on a NUMA node; huge
    // pages are taken there now. false: the kernel refuses; that is for tests.
    bool place(unsigned worker, unsigned node) const;

    // All workers' counters of a slot become 0, once no worker counts on the tunnel that had it. A
    // worker that counts on the slot's new tunnel at this moment may write the old sum back:
    // settle() looks whether one did, and zeroes again.
    void zero_tunnel(std::uint32_t slot);
    // Some time after zero_tunnel(): microseconds are enough. Call it from the writer's loop.
    void settle();

    // Adds "counters" to the memory of a State.
    void report(State* state) const;

    [[nodiscard]] int fd() const { return memory_.fd(); }
    [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }
    // New at each start: the identity of this incarnation of the data plane.
    [[nodiscard]] const std::array<std::uint8_t, 16>& uuid() const { return header()->uuid; }
    [[nodiscard]] unsigned workers() const { return header()->workers; }
    [[nodiscard]] std::uint32_t tunnel_slots() const { return header()->tunnel_slots; }

  private:
    // What zero_tunnel() found.
    struct Zeroed {
        std::uint32_t slot;
        std::uint32_t worker;
        std::array<std::uint64_t, 4> before;
    };
    using Words = std::array<std::uint64_t*, 4>;
    [[nodiscard]] Words words(unsigned worker, std::uint32_t slot) const;

    CountersMemfd() = default;
    [[nodiscard]] const CountersHeader* header() const {
        return memory_.at<const CountersHeader>();
    }

    SharedMemory memory_;
    bool huge_{};
    std::vector<Zeroed> zeroed_;
};

}  // namespace dr::southbound
