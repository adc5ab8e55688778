// Two ends of some tunnels on one virtual clock, with paths between them that tests bend.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/liveness/engine.h"

namespace dr::liveness::test {

struct Packet {
    unsigned line = 0;
    bool to_dr = false;
    Endpoint from;  // as the receiver sees it; port 0: native GRE
    std::vector<std::uint8_t> bytes;
};

// One direction of a line.
struct Path {
    Time delay = 10 * kMillisecond;
    bool cut = false;
    bool cut_data = false;
    bool cut_native = false;
    bool one_port = false;                    // nothing passes but from the port of keepalives
    bool no_zero = false;                     // UDP checksum 0 does not pass
    std::function<bool(const Packet&)> drop;  // true: lost
    // A line of this rate behind a queue of so many bytes; 0: no limit.
    std::uint64_t bit_s = 0;
    std::uint64_t queue_bytes = 0;
    Time free_at = 0;  // when all that is queued has left

    // How long a packet takes; kNever: the queue is full.
    Time take(Time now, std::size_t bytes);
};

struct World;

// A host that records what its engine says.
struct End final : Host {
    End(World& w, bool dr_side) : world(w), is_dr(dr_side) {}
    void send(TunnelRef tunnel, const Endpoint& to, std::span<const std::uint8_t> message) override;
    void send_as(TunnelRef tunnel, const Guise& guise, const Endpoint& to,
                 std::span<const std::uint8_t> message) override;
    void zero_checksums(TunnelRef tunnel, bool on) override { zero[tunnel.value] = on; }
    void bind(TunnelRef tunnel, const Endpoint& peer) override { bound[tunnel.value] = peer; }
    void path_mtu(TunnelRef tunnel, std::uint16_t size) override { mtu[tunnel.value] = size; }
    void choice(GroupRef, const Choice& c) override { choices.push_back(c); }
    void event(const Event& e) override { events.push_back(e); }
    DataCounters data_counters(TunnelRef tunnel) override {
        ++counted;
        return data[tunnel.value];
    }
    void bucket_ages(GroupRef, std::span<std::uint32_t, kBuckets> out) override {
        std::copy(ages.begin(), ages.end(), out.begin());
    }
    std::uint64_t random() override;

    [[nodiscard]] unsigned count(EventKind kind) const;
    [[nodiscard]] unsigned count_to(State state) const;
    [[nodiscard]] std::uint16_t eligible(unsigned number = 0) const {
        return choices.empty() ? std::uint16_t{0} : choices.back().eligible[number];
    }

    World& world;
    bool is_dr;
    std::unique_ptr<Engine> engine;
    GroupRef group;
    std::vector<TunnelRef> tunnels;
    std::array<Endpoint, 16> bound{};
    std::array<DataCounters, 16> data{};
    std::array<bool, 16> zero{};          // checksums of data
    std::array<std::uint16_t, 16> mtu{};  // as the engine said last
    std::array<std::uint32_t, kBuckets> ages{};
    std::vector<Choice> choices;
    std::vector<Event> events;
    std::uint64_t sent = 0;
    std::uint64_t counted = 0;  // calls of data_counters()
};

struct Setup {
    unsigned lines = 2;
    ProfileId profile = ProfileId::Fixed;
    unsigned metered = 0;                               // bit n: line n has that profile instead
    std::array<std::uint8_t, kLines> tier{0, 1, 2, 3};  // of class 0
    std::uint32_t restore_ms = 60'000;
    Tuning tuning;
    std::uint64_t seed = 1;
    bool strict = false;
    bool automatic = false;
    bool flow_ports = false;
    bool checksums = false;
    std::uint16_t mtu = 0;  // largest inner packet allowed; 0: no discovery
};

struct World {
    explicit World(const Setup& setup = {});

    // Runs both ends and the paths for so long.
    void run(Time duration);
    // Runs until `done`, at most so long; whether it came true.
    bool run_until(const std::function<bool()>& done, Time most);
    // Data packets a second in each direction of a line, until changed.
    void set_traffic(unsigned line, unsigned per_second) { traffic[line] = per_second; }
    // The same of the group, each direction apart: each end sends over the line that its choice
    // prefers. Packets are `bytes` long.
    void set_load(unsigned downlink, unsigned uplink, unsigned bytes) {
        load = {downlink, uplink};
        load_bytes = bytes;
    }
    // The line on which an end sends data; kLines: none.
    [[nodiscard]] unsigned in_use(const End& end) const;
    void cut(unsigned line, bool on = true) { down[line].cut = up[line].cut = on; }
    void engine_drain(End& end, unsigned line) {
        end.engine->set_admin(now, end.tunnels[line], Admin::Drain);
    }
    // Starts an end anew, as after a crash.
    void restart(bool the_dr);
    // Hands a message to an end at once.
    void inject(End& end, unsigned line, const std::vector<std::uint8_t>& bytes,
                const Endpoint& from);
    [[nodiscard]] State state(const End& end, unsigned line) const;
    [[nodiscard]] TunnelStatus status(const End& end, unsigned line) const;
    void start(End& end);
    [[nodiscard]] TunnelConfig tunnel_config(const End& end, unsigned line) const;
    static Endpoint ur_endpoint(unsigned line);
    static Endpoint dr_endpoint();

    Setup setup;
    Time now = 1'000 * kSecond;
    End dr{*this, true};
    End ur{*this, false};
    std::array<Path, 16> down;  // DR to UR
    std::array<Path, 16> up;
    std::array<Endpoint, 16> ur_seen_as;  // by the DR: what a NAT makes of it
    std::array<unsigned, 16> traffic{};
    std::array<Time, 16> traffic_next{};
    std::array<unsigned, 2> load{};
    std::array<double, 2> load_due{};  // packets
    unsigned load_bytes = 0;
    std::array<std::uint64_t, 2> load_sent{}, load_arrived{};
    std::function<bool(unsigned line, bool to_dr)> lose_data;
    std::function<void(const Packet&)> tap;  // sees each message as it is sent
    std::uint64_t random_state = 88172645463325252ULL;

  private:
    struct Flight {
        Time at;
        std::uint64_t order;
        Packet packet;
        bool data;
        unsigned bytes = 0;
        bool loaded = false;  // one of `load`
    };
    friend struct End;
    void put(Flight flight);
    void deliver(const Flight& flight);
    void move_data();
    void move_load();
    std::vector<Flight> flights_;  // a heap by time
    std::uint64_t order_ = 0;
};

// Seconds until the DR has `mask` as the eligible lines; -1: not within `most`.
double until_eligible(World& w, std::uint16_t mask, Time most);
// Short waits.
Setup quick();
// Takes a line down, and up again.
void fail(World& w, unsigned line);

}  // namespace dr::liveness::test
