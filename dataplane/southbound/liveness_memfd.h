// Layout of the liveness memfd: what dr-dataplane's liveness threads know of each tunnel, and the
// latest events. Written by them, mapped read-only by others; sized at start and sealed like the
// counters memfd (counters.h), one for each start of the data plane.
//
//   LivenessHeader
//   LivenessRow[tunnel_slots]      at rows, by tunnel slot (low 24 bits of the GRE key)
//   LivenessEvent[event_slots]     at events
//
// Rows: guarded by a sequence number each, odd while being written; a reader copies a row, and
// copies it again when the number was odd or has changed. A row of zeros: no keepalives there.
// Written at once when the state changes, else about once a second.
//
// Events: number n (from 1) is in events[n % event_slots] while its `sequence` is n; 0 means that
// it is being written. `latest` is the highest that is complete. A reader that falls more than
// event_slots behind has missed the oldest, and can tell how many. Several liveness threads draw
// numbers from `drawn`. A tunnel that has more than 64 at once, then 2 a second, does not push out
// those of others: what is over is left out but for the latest, which follows when it may, and the
// next event says how many they were.
//
// Times are nanoseconds of CLOCK_MONOTONIC of this machine; addresses are in network byte order, an
// IPv4 one in the first 4 bytes; all else is in host order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace dr::southbound {

inline constexpr std::uint64_t kLivenessMagic = 0x316e76696c726400ULL;
inline constexpr std::uint32_t kLivenessVersion = 2;
inline constexpr std::uint32_t kLivenessEventSlots = 65'536;

struct LivenessHeader {
    std::uint64_t magic;
    std::uint32_t version;
    std::uint32_t tunnel_slots;
    std::uint32_t event_slots;
    std::uint32_t threads;
    std::array<std::uint8_t, 16> uuid;  // of the incarnation, as in State
    std::uint64_t rows;                 // offsets from the start of the memfd, bytes
    std::uint64_t events;
    std::atomic<std::uint64_t> drawn;
    std::atomic<std::uint64_t> latest;
    // Sums over the liveness threads, liveness::Statistics in its order.
    std::array<std::atomic<std::uint64_t>, 24> statistics;
};

// A window of 1, 10 or 60 s. Loss in permille, 0xffff: no data.
struct LivenessWindow {
    std::uint32_t rtt_min_us, rtt_avg_us, rtt_max_us;
    std::uint16_t loss_uplink_permille;    // site to DR
    std::uint16_t loss_downlink_permille;  // DR to site
    std::uint32_t messages;
};
static_assert(sizeof(LivenessWindow) == 20);

// A copy of a row. Numbers of state, cause and diagnostic as in dataplane/liveness/engine.h.
struct LivenessState {
    std::uint32_t tunnel;      // its id, generation included; 0: no keepalives on this slot
    std::uint32_t subscriber;  // drd's id
    std::uint8_t state;
    std::uint8_t peer_state;
    std::uint8_t cause;       // why it is in `state`
    std::uint8_t ineligible;  // why it carries no traffic; 0: it may
    std::uint8_t peer_diagnostic;
    std::uint8_t key_number;
    std::uint8_t line;    // number in keepalives
    std::uint8_t family;  // of `endpoint`: 4, 6; 0: not known yet
    std::uint16_t flags;  // kSuspectRx...; bit 8 + c: the line does not keep the limits of class c
    std::uint16_t port;   // of `endpoint`; 0: native GRE
    std::uint16_t peer_policy_generation;
    std::uint16_t path_mtu;                 // largest inner packet, both directions; 0: not known
    std::array<std::uint8_t, 16> endpoint;  // of the peer
    std::uint64_t since_ns;                 // when it entered `state`
    std::uint64_t last_received_ns;         // 0: never
    std::uint32_t flaps;
    std::uint32_t penalty;
    std::uint32_t tx_interval_us, rx_interval_us, detection_us;
    std::uint32_t restore_ms_left;  // of wait-to-restore; 0xffffffff: never by itself
    std::uint32_t srtt_us, rtt_p95_us, jitter_us;
    std::array<LivenessWindow, 3> windows;  // 1, 10, 60 s
    // Largest inner packets: that this end's probes found, that the peer's did, that may be sent.
    std::uint16_t downlink_mtu, uplink_mtu, mtu_limit, reserved;
    std::uint64_t path_mtu_since_ns;  // when path_mtu was found; 0: not yet

    static constexpr std::uint16_t kSuspectRx = 1;
    static constexpr std::uint16_t kSuspectTx = 2;
    static constexpr std::uint16_t kDegraded = 4;
    static constexpr std::uint16_t kDamped = 8;
    static constexpr std::uint16_t kActive = 16;  // carries traffic now
    static constexpr std::uint16_t kNatKnown = 32;
    static constexpr std::uint16_t kNat = 64;
    static constexpr std::uint16_t kCongested = 128;
    static constexpr unsigned kViolatingShift = 8;
};
static_assert(sizeof(LivenessState) == 168);

struct alignas(32) LivenessRow {
    std::atomic<std::uint32_t> sequence;  // odd: being written
    std::atomic<std::uint32_t> reserved;
    std::array<std::atomic<std::uint64_t>, sizeof(LivenessState) / 8> words;
};
static_assert(sizeof(LivenessRow) == 192);

// Kinds of events that are the watchdog's, beyond those of the engine. `to`: 1 stalled, 0 well
// again; `cause`: Fault (counters.h); `value`: number of the port or worker; `endpoint`: its name,
// zero-padded, cut after 16 bytes.
inline constexpr std::uint8_t kPortEvent = 128;
inline constexpr std::uint8_t kWorkerEvent = 129;
// The netlink mirror's. `to`: 1 routes of the kernel wait for room in the tables, 0 all have some;
// `value`: how many wait.
inline constexpr std::uint8_t kRoutesEvent = 130;

// Numbers as in dataplane/liveness/engine.h, Event.
struct LivenessEvent {
    std::atomic<std::uint64_t> sequence;  // stored last, with release
    std::uint64_t at_ns;
    std::uint64_t outage_ns;
    std::uint32_t tunnel;      // its id; 0: an event of the whole subscriber
    std::uint32_t subscriber;  // drd's id
    std::uint8_t kind;
    std::uint8_t from;
    std::uint8_t to;
    std::uint8_t cause;
    std::uint32_t value;
    std::array<std::uint8_t, 16> endpoint;
    std::uint16_t port;
    std::uint8_t family;  // of endpoint; 0: none
    std::uint8_t line;
    std::uint32_t suppressed;  // events of this tunnel, or of this subscriber, left out before it
};
static_assert(sizeof(LivenessEvent) == 64);

}  // namespace dr::southbound
