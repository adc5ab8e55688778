// The liveness engine: keepalive sessions of many tunnels, their quality, and which lines of a
// subscriber may carry traffic. proto/TUNNEL.md §6-§12 is its specification.
//
// Sans-I/O: the host owns sockets, clock and threads. dr-dataplane runs one engine for each shard
// of subscribers, urd one, the simulator as many as it likes. No allocation after create(), no
// system call, no wall clock; the same inputs give the same outputs.
//
// How a host uses it:
//   1. create() with a Host; set_policy(), add_group() for each subscriber (at a UR: for each DR),
//      add_tunnel() for each of its lines. add_tunnel() starts keepalives at once if it has an
//      endpoint to send to; a DR that waits for a UR's first message gives none.
//   2. For each packet with GRE protocol 0x88B5 of a known key: receive() with what follows the GRE
//      header, and the outer source as it arrived.
//   3. Call run() when the time that run() or next_deadline() named has come, or on every poll: it
//      sends what is due. After receive() or any setter, ask next_deadline() again.
//   4. line_state() as soon as the kernel says that a link is down or up.
//   5. In Host::choice, publish the bucket maps. That, and nothing else, decides where data goes.
// All of an engine's functions are called by one thread, never from inside a Host function.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "dataplane/liveness/profile.h"
#include "dataplane/wire/keepalive.h"

namespace dr::liveness {

using wire::Diagnostic;
using wire::Endpoint;
using wire::State;

inline constexpr unsigned kLines = 16;
inline constexpr unsigned kClasses = 8;
inline constexpr unsigned kBuckets = 256;
inline constexpr unsigned kTunnelKeySize = 32;
inline constexpr std::uint8_t kNoTier = 0xff;
inline constexpr std::uint32_t kAgeSettled = 0xffffffff;

enum class Role : std::uint8_t { DistributionRouter = 0, UserRouter = 1 };

// Handles that the engine gives out, dense from 0 below the limit; a host may index arrays by them.
struct TunnelRef {
    std::uint32_t value = 0xffffffff;
    friend constexpr bool operator==(TunnelRef, TunnelRef) = default;
    [[nodiscard]] constexpr bool valid() const { return value != 0xffffffff; }
};
struct GroupRef {
    std::uint32_t value = 0xffffffff;
    friend constexpr bool operator==(GroupRef, GroupRef) = default;
    [[nodiscard]] constexpr bool valid() const { return value != 0xffffffff; }
};

struct TunnelKey {
    std::uint8_t number = 0;
    std::array<std::uint8_t, kTunnelKeySize> bytes{};
};

// One class of a policy as the engine needs it.
struct ClassPolicy {
    std::array<std::uint8_t, kLines>
        tier;             // of each line, 0 is the first; kNoTier: not in the class
    bool strict = false;  // no line that is not eligible, ever; else the least bad one that is Up
    // What a line must keep to be eligible; 0: any.
    std::uint16_t max_loss_permille = 0;
    std::uint16_t max_rtt_ms = 0;
    std::uint16_t max_jitter_ms = 0;

    constexpr ClassPolicy() { tier.fill(kNoTier); }
    [[nodiscard]] constexpr bool limited() const {
        return max_loss_permille != 0 || max_rtt_ms != 0 || max_jitter_ms != 0;
    }
};

struct Policy {
    std::uint16_t generation = 0;  // sent to the peer
    std::uint8_t classes = 1;      // 1-8: how many of `klass` are used
    std::array<ClassPolicy, kClasses> klass;
};

struct GroupConfig {
    std::uint32_t policy = 0;           // number of a policy that set_policy() has set
    std::uint32_t restore_ms = 60'000;  // wait-to-restore; 0: never return by itself
    std::uint64_t user = 0;             // the host's own; see Engine::user()
};

struct TunnelConfig {
    GroupRef group;
    std::uint8_t line = 0;  // 0-15, of the policy
    std::uint32_t id = 0;   // the GRE key
    ProfileId profile = ProfileId::Fixed;
    bool roaming = true;  // adopt a new source address of the peer after a challenge
    // GRE-in-UDP that becomes native GRE while that passes (TUNNEL.md §12): messages are believed
    // from the peer's address in both encapsulations. `peer` has a port.
    bool automatic = false;
    // GRE-in-UDP: the source ports of data may be the flows' own once those are seen to pass
    // (TUNNEL.md §12).
    bool flow_ports = false;
    // GRE-in-UDP: the host can send data with right UDP checksums, and does so until those of 0 are
    // seen to pass (TUNNEL.md §12). Else they are 0.
    bool checksums = false;
    Endpoint peer;   // where to send to; not known() at a DR: learned
    Endpoint local;  // what the packets are sent from, to find a NAT; not known(): don't
    std::array<TunnelKey, 2> keys;
    std::uint8_t key_count = 1;  // 1 or 2; keys[0] is the newer one
    // The largest inner packet that may be sent, by configuration and by the device: what path MTU
    // discovery (TUNNEL.md §15) starts from; 0: no discovery.
    std::uint16_t mtu = 0;
    std::uint64_t user = 0;
};

enum class Admin : std::uint8_t {
    Up,
    Drain,  // stays Up; traffic leaves it bucket by bucket
    Down,   // AdminDown: says so to the peer; traffic leaves it at once
};

// Why a tunnel is in its state, or why its line is not eligible.
enum class Cause : std::uint8_t {
    None,
    Starting,           // has never been Up
    HandshakeComplete,  // Up
    DetectionExpired,   // nothing received for the detection time
    PeerSignalledDown,  // the peer does not receive us
    PeerAdminDown,
    AdminDown,
    LineDown,  // this end's link
    PeerRestarted,
    ReportedElsewhere,  // the peer said so over another line
    DataLost,           // keepalives pass, data does not
    Drained,
    Damped,
    WaitToRestore,
    QualityViolated,  // in some class
    PeerNotUpYet,     // Init: this end hears the peer, which has not said that it hears this end
};
inline constexpr Cause kLastCause = Cause::PeerNotUpYet;
const char* text(Cause cause);
const char* text(State state);

struct DataCounters {
    std::uint64_t sent = 0;      // data packets put into the tunnel
    std::uint64_t received = 0;  // data packets that came out of it, whatever became of them then
    std::uint64_t received_bytes = 0;  // theirs, inner ones; 0: not counted
};

// Which lines carry a group's traffic.
struct Choice {
    std::array<std::uint16_t, kClasses> eligible;  // bit n: line n; 0: no line
    // While `moving`, buckets whose bit in `moved` is 0 still go where the map of `previous` says,
    // in every class. All buckets are moved when `moving` is false.
    std::array<std::uint16_t, kClasses> previous;
    std::array<std::uint64_t, kBuckets / 64> moved;  // bucket b: bit b % 64 of word b / 64
    bool moving;
    std::uint16_t suspect;  // of the eligible lines: better no new flows
    std::uint16_t epoch;
};

enum class EventKind : std::uint8_t {
    StateChanged,     // from, to, cause, outage (to Up: since the last message before it was lost)
    Suspect,          // value: 1 our receiving direction, 2 our sending direction
    SuspectCleared,   // value as above
    Degraded,         // cause DataLost, or QualityViolated with value: class mask
    Eligible,         // value: 1 the line joined class 0 (or any), 0 it left; cause
    EndpointAdopted,  // endpoint
    NatChanged,  // value: 1 there is a NAT; 0 there is none, and both ends know; 2 not known any
                 // more
    PeerRestarted,
    KeySwitched,       // value: number of the key that is sent with now
    DetectionAdapted,  // value: the detection time, microseconds
    Unanswered,        // value: seconds without any answer; at 3, 10, 30, then each 60
    MoveStarted = 12,  // of a group; 11 is not used
    MoveFinished,      // of a group; value: buckets that had to be forced
    Encapsulation,     // of an automatic tunnel; value: 1 native GRE, 0 GRE-in-UDP; endpoint
    PathMtu,           // value: the largest inner packet from now on
    FlowPorts,         // value: 1 other source ports pass towards the peer, 0 they may not
    Checksums,         // value: 1 UDP checksums of 0 do not pass towards the peer, 0 they do again
    Congested,         // value: the line is full, and loses data: 1 our receiving direction, 2 our
                       // sending direction, 3 both, 0 no more
};
const char* text(EventKind kind);

struct Event {
    EventKind kind;
    State from = State::Down;
    State to = State::Down;
    Cause cause = Cause::None;
    TunnelRef tunnel;  // not valid() for events of a group
    GroupRef group;
    Time at = 0;
    Time outage = 0;  // ns
    std::uint32_t value = 0;
    Endpoint endpoint;
};

// What is different about a datagram of data.
struct Guise {
    std::uint16_t port = 0;      // source port; 0: that of keepalives
    bool zero_checksum = false;  // of UDP
};

// What the engine needs of its host. Called from inside the engine's functions; must not call back.
class Host {
  public:
    virtual ~Host() = default;
    // Sends a message: the 8-byte GRE header with the tunnel's key and protocol 0x88B5 goes before
    // it. `to.port` 0: native GRE; else GRE-in-UDP to that port, from the tunnel's keepalive port,
    // with a right UDP checksum.
    virtual void send(TunnelRef tunnel, const Endpoint& to,
                      std::span<const std::uint8_t> message) = 0;
    // The same in GRE-in-UDP in the guise of data.
    virtual void send_as(TunnelRef, const Guise&, const Endpoint& /*to*/,
                         std::span<const std::uint8_t> /*message*/) {}
    // Data and keepalives go to this endpoint from now on. Of an automatic tunnel that goes over to
    // native GRE it is the peer's address with port 0; what comes in the other encapsulation is
    // still the peer's.
    virtual void bind(TunnelRef tunnel, const Endpoint& peer) = 0;
    // Whether the tunnel's peer may be at this address. Where not, a genuine message from there is
    // not answered, and counts among answers_refused.
    virtual bool may_bind(TunnelRef, const Endpoint&) { return true; }
    // The largest inner packet that the tunnel carries in both directions, from now on. For hosts
    // whose tunnels carry data.
    virtual void path_mtu(TunnelRef, std::uint16_t) {}
    // Whether the UDP checksums of data are 0 from now on; called where TunnelConfig::checksums is
    // set. At first they are not.
    virtual void zero_checksums(TunnelRef, bool) {}
    // First called when something is known of the group's lines; until then none is eligible.
    virtual void choice(GroupRef group, const Choice& choice) = 0;
    virtual void event(const Event& event) = 0;
    virtual DataCounters data_counters(TunnelRef tunnel) = 0;
    // Milliseconds since each bucket was last used in either direction that this end sees;
    // kAgeSettled for a bucket that the move does not change. Called each 100 ms while a group is
    // moving.
    virtual void bucket_ages(GroupRef group, std::span<std::uint32_t, kBuckets> ages) = 0;
    // Secure random bits, for salts and challenges.
    virtual std::uint64_t random() = 0;
};

struct Limits {
    std::uint32_t tunnels = 0;
    std::uint32_t groups = 0;
    std::uint32_t policies = 1;
    std::uint32_t moves = 64;  // groups that may be moving at a time; others wait
};

struct Config {
    Role role = Role::DistributionRouter;
    std::uint64_t seed = 1;  // of the jitter; not a secret
    Tuning tuning;
};

struct Statistics {
    std::uint64_t sent = 0, received = 0;  // messages; received: believed ones
    std::uint64_t malformed = 0, unknown_key = 0, bad_tag = 0, replayed = 0;
    std::uint64_t unknown_salt = 0, other_source = 0;  // genuine, but to be challenged
    std::uint64_t challenges_sent = 0, challenges_limited = 0, answers_refused = 0;
    std::uint64_t adopted_salts = 0, adopted_endpoints = 0;
    std::uint64_t ups = 0, downs = 0, false_downs = 0;
};

// Over the last 1, 10 and 60 s. Loss in permille of what the sender's counters say; 0xffff: no
// data.
struct Quality {
    std::uint32_t rtt_min_us = 0, rtt_avg_us = 0, rtt_max_us = 0;
    std::uint16_t loss_rx_permille = 0xffff, loss_tx_permille = 0xffff;
    std::uint32_t messages = 0;
};

struct TunnelStatus {
    State state;
    State peer_state;
    Cause cause;       // why it is in `state`
    Cause ineligible;  // why it is not in the eligible set; None: it is (in class 0 or any)
    Diagnostic peer_diagnostic;
    Time since;  // when it entered `state`
    Time last_received;
    Endpoint peer;  // where to send to; port 0: native GRE
    bool suspect_rx, suspect_tx, degraded, damped, active;
    bool congested;  // in either direction
    bool nat_known, nat;
    bool flow_ports;  // source ports of data may be the flows' own
    bool checksums;   // UDP checksums of 0 do not pass: data has right ones
    std::uint32_t flaps;
    std::uint32_t penalty;
    std::uint32_t tx_interval_us, rx_interval_us, detection_us;
    std::uint32_t restore_ms_left;  // of wait-to-restore; 0xffffffff: never by itself
    std::uint32_t srtt_us, rtt_p95_us, jitter_us;
    std::uint16_t peer_policy_generation;
    // Largest inner packets: in use; found by this end's probes; told by the peer; allowed here.
    // 0: not known.
    std::uint16_t path_mtu, own_path_mtu, peer_path_mtu, mtu_limit;
    Time path_mtu_since;      // when path_mtu was found; 0: not yet
    std::uint8_t key_number;  // that is sent with
    std::uint8_t violating;   // bit c: it does not keep the limits of class c
    Quality second, ten_seconds, minute;
};

enum class Tag : std::uint8_t { Unchecked, Right };

// Keys of the peer's direction (auth.h), and their numbers, 0: none.
struct PeerKeys {
    std::uint32_t tunnel = 0;  // the GRE key
    std::array<std::uint8_t, 2> number{};
    std::array<std::array<std::uint8_t, 16>, 2> key{};
};

class Core;

class Engine {
  public:
    // Takes all memory. nullptr and *error when a limit is out of range or memory is short. `host`
    // outlives the engine.
    static std::unique_ptr<Engine> create(const Config& config, const Limits& limits, Host& host,
                                          std::string* error);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // False: no such number, or a class count outside 1-8. Groups that use it are chosen again.
    bool set_policy(Time now, std::uint32_t number, const Policy& policy);

    // Not valid(): full, or no such policy.
    GroupRef add_group(Time now, const GroupConfig& config);
    bool update_group(Time now, GroupRef group, const GroupConfig& config);
    // Removes its tunnels too. The host hears no more of it.
    void remove_group(Time now, GroupRef group);

    // Not valid(): full, no such group, the line is taken, no key.
    TunnelRef add_tunnel(Time now, const TunnelConfig& config);
    // Changes all but group, line and the learned endpoint, state kept: keys, profile, local
    // endpoint, MTU. A `peer` that is known and differs from the configured one before is
    // taken at once.
    bool update_tunnel(Time now, TunnelRef tunnel, const TunnelConfig& config);
    void remove_tunnel(Time now, TunnelRef tunnel);

    // A message from the wire, `bytes` being what follows the GRE header. `tag` is Right where the
    // host has verified it itself, with a key of peer_keys() that the tunnel has still.
    void receive(Time now, TunnelRef tunnel, std::span<const std::uint8_t> bytes,
                 const Endpoint& source, Tag tag = Tag::Unchecked);

    // Fetches the tunnel's rows from memory ahead of receive(): a host with many tunnels calls it
    // some messages before. Changes nothing; any value will do.
    void prefetch(TunnelRef tunnel) const;

    // The tunnel's own link: down takes the tunnel down at once and tells the peer over the others.
    void line_state(Time now, TunnelRef tunnel, bool up);
    void set_admin(Time now, TunnelRef tunnel, Admin admin);
    // What the packets are sent from, once the host knows (a new socket, a new address of the
    // line). Starts the fast exchange again so that the peer learns of it soon.
    void set_local(Time now, TunnelRef tunnel, const Endpoint& local);
    // A router on the way says that it carries inner packets of at most so many bytes. It is not
    // believed, and looked into at once.
    void mtu_hint(Time now, TunnelRef tunnel, std::uint16_t mtu);
    // Sends to another endpoint of the peer from now on (a UR: after a probe has passed there).
    void set_peer(Time now, TunnelRef tunnel, const Endpoint& peer);

    // Does what is due, at most `budget` timers; returns when to call again (`now`: at once).
    Time run(Time now, std::uint32_t budget = 0xffffffff);
    [[nodiscard]] Time next_deadline() const;

    [[nodiscard]] TunnelStatus status(Time now, TunnelRef tunnel) const;
    [[nodiscard]] Choice current_choice(GroupRef group) const;
    // Of the peer's start that is believed, as its messages carry it; 0: none is.
    [[nodiscard]] std::uint64_t peer_salt(TunnelRef tunnel) const;
    // The highest counter that was believed under it.
    [[nodiscard]] std::uint64_t peer_counter(TunnelRef tunnel) const;
    // What its messages are verified with.
    [[nodiscard]] PeerKeys peer_keys(TunnelRef tunnel) const;
    [[nodiscard]] std::uint64_t user(TunnelRef tunnel) const;
    [[nodiscard]] std::uint64_t user(GroupRef group) const;
    [[nodiscard]] GroupRef group_of(TunnelRef tunnel) const;
    [[nodiscard]] const Statistics& statistics() const;

  private:
    explicit Engine(std::unique_ptr<Core> core);
    std::unique_ptr<Core> core_;
};

}  // namespace dr::liveness
