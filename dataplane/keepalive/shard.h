// A liveness thread: one engine (dataplane/liveness/engine.h) and what it needs of this program,
// for one shard of the subscribers.
//
// It takes configuration from the writer and keepalives from the workers, lets the engine run, and
// gives keepalives to a worker to be sent, endpoints and choices to the writer to be published, and
// states and events to the liveness memfd. What it knows survives everything but the end of the
// process; nothing here needs drd.
#pragma once

#include <rte_mempool.h>
#include <rte_ring.h>

#include <array>
#include <atomic>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

#include "dataplane/keepalive/handover.h"
#include "dataplane/keepalive/mailbox.h"
#include "dataplane/liveness/engine.h"
#include "dataplane/server/counters_memfd.h"
#include "dataplane/server/liveness_memfd_writer.h"
#include "dataplane/writer/liveness_link.h"

struct rte_mbuf;

namespace dr::keepalive {

// What all shards share; outlives them.
struct Surroundings {
    Tables* tables{};
    const southbound::CountersMemfd* counters{};
    southbound::LivenessMemfd* report{};
    KeepaliveHandover* handover{};
    rte_mempool* pool{};
    int writer_wake = -1;  // an eventfd
    Mailbox<southbound::BindRequest>* binds{};
    Mailbox<southbound::ChoiceRequest>* choices{};
};

struct ShardConfig {
    unsigned number = 0;
    unsigned workers = 1;
    std::uint32_t tunnels = 0;  // with keys, at most
    std::uint32_t policies = 0;
    rte_ring* inject{};  // of the worker that sends for this shard
    std::uint64_t tsc_hz = 0;
};

// In the order in which the writer says it.
using Instruction = std::variant<southbound::LivePolicy, southbound::LiveSubscriber>;

class Shard final : public liveness::Host {
  public:
    static std::unique_ptr<Shard> create(const ShardConfig& config, const Surroundings& around,
                                         std::string* error);
    ~Shard() override;
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;

    // The writer.
    void instruct(Instruction instruction) { instructions_.put(std::move(instruction)); }

    // The thread: until `stop`. Sleeps when there is nothing to do, a millisecond at most.
    void run(const std::atomic<bool>& stop);
    // One round at `now`, nanoseconds of CLOCK_MONOTONIC, when the TSC is `tsc`. For tests too, in
    // virtual time. true: there was something to do.
    bool poll(liveness::Time now, std::uint64_t tsc);
    // When the next round is due if nothing comes before.
    [[nodiscard]] liveness::Time next_deadline() const { return engine_->next_deadline(); }

    [[nodiscard]] std::uint32_t sessions() const { return session_count_; }
    [[nodiscard]] const liveness::Statistics& statistics() const { return engine_->statistics(); }

  private:
    using TunnelRef = liveness::TunnelRef;
    using GroupRef = liveness::GroupRef;

    // Events of one tunnel, or of one subscriber's moves: GCRA (ITU-T I.371).
    struct EventRate {
        static constexpr liveness::Time kGap = 500 * liveness::kMillisecond;
        static constexpr liveness::Time kAtOnce = 64;
        liveness::Time whole_at{};
        std::uint32_t suppressed{};  // since the last one that was told
        bool take(liveness::Time now);
    };
    using EventFields = southbound::LivenessMemfd::EventFields;

    // By TunnelRef.
    struct Session {
        std::uint32_t id{};  // the GRE key; 0: not in use
        std::uint32_t group{};
        std::uint8_t line{};
        bool dirty{};
        bool any_port{};  // there is no NAT: the peer's data may come from any port
        bool entropy{};   // ... and ours may, too: packets from such ports arrive
        wire::Endpoint local;
        wire::Endpoint bound;  // not known(): as configured
        EventRate events{};
        std::uint16_t mtu{};    // largest inner packet that the path carries; 0: not known
        bool zero_checksums{};  // of UDP in data: packets with them arrive
    };
    // By GroupRef.
    struct Group {
        SubscriberIndex index;
        std::uint32_t id{};  // drd's
        std::uint32_t incarnation{};
        std::uint32_t policy{};   // drd's id
        std::uint32_t pending{};  // its place in choices_, plus 1
        std::array<TunnelRef, liveness::kLines> line;
        std::uint32_t stamped_since{};  // of a move, by MoveBoard::clock; 0: no stamps yet
        std::uint16_t epoch{};          // of the choice that the engine has made last
        EventRate events{};
    };
    struct PolicyNumber {
        std::uint32_t number;
        std::uint32_t restore_ms;
    };

    Shard(const ShardConfig& config, const Surroundings& around);

    // shard_config.cpp: what the writer says.
    void apply(const southbound::LivePolicy& policy);
    void apply(const southbound::LiveSubscriber& subscriber);
    void forget(SubscriberIndex index);
    void remove_session(TunnelRef tunnel);
    void release_slot(std::uint32_t slot, std::uint32_t incarnation);
    [[nodiscard]] bool owns_slot(const Session& session) const;
    void set_session(std::uint32_t group, const southbound::LiveTunnel& tunnel);
    [[nodiscard]] bool wanted(const southbound::LiveSubscriber& subscriber,
                              const Session& session) const;
    [[nodiscard]] liveness::GroupConfig group_config(const Group& group) const;
    void complain(const char* what);

    // shard_report.cpp: what it says to the memfd.
    void take_ports(const liveness::Event& event);
    void report(TunnelRef tunnel);
    void report_dirty();
    void sweep();
    void tell(EventRate& rate, EventFields& fields);
    void tell_suppressed(std::uint32_t tunnel);
    void report_statistics();

    // liveness::Host
    void send(TunnelRef tunnel, const wire::Endpoint& to,
              std::span<const std::uint8_t> message) override;
    void send_as(TunnelRef tunnel, const liveness::Guise& guise, const wire::Endpoint& to,
                 std::span<const std::uint8_t> message) override;
    void zero_checksums(TunnelRef tunnel, bool zero) override;
    void bind(TunnelRef tunnel, const wire::Endpoint& peer) override;
    bool may_bind(TunnelRef tunnel, const wire::Endpoint& peer) override;
    void path_mtu(TunnelRef tunnel, std::uint16_t mtu) override;
    void choice(GroupRef group, const liveness::Choice& choice) override;
    void event(const liveness::Event& event) override;
    liveness::DataCounters data_counters(TunnelRef tunnel) override;
    void bucket_ages(GroupRef group, std::span<std::uint32_t, liveness::kBuckets> ages) override;
    std::uint64_t random() override;

    void request_bind(TunnelRef tunnel);
    bool take_instructions();
    unsigned receive(rte_ring* ring, unsigned most, std::uint64_t tsc);
    void receive_one(rte_mbuf* m, std::uint64_t tsc);
    void prefetch(std::span<void* const> burst) const;
    void publish_peer(TunnelRef tunnel);
    void publish_keys(TunnelRef tunnel);
    void hand_out();
    void wake_writer() const;

    ShardConfig config_;
    Surroundings around_;
    Mailbox<Instruction> instructions_;
    std::unique_ptr<liveness::Engine> engine_;

    std::vector<Session> sessions_;
    std::vector<Group> groups_;
    RowArray<std::uint32_t> session_of_slot_;  // TunnelRef plus 1; 0: none
    std::unordered_map<std::uint32_t, std::uint32_t> group_of_subscriber_;  // by SubscriberIndex
    std::unordered_map<std::uint32_t, PolicyNumber> policies_;              // by drd's id
    std::vector<std::uint32_t> free_policies_;
    std::uint32_t session_count_ = 0;
    std::uint32_t highest_session_ = 0;  // plus 1, of those ever in use

    std::vector<southbound::BindRequest> binds_;
    std::vector<southbound::ChoiceRequest> choices_;
    std::vector<TunnelRef> dirty_;
    std::unordered_map<std::uint32_t, EventFields> suppressed_;  // the latest of a tunnel
    liveness::Time now_ = 0;       // what the engine was told last: it never goes back
    liveness::Time round_ = 0;     // of this round
    liveness::Time swept_at_ = 0;  // when the sweep was here last
    std::uint32_t sweep_next_ = 0;
    liveness::Time counted_at_ = 0;  // when the sums were reported last
    liveness::Statistics told_;      // that have gone into the memfd's sums
    std::array<std::uint64_t, 64> random_{};
    std::size_t random_left_ = 0;
    bool complained_ = false;
};

}  // namespace dr::keepalive
