// Layout of the counters memfd: written by the data plane, mapped read-only by others. Sized at
// start and sealed (F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL); one for each
// start of the data plane.
//
//   CountersHeader
//   ExitName[exits]                          at exit_names
//   PortName[ports]                          at port_names
//   Health[ports], Health[workers]           at health; 0: not there
//   for each worker w, at worker_blocks + w * worker_stride:
//       u64 exits[128]                       by Exit
//       PortCounters ports[kMaxPorts]
//       WorkerCounters
//   for each worker w, at tunnel_blocks + w * tunnel_stride:
//       TunnelCounters by tunnel slot (low 24 bits of the GRE key) below tunnel_slots
//
// Each counter has one writer, which stores whole 64-bit words; readers sum over workers. When a
// slot's tunnel is deleted the slot is zeroed by the table writer before it is used again.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dr::southbound {

inline constexpr std::uint64_t kCountersMagic = 0x3172746e63726400ULL;
inline constexpr std::size_t kExitSlots = 128;
inline constexpr std::size_t kPortSlots = 16;

struct CountersHeader {
    std::uint64_t magic;
    std::uint32_t version;  // 1
    std::uint32_t workers;
    std::uint32_t exits;
    std::uint32_t ports;
    std::uint32_t tunnel_slots;
    std::uint32_t reserved;
    std::array<std::uint8_t, 16> uuid;
    std::uint64_t exit_names;  // offsets from the start of the memfd, bytes
    std::uint64_t port_names;
    std::uint64_t worker_blocks;
    std::uint64_t worker_stride;
    std::uint64_t tunnel_blocks;
    std::uint64_t tunnel_stride;
    std::uint64_t health;
};
static_assert(sizeof(CountersHeader) <= 128, "what a reader of an earlier build skips");

// How a packet can leave, by number.
struct NamedExit {
    std::string_view name;  // below 32 bytes
    std::string_view help;  // below 96 bytes
};

struct ExitName {
    std::array<char, 32> name;
    std::array<char, 96> help;
};
struct PortName {
    std::array<char, 32> name;
};

struct PortCounters {
    std::uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};
struct TunnelCounters {
    std::uint64_t downlink_packets, downlink_bytes;  // towards the site; inner bytes
    std::uint64_t uplink_packets, uplink_bytes;
};
static_assert(sizeof(TunnelCounters) == 32);

// How a port or a worker fares, as the watchdog finds it. Written by the writer thread, whole
// words.
enum class HealthState : std::uint64_t { NotWatched, Ok, Stalled };
struct Health {
    std::uint64_t state;         // HealthState
    std::uint64_t fault;         // Fault: why it is stalled, or was the last time
    std::uint64_t since_ns;      // CLOCK_MONOTONIC, when it entered `state`
    std::uint64_t stalls;        // how often it was found stalled
    std::uint64_t repairs;       // how often it was repaired, or recovered by itself
    std::uint64_t attempts;      // of repair, whatever came of them
    std::uint64_t buffers_lost;  // packet buffers that a repair could not give back
    std::uint64_t missed;        // packets that the kernel had for the port and dropped: no room
};
static_assert(sizeof(Health) == 64);

// Numbers and words are interfaces: add at the end.
enum class Fault : std::uint8_t {
    None,
    InterfaceGone,
    InterfaceReplaced,
    ProgramDetached,
    ForeignProgram,
    FillRingEmpty,
    NothingReceived,
    NothingSent,
    NotRead,
    WorkerStands,
    Count
};
inline constexpr std::array<const char*, static_cast<std::size_t>(Fault::Count)> kFaultTexts{
    "",
    "the interface is gone",
    "the interface was made anew",
    "the steering program was detached",
    "another XDP program is attached",
    "the fill ring is empty",
    "packets are steered to it and none arrives",
    "packets wait to be sent and none leaves",
    "received packets wait and are not taken: no packet buffers are left",
    "the worker does not turn"};

struct WorkerCounters {
    std::uint64_t busy_cycles;  // TSC cycles in bursts that had packets
    std::uint64_t bursts;
    std::uint64_t idle_polls;
    std::uint64_t sleeps;
    std::array<std::uint64_t, 12> stage_cycles;  // by Stage, when measuring is on
    std::uint64_t turns;                         // of its loop: stands still when the worker does
};

struct WorkerBlock {
    alignas(64) std::array<std::uint64_t, kExitSlots> exits;
    std::array<PortCounters, kPortSlots> ports;
    WorkerCounters worker;
};
static_assert(alignof(WorkerBlock) == 64 && sizeof(WorkerBlock) % 64 == 0,
              "blocks of two workers share no cache line");

}  // namespace dr::southbound
