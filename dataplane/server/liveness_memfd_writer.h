// The liveness memfd of liveness_memfd.h from its writers' side: made, laid out and sealed at
// start, handed to readers over the socket. The data plane keeps the only writable mapping there
// can be.
//
// Threads: create() by main. A row belongs to the liveness thread of its tunnel's subscriber, one
// at a time; events and statistics may be written by all liveness threads.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "dataplane/server/shared_memory.h"
#include "dataplane/southbound/liveness_memfd.h"
#include "dataplane/southbound/protocol.h"

namespace dr::southbound {

class LivenessMemfd final {
  public:
    // tunnel_slots: Capacity::tunnels. uuid: of this incarnation, as the counters'. Null and a
    // reason when the kernel refuses.
    static std::unique_ptr<LivenessMemfd> create(std::uint32_t tunnel_slots, unsigned threads,
                                                 const std::array<std::uint8_t, 16>& uuid,
                                                 std::string* error);
    ~LivenessMemfd() = default;
    LivenessMemfd(const LivenessMemfd&) = delete;
    LivenessMemfd& operator=(const LivenessMemfd&) = delete;

    // Slots outside the memfd are passed over.
    void write_row(std::uint32_t slot, const LivenessState& state);
    // The row as last written; for its writer.
    [[nodiscard]] LivenessState read_row(std::uint32_t slot) const;
    void clear_row(std::uint32_t slot) { write_row(slot, {}); }
    // What an event says; its number is drawn here.
    struct EventFields {
        std::uint64_t at_ns, outage_ns;
        std::uint32_t tunnel, subscriber;
        std::uint8_t kind, from, to, cause;
        std::uint32_t value;
        std::array<std::uint8_t, 16> endpoint;
        std::uint16_t port;
        std::uint8_t family, line;
        std::uint32_t suppressed;
    };
    void add_event(const EventFields& fields);
    // Adds to one of the sums, by its place in liveness::Statistics.
    void add_statistic(unsigned place, std::uint64_t by);

    // Adds "liveness" to the memory of a State.
    void report(State* state) const;

    [[nodiscard]] int fd() const { return memory_.fd(); }
    [[nodiscard]] std::size_t bytes() const { return memory_.bytes(); }
    [[nodiscard]] const std::array<std::uint8_t, 16>& uuid() const { return header()->uuid; }
    [[nodiscard]] std::uint32_t tunnel_slots() const { return header()->tunnel_slots; }

  private:
    LivenessMemfd() = default;
    [[nodiscard]] LivenessHeader* header() const { return memory_.at<LivenessHeader>(); }
    template <typename T>
    [[nodiscard]] T* at(std::uint64_t offset) const {
        return memory_.at<T>(offset);
    }

    SharedMemory memory_;
};

}  // namespace dr::southbound
