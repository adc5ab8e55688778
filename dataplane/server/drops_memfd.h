// The drops memfd of drops.h: made, laid out and sealed at start, handed to readers over the
// socket. The data plane keeps the only writable mapping there can be.
//
// Threads: create(), zero_tunnel(), settle() and set_clock() by the writer; a worker writes its own
// part.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/server/shared_memory.h"
#include "dataplane/southbound/drops.h"
#include "dataplane/southbound/protocol.h"

namespace dr::southbound {

class DropsMemfd final {
  public:
    // exits: how many ways out there are. workers: at least 1. tunnel_slots: Capacity::tunnels.
    // uuid: of this incarnation, as the counters'. tsc_hz: of the clock that samples and
    // set_clock() use. Null and a reason when the kernel refuses.
    static std::unique_ptr<DropsMemfd> create(std::size_t exits, unsigned workers,
                                              std::uint32_t tunnel_slots,
                                              const std::array<std::uint8_t, 16>& uuid,
                                              std::uint64_t tsc_hz, std::string* error);
    ~DropsMemfd() = default;
    DropsMemfd(const DropsMemfd&) = delete;
    DropsMemfd& operator=(const DropsMemfd&) = delete;

    // Of worker `number`, below `workers`.
    [[nodiscard]] WorkerDrops worker(unsigned number) const;

    // Nanoseconds of CLOCK_MONOTONIC, and the TSC at that moment.
    void set_clock(std::uint64_t tsc, std::uint64_t ns);

    // As CountersMemfd's.
    void zero_tunnel(std::uint32_t slot);
    void settle();

    // Adds "drops" to the memory of a State.
    void report(State* state) const;

    [[nodiscard]] int fd() const { return memory_.fd(); }
    [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }
    [[nodiscard]] const std::array<std::uint8_t, 16>& uuid() const { return header()->uuid; }

  private:
    DropsMemfd() = default;
    [[nodiscard]] DropsHeader* header() const { return memory_.at<DropsHeader>(); }

    SharedMemory memory_;
    struct Zeroed {
        std::uint64_t* word;
        std::uint64_t before;
    };
    std::vector<Zeroed> zeroed_;
};

}  // namespace dr::southbound
