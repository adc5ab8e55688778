// The engine behind engine.h. Internal. Its parts: core.cpp (rows and setters), core_receive.cpp,
// core_adopt.cpp (salts, endpoints, challenges), core_session.cpp (states, timers),
// core_transmit.cpp, core_data.cpp (data that is lost), core_quality.cpp, core_group.cpp (choice),
// core_native.cpp (automatic tunnels), core_ports.cpp (source ports), core_mtu.cpp (path MTU),
// core_status.cpp.
#pragma once

#include <memory>
#include <vector>

#include "dataplane/liveness/rows.h"
#include "dataplane/liveness/timer_wheel.h"
#include "dataplane/liveness/tunnel.h"

namespace dr::liveness {

class Core {
  public:
    Core(const Config& config, const Limits& limits, Host& host);

    bool set_policy(Time now, std::uint32_t number, const Policy& policy);
    GroupRef add_group(const GroupConfig& config);
    bool update_group(Time now, GroupRef group, const GroupConfig& config);
    void remove_group(Time now, GroupRef group);
    TunnelRef add_tunnel(Time now, const TunnelConfig& config);
    bool update_tunnel(Time now, TunnelRef tunnel, const TunnelConfig& config);
    void remove_tunnel(Time now, TunnelRef tunnel);
    void receive(Time now, TunnelRef tunnel, std::span<const std::uint8_t> bytes,
                 const Endpoint& source, Tag tag);
    void line_state(Time now, TunnelRef tunnel, bool up);
    void set_admin(Time now, TunnelRef tunnel, Admin admin);
    void set_local(Time now, TunnelRef tunnel, const Endpoint& local);
    void mtu_hint(Time now, TunnelRef tunnel, std::uint16_t mtu);
    void set_peer(Time now, TunnelRef tunnel, const Endpoint& peer);
    void prefetch(TunnelRef tunnel) const;
    Time run(Time now, std::uint32_t budget);
    [[nodiscard]] Time next_deadline() const { return wheel_.next(); }
    [[nodiscard]] TunnelStatus status(Time now, TunnelRef tunnel) const;
    [[nodiscard]] Choice current_choice(GroupRef group) const;

    [[nodiscard]] bool valid(TunnelRef t) const {
        return t.value < tunnels_.size() && tunnels_[t].used;
    }
    [[nodiscard]] bool valid(GroupRef g) const {
        return g.value < groups_.size() && groups_[g].used;
    }
    [[nodiscard]] const TunnelExtra& extra(TunnelRef t) const { return extras_[t]; }
    [[nodiscard]] const Tunnel& tunnel(TunnelRef t) const { return tunnels_[t]; }
    [[nodiscard]] const Group& group(GroupRef g) const { return groups_[g]; }
    [[nodiscard]] const Statistics& statistics() const { return statistics_; }

  private:
    using Message = wire::Message;

    // core.cpp
    void set_keys(Tunnel& t, TunnelExtra& x, const TunnelConfig& config);
    void use_tx_key(Tunnel& t, const TunnelExtra& x, unsigned index);
    void restart_exchange(Time now, TunnelRef i);
    [[nodiscard]] const Profile& profile_of(const Tunnel& t) const { return profile(t.profile); }
    std::uint32_t random32();

    // core_receive.cpp
    [[nodiscard]] int find_key(const Tunnel& t, std::uint8_t number) const;
    void believed(Time now, TunnelRef i, const Message& m, std::size_t size,
                  const Endpoint& source);
    void keepalive(Time now, TunnelRef i, const Message& m);
    void measure(Time now, TunnelRef i, const Message& m);
    void judge_down(Time now, TunnelRef i, const Message& m);
    void take_notes(Time now, TunnelRef i, const Message& m);
    void take_view(Time now, TunnelRef i, const Message& m);
    void count_received(Tunnel& t, TunnelExtra& x, std::uint64_t counter);

    // core_adopt.cpp
    void unknown_salt(Time now, TunnelRef i, const Message& m, const Endpoint& source);
    // A new address that the host does not allow.
    bool refuses(TunnelRef i, const Endpoint& source);
    void other_source(Time now, TunnelRef i, const Message& m, const Endpoint& source);
    // Why a challenge is sent; each has gates of its own.
    enum class Gate : std::uint32_t { Salt, Endpoint, Answer };
    void challenge(Time now, TunnelRef i, const Message& m, const Endpoint& to, Gate gate);
    struct GatePlace {
        ChallengeGate& gate;
        std::uint32_t tag;
    };
    GatePlace gate_of(const Tunnel& t, const Message& m, const Endpoint& to, Gate gate);
    void answer(Time now, TunnelRef i, const Message& m, const Endpoint& to);
    [[nodiscard]] bool good_answer(Time now, TunnelRef i, const Message& m,
                                   const Endpoint& source) const;
    void adopt_salt(Time now, TunnelRef i, const Message& m);
    [[nodiscard]] bool peer_was_away(Time now, TunnelRef i) const;
    void forget_nat(Time now, TunnelRef i);
    void adopt_endpoint(Time now, TunnelRef i, const Endpoint& source);

    // core_native.cpp
    enum class Leaving { Told, Fails, LosesData };
    // Where to send to, in the encapsulation that is in use.
    [[nodiscard]] static Endpoint way(const Tunnel& t);
    // The peer's endpoint, or that of an automatic tunnel in the other encapsulation.
    [[nodiscard]] static bool is_peer(const Tunnel& t, const Endpoint& source);
    [[nodiscard]] bool tries_native(const Tunnel& t) const;
    void check_native(Time now, TunnelRef i);
    void native_answered(Time now, TunnelRef i, const Message& m);
    void use_native(Time now, TunnelRef i, bool native);
    void leave_native(Time now, TunnelRef i, Leaving why);

    // core_guise.cpp
    [[nodiscard]] static bool other_port(const Tunnel& t, const Endpoint& source);
    [[nodiscard]] static bool tries_ports(const Tunnel& t);
    void check_ports(Time now, TunnelRef i);
    void ports_answered(Time now, TunnelRef i, const Message& m);
    void count_guise(Time now, TunnelRef i);
    void use_ports(Time now, TunnelRef i, bool free);
    [[nodiscard]] static bool tries_sums(const Tunnel& t);
    void check_sums(Time now, TunnelRef i);
    void sums_answered(Time now, TunnelRef i, const Message& m);
    void use_sums(TunnelRef i, bool zero);
    void tell_sums(Time now, TunnelRef i, bool fail);
    void send_guised(TunnelRef i, std::uint64_t token, std::uint16_t port);
    void doubt_guise(Time now, TunnelRef i, const Message& m);
    [[nodiscard]] static Time answer_gap(const TunnelExtra& x);

    // core_mtu.cpp
    void search_mtu(Time now, TunnelRef i);
    void doubt_mtu(Time now, TunnelRef i);
    void check_mtu(Time now, TunnelRef i);
    void mtu_acknowledged(Time now, TunnelRef i, const Message& m);
    void settle_mtu(Time now, TunnelRef i);
    void take_peer_mtu(Time now, TunnelRef i, std::uint16_t mtu);
    void explain_loss(Time now, TunnelRef i);
    static Time explained_until(const TunnelExtra& x);
    [[nodiscard]] std::uint64_t new_token();

    // core_session.cpp
    void enter(Time now, TunnelRef i, State state, Cause cause);
    void went_up(Time now, TunnelRef i, Event& event);
    void went_down(Time now, TunnelRef i, Cause cause);
    void trouble(Time now, TunnelRef i);
    void set_suspect(Time now, TunnelRef i, bool rx, bool suspect);
    void check_detection(Time now, TunnelRef i);
    [[nodiscard]] bool held_by_data(Time now, TunnelRef i, Time down);
    void check_restore(Time now, TunnelRef i);
    void check_unanswered(Time now, TunnelRef i);
    void want_interval(Time now, TunnelRef i);
    [[nodiscard]] Detection::Limits limits_of(TunnelRef i) const;
    [[nodiscard]] bool asks(TunnelRef i) const;
    [[nodiscard]] bool stands_far(TunnelRef i) const;
    [[nodiscard]] std::uint32_t tx_interval(Time now, TunnelRef i) const;
    void schedule(Time now, TunnelRef i);
    void each_second(Time now, TunnelRef i);
    void tunnel_due(Time now, TunnelRef i);
    void prefetch_groups(std::span<const TunnelRef> tunnels) const;

    // core_transmit.cpp
    void send_keepalive(Time now, TunnelRef i);
    void send(TunnelRef i, Message& m, const Endpoint& to, const Guise* guise = nullptr);
    void fill_group(const Group& g, Message& m) const;
    void fill_observed(Tunnel& t, TunnelExtra& x, Message& m) const;
    void send_soon(Time now, TunnelRef i);

    // core_data.cpp
    void check_data(Time now, TunnelRef i, const Message& m);
    void count_reported(Time now, TunnelRef i, const Message& m);
    void begin_second(Time now, TunnelRef i, std::uint64_t bytes);
    void judge_second(Time now, TunnelRef i, std::uint64_t bytes);
    [[nodiscard]] std::uint16_t sending_loss(TunnelRef i) const;
    [[nodiscard]] bool loses_most(TunnelRef i, unsigned lost) const;
    [[nodiscard]] bool all_lose(GroupRef group) const;
    void set_congested(Time now, TunnelRef i, bool congested);
    void tell_congestion(Time now, TunnelRef i);
    void set_doubtful(Time now, TunnelRef i, bool doubtful);
    void heal(Time now, TunnelRef i);
    void degrade(Time now, TunnelRef i, bool tell_peer, std::uint16_t loss);
    void take_data_lost(Time now, TunnelRef i);

    // core_quality.cpp
    void check_quality(Time now, TunnelRef i, const Sample& second);
    void judge_anew(const Group& g, const Policy& before, const Policy& after);

    // core_group.cpp
    [[nodiscard]] std::uint16_t losing_most(const Group& g, const Lines& lines) const;
    [[nodiscard]] Lines lines_of(Time now, const Group& g) const;
    void choose(Time now, GroupRef group);
    void apply_choice(Time now, GroupRef group, const std::array<std::uint16_t, kClasses>& wanted,
                      const Lines& lines);
    [[nodiscard]] std::array<std::uint16_t, kClasses> wanted_here(const Group& g,
                                                                  const Lines& lines) const;
    [[nodiscard]] std::uint16_t last_resort(const Group& g, unsigned number) const;
    [[nodiscard]] bool may_be_planned(Time now, const Group& g,
                                      const std::array<std::uint16_t, kClasses>& wanted,
                                      const Lines& lines) const;
    [[nodiscard]] bool leaves_trouble(const Group& g, const Lines& lines) const;
    bool start_move(Time now, GroupRef group);
    void end_move(Time now, GroupRef group, bool finished);
    void group_due(Time now, GroupRef group);
    void publish(GroupRef group);
    void spread_activity(Time now, GroupRef group, const Lines& lines);
    void tell_lines(Time now, GroupRef group, TunnelRef except);
    void override_waits(Time now, GroupRef group, std::uint16_t dead);
    void take_choice(Time now, TunnelRef i, const Message& m);
    void tell_eligible(Time now, const Group& g, std::uint16_t before, std::uint16_t after,
                       const Lines& lines);

    // core_status.cpp
    [[nodiscard]] Cause why_not(const Tunnel& t, const TunnelExtra& x) const;

    void emit(Event& event) { host_.event(event); }
    [[nodiscard]] std::uint32_t timer_of(GroupRef group) const {
        return tunnels_.size() + group.value;
    }
    [[nodiscard]] Event event_of(EventKind kind, Time now, TunnelRef i) const;

    Host& host_;
    Config config_;
    Statistics statistics_;
    Time grace_until_ = 0;  // nobody goes down before
    std::uint64_t random_state_;
    Tokens tokens_;
    Rows<ChallengeGate> gates_;  // by Tokens::place(); a power of two
    RowsOf<Tunnel, TunnelRef> tunnels_;
    RowsOf<TunnelExtra, TunnelRef> extras_;
    RowsOf<Group, GroupRef> groups_;
    std::vector<Policy> policies_;
    std::vector<bool> policy_set_;
    std::vector<Move> moves_;
    std::vector<TunnelRef> free_tunnels_;
    std::vector<GroupRef> free_groups_;
    TimerWheel wheel_;  // tunnels, then groups: timer_of()
};

}  // namespace dr::liveness
