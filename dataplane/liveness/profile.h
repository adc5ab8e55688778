// Timers of the liveness engine: profiles that are provisioned by name, and the engine's knobs.
// proto/TUNNEL.md §9 gives the same numbers.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dr::liveness {

// Nanoseconds of any monotonic clock.
using Time = std::uint64_t;
inline constexpr Time kMicrosecond = 1'000;
inline constexpr Time kMillisecond = 1'000'000;
inline constexpr Time kSecond = 1'000'000'000;
inline constexpr Time kNever = ~Time{0};

struct Profile {
    std::string_view name;
    std::uint32_t active_us;         // interval of a tunnel that carries traffic
    std::uint32_t standby_us;        // ... of one that does not
    std::uint32_t slow_us;           // ... of one that is not Up, after the fast start
    std::uint32_t detection_us;      // silence after which a direction is down, to start with
    std::uint32_t detection_max_us;  // what adapting may make of it
    std::uint8_t multiplier;         // detection is never below this many agreed intervals
};

enum class ProfileId : std::uint8_t { Fixed = 0, Mobile = 1, Satellite = 2, Metered = 3 };

// mobile's detection time covers the longest silence of the 4G delay record that it was chosen by:
// one interval and a delay that grows from 43 to 2333 ms.
inline constexpr std::array<Profile, 4> kProfiles{{
    {"fixed", 100'000, 500'000, 1'000'000, 1'000'000, 3'000'000, 3},
    {"mobile", 200'000, 1'000'000, 1'000'000, 2'600'000, 6'000'000, 3},
    {"satellite", 200'000, 1'000'000, 1'000'000, 1'500'000, 4'500'000, 3},
    {"metered", 500'000, 20'000'000, 5'000'000, 2'000'000, 6'000'000, 3},
}};

constexpr const Profile& profile(ProfileId id) {
    return kProfiles[static_cast<unsigned>(id) & 3U];
}

// Knobs of an engine. The defaults are the product's; tests and the simulator turn them.
struct Tuning {
    // Start and handshake.
    std::uint32_t burst_count = 10;  // messages of the fast start, burst_us apart
    std::uint32_t burst_us = 100'000;
    std::uint32_t idle_after_us = 60'000'000;  // a DR slows down further when not Up for so long
    std::uint32_t idle_us = 10'000'000;        // ... to this interval

    // Suspicion (of a direction), in addition to three intervals and what the path has shown.
    std::uint32_t suspect_floor_us = 300'000;

    // Adaptive detection time.
    std::uint16_t false_down_percent = 150;  // T times this after a false down
    std::uint16_t near_miss_percent = 150;  // T at least this much of a silence that nearly was one
    std::uint16_t decay_percent_per_hour = 10;

    // Wait to restore.
    std::uint32_t clean_us = 5'000'000;     // Up without suspicion before the wait starts
    std::uint32_t restore_us = 60'000'000;  // 0: never return by itself
    std::uint32_t restore_max_us = 1'800'000'000;
    std::uint32_t initial_us = 10'000'000;  // from a group's first Up: lines join at once

    // Damping (RFC 2439 §4).
    std::uint16_t penalty = 1000;
    std::uint16_t suppress = 3000;
    std::uint16_t reuse = 1000;
    std::uint32_t half_life_us = 120'000'000;
    std::uint32_t suppress_max_us = 600'000'000;

    // Data that is lost while keepalives pass.
    std::uint32_t data_window_us = 200'000;
    std::uint32_t data_hole_us = 600'000;  // nothing of at least data_packets arrived for so long
    std::uint16_t data_packets = 20;
    std::uint16_t data_loss_permille = 500;  // lost in two consecutive seconds
    std::uint32_t data_note_us = 5'000'000;  // how long the peer is told

    // Planned moves.
    std::uint32_t move_step_us = 100'000;
    std::uint32_t move_idle_us = 50'000;       // a bucket is idle after max(this, RTT difference)
    std::uint32_t move_force_us = 30'000'000;  // then busy buckets move too,
    std::uint16_t move_force_buckets = 25;     // ... this many in a step (10 %)

    // Answers to what may be replayed.
    std::uint32_t challenge_gap_us =
        20'000;  // least time between challenges of a kind, for a tunnel and salt
};

}  // namespace dr::liveness
