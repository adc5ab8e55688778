// What the engine keeps of a tunnel and of a group. Internal to the engine.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "dataplane/liveness/auth.h"
#include "dataplane/liveness/choice.h"
#include "dataplane/liveness/congestion.h"
#include "dataplane/liveness/detection.h"
#include "dataplane/liveness/passage.h"
#include "dataplane/liveness/path_mtu.h"
#include "dataplane/liveness/quality.h"
#include "dataplane/liveness/restore.h"
#include "dataplane/liveness/session.h"

namespace dr::liveness {

inline constexpr std::uint32_t kNone = 0xffffffff;

// Touched by every message. The first line is all that a tunnel's siblings look at.
struct alignas(64) Tunnel {
    GroupRef group;
    std::uint32_t id;        // GRE key
    std::uint32_t received;  // messages of rx_salt
    std::uint32_t peer_tx_us;
    std::uint32_t peer_received;  // its counts of ours, as last reported
    std::uint32_t peer_highest;
    std::uint32_t data_sent;  // by the peer, as of data_since
    std::uint32_t data_received;
    Time last_rx;  // of a believed message; 0: none
    Time next_tx;

    std::array<std::uint8_t, 2> key_number;
    std::uint8_t key_count;
    std::uint8_t tx_key_index;
    std::uint8_t line;
    std::uint8_t burst;  // messages of a fast exchange that are left
    State state;
    State peer_state;
    Cause cause;
    Diagnostic diagnostic;
    ProfileId profile;
    Admin admin;

    bool used : 1;
    bool link_up : 1;
    bool roaming : 1;
    bool was_up : 1;
    bool active : 1;  // carries some class
    bool awake : 1;   // stands by for one that is in trouble
    bool suspect_rx : 1;
    bool suspect_tx : 1;
    bool degraded : 1;
    bool final_owed : 1;
    bool nat_known : 1;
    bool nat : 1;
    bool no_nat : 1;      // both ends say that there is none
    bool restarted : 1;   // the peer has a new salt, and has not been Up since
    bool baseline : 1;    // peer_received and data counts are set
    bool automatic : 1;   // `peer` in GRE-in-UDP, or in native GRE while that passes
    bool native : 1;      // the latter is in use
    bool free_ports : 1;  // source ports of data may be the flows' own where those pass
    bool flow_ports : 1;  // ... and they are
    bool any_sums : 1;    // UDP checksums of data may be 0 where those pass
    bool zero_sums : 1;   // ... and they are
    bool sums_told : 1;   // that they do not pass
    bool congested : 1;   // it is full, and loses data that the peer sends
    bool doubtful : 1;    // data of one end's has not arrived at the other, and none that has
    bool asked : 1;       // a keepalive awaits an answer, see Core::asks()
    bool silent : 1;      // ... and has not been answered in time

    MacKey tx_key;
    std::uint64_t tx_salt;
    std::uint64_t tx_counter;
    std::uint64_t rx_salt;  // 0: none believed yet
    ReplayWindow window;
    Time newest_rx;  // of the keepalive that is echoed

    std::array<MacKey, 2> rx_key;
    Endpoint peer;
    std::uint32_t told_sent;  // data packets, in this end's newest keepalive
    Time since;               // of `state`
};
static_assert(sizeof(Tunnel) == 192);

// Touched by most messages, too.
struct TunnelWarm {
    Intervals intervals;
    Detection detection;
    Smoothed smoothed;
    Restore restore;

    Time
        tx_since_advance;  // the first message sent after `received` last grew at the peer; 0: none
    Time down_detected;    // 0: not down by silence
    Time data_since;       // start of the current data window; 0: none yet
    std::uint64_t data_counter;     // the peer's message that it started with
    std::uint32_t data_messages;    // that came in it
    std::uint32_t unanswered_told;  // seconds
    Time data_note_until;
    Time missing_note_until;
    Time mtu_due;       // mtu.next(), where timers look
    Time active_since;  // of Tunnel::active
    Time unanswered_since;
    std::uint16_t peer_policy_generation;
    std::uint16_t peer_path_mtu;  // of the other direction; 0: not known
    std::uint16_t path_mtu;       // in use for both directions; 0: not known
    Diagnostic peer_diagnostic;
    std::uint8_t peer_multiplier;
    std::uint8_t observed_left;  // messages that still carry the observed endpoint
    std::uint8_t violating;      // bit c: quality of class c
};

// When the next challenge may answer messages of one kind, of one salt of a tunnel. A counter is
// answered once, so messages that somebody has seen and sends again take nothing; those that were
// never answered, of which there is an end, are answered twice as seldom each time.
struct ChallengeGate {
    static constexpr Time kLongest = kSecond;
    static constexpr Time kForgets = 2 * kSecond;
    Time next;
    std::uint64_t counter;  // the highest one answered
    std::uint32_t tag;      // whose the gate is: others may fall on the same
    std::uint32_t gap_us;   // before `next`

    bool take(Time now, std::uint32_t whose, std::uint64_t message, std::uint32_t least_gap_us) {
        if (now < next || (tag == whose && message <= counter)) return false;
        const bool goes_on = tag == whose && now < next + kForgets;
        constexpr auto kMost = static_cast<std::uint32_t>(kLongest / kMicrosecond);
        gap_us = goes_on ? std::min(gap_us * 2, kMost) : least_gap_us;
        next = now + Time{gap_us} * kMicrosecond;
        counter = message;
        tag = whose;
        return true;
    }
};

// The rest, touched now and then.
struct alignas(64) TunnelExtra : TunnelWarm {
    History history;  // the current second comes first

    std::array<TunnelKey, 2> keys;
    Endpoint configured_peer;
    Endpoint local;
    std::uint64_t user;

    Time last_rx_before_down;     // for the outage, and to know a false down
    Time last_rx_before_restart;  // of the peer's salt before
    Time adopted_at;              // the peer's salt; 0: the first one
    std::uint64_t counter_before_down;
    Time data_silent_since;  // 0: not silent
    std::uint32_t silent_sent;
    std::uint32_t reported;       // data packets that have arrived at the peer, as it says
    std::uint16_t lost_permille;  // of data, when it was last degraded; the worse direction
    std::uint8_t bad_seconds;    // in a row: most data was lost, keepalives not, and it is not full
    std::uint8_t lossy_seconds;  // ... some was
    std::uint32_t reported_ms;   // when `reported` changed, modulo 2^32
    // The second in which loss is summed: its start, and counts then.
    Time data_second;
    std::uint32_t second_bytes, second_told, second_reported;
    // Of the peer's data, in it. `unsound`: of them, in windows in which keepalives were lost, too.
    std::uint32_t second_sent, second_received;
    std::uint32_t unsound_sent, unsound_received;
    Capacity capacity;
    std::uint32_t congested_until_s;
    // Silent for long, and Up because data arrives: until so long after last_rx; data packets when
    // that was looked at.
    std::uint32_t held_ms, held_received;
    std::uint32_t asked_ms;  // with `asked`: after last_rx, the keepalive that awaits an answer
    std::uint32_t adoptions;

    Losses loss_rx, loss_tx;                         // while Up
    std::array<std::uint8_t, kClasses> bad_history;  // bit 0: the latest second violated the class
    std::array<std::uint16_t, kClasses> good_seconds;  // in a row, with margin
    std::array<std::uint8_t, kClasses> violations;     // of late: each makes the next return later
    std::uint32_t violated_at_s;                       // the latest, of any class

    // Times that start with the tunnel.
    void start(Time now) {
        detection.decayed = now;
        mtu_due = kNever;
        restart_unanswered(now);
    }
    void restart_unanswered(Time now) {
        unanswered_since = now;
        unanswered_told = 0;
    }

    PathMtu mtu;              // of what is sent
    Time peer_mtu_at;         // when peer_path_mtu changed last
    std::uint16_t told_mtu;   // to the peer: mtu.size()
    std::uint8_t unreported;  // windows since `reported` changed, in which enough was on its way
    std::uint32_t reported_told;  // told_sent then

    // Of native GRE, at a UR; when it came into use.
    Passage native;
    Time native_since;

    // Towards the peer: the flows' source ports, and UDP checksums of 0.
    Passage ports, zero_sums;

    // Whether data that was sent has arrived; see Core::doubt_guise().
    struct Doubt {
        Time asked_at;           // 0: with the next keepalive sent
        std::uint32_t asked;     // data packets sent by then
        std::uint32_t silent;    // data packets sent soon after `received` last grew
        std::uint32_t received;  // data packets, as the peer counts them
        bool arrives;            // `received` has grown, and `silent` is to be set
    } doubt;

    // So many bytes from the start are what most messages touch.
    static constexpr std::size_t kWarm = sizeof(TunnelWarm) + History::kCurrent;
};
static_assert(sizeof(TunnelExtra) <= 1216 && TunnelExtra::kWarm <= 256);

// Each keepalive that is sent reads the first two lines.
struct alignas(64) Group {
    std::array<TunnelRef, kLines> tunnel;  // not valid(): no such line
    std::array<std::uint16_t, kClasses> eligible;
    std::array<std::uint16_t, kClasses> peer_eligible;  // at a UR: what the DR said
    std::uint32_t policy;
    std::uint32_t restore_us;
    std::uint32_t move;  // kNone: not moving
    std::uint16_t epoch;
    std::uint16_t suspect;
    std::uint16_t peer_epoch;
    std::uint8_t losing;  // the line on which data was found to be lost last, plus 1; 0: none yet
    bool used : 1;
    bool peer_epoch_known : 1;
    bool peer_epoch_any : 1;  // the next one is taken as newer
    bool peer_planned : 1;
    bool published : 1;
    bool waits_for_move : 1;
    std::uint64_t user;
    Time first_up;  // 0: not yet
    // Changes of line because of lost data, while all lines lose some.
    Time loss_moved_at;
    Time loss_hold_until;  // no other one before
    std::uint8_t loss_moves;
};
static_assert(sizeof(Group) == 192);

}  // namespace dr::liveness
