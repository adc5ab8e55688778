// The site's end of the keepalives: the liveness engine in the role of a UR, with a session for
// each tunnel that has keys, and the ports that the tunnels are sent from. No I/O of its own: what
// it decides is carried out by a KeepaliveSink. One thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "dataplane/liveness/engine.h"
#include "ur/config.h"

namespace dr::ur {

// Both ends of a tunnel as they are now, for data and keepalives alike.
struct TunnelEnds {
    liveness::Endpoint peer;   // port 0: native GRE
    std::uint16_t local_port;  // GRE-in-UDP
    bool entropy;         // GRE-in-UDP: data from the flows' source ports passes (TUNNEL.md §12)
    bool zero_checksums;  // GRE-in-UDP: data with UDP checksum 0 passes
};

// Called from inside functions of Keepalives; must not call back. Slots are those of the data path.
class KeepaliveSink {
  public:
    virtual ~KeepaliveSink() = default;
    virtual void send(unsigned slot, const liveness::Endpoint& from, const liveness::Endpoint& to,
                      std::uint32_t key, std::span<const std::uint8_t> message,
                      bool zero_checksum) = 0;
    virtual void ends(unsigned slot, const TunnelEnds& ends) = 0;
    virtual void choice(const liveness::Choice& choice) = 0;
    // The largest inner packet that the tunnel carries in both directions, from now on.
    virtual void path_mtu(unsigned slot, std::uint16_t mtu) = 0;
    virtual liveness::DataCounters data_counters(unsigned slot) = 0;
    // As liveness::Host::bucket_ages().
    virtual void bucket_ages(std::span<std::uint32_t, liveness::kBuckets> ages) = 0;
    virtual void event(const liveness::Event& event, const std::string& line) = 0;
    // Secure random bits.
    virtual std::uint64_t random() = 0;
};

class Keepalives final : private liveness::Host {
  public:
    using Time = liveness::Time;

    // Throws std::runtime_error when memory is short. `sink` outlives it.
    explicit Keepalives(KeepaliveSink& sink);
    ~Keepalives() override;

    // Puts a configuration in force. A tunnel whose id and line number stay keeps its session,
    // whatever else changes; so keys change without a state change.
    void apply(Time now, const Config& config);
    // The tunnel's line: whether it can be used, our outer address on it (family 0: none), and the
    // largest packet that its device sends (0: not known).
    void line(Time now, unsigned slot, bool up, const IpAddress& local, unsigned device_mtu);
    void receive(Time now, unsigned slot, std::span<const std::uint8_t> message,
                 const liveness::Endpoint& source);
    // A router on the way says that it carries outer packets of at most so many bytes; 0: it did
    // not say how many.
    void hint(Time now, unsigned slot, unsigned outer_mtu);
    // Says AdminDown on every tunnel: the DR leaves them at once, and nothing is held against their
    // lines. For the end; the tunnels stay so.
    void say_goodbye(Time now);
    // Whether a DR may still send to this end.
    [[nodiscard]] bool expected(Time now) const;
    // Does what is due; returns when to call again.
    Time run(Time now);

    // Whether the tunnel in this slot has keepalives.
    [[nodiscard]] bool has(unsigned slot) const { return sessions_.contains(slot); }
    [[nodiscard]] TunnelEnds ends(unsigned slot) const;
    // How often the tunnel has tried another port since it was last Up.
    [[nodiscard]] unsigned moves(unsigned slot) const { return sessions_.at(slot).moves; }
    [[nodiscard]] liveness::TunnelStatus status(Time now, unsigned slot) const;
    [[nodiscard]] const liveness::Statistics& statistics() const { return engine_->statistics(); }

  private:
    struct Session {
        Tunnel tunnel;
        liveness::TunnelRef ref;
        std::optional<bool> up;  // of the line; unset: not looked at yet
        IpAddress local;
        unsigned device_mtu = 0;
        TunnelEnds ends{};
        Time not_up_since = 0;  // or when the port was last moved since; while the line is up
        unsigned moves = 0;     // of the port, since the tunnel was last Up
    };

    void send(liveness::TunnelRef tunnel, const liveness::Endpoint& to,
              std::span<const std::uint8_t> message) override;
    void send_as(liveness::TunnelRef tunnel, const liveness::Guise& guise,
                 const liveness::Endpoint& to, std::span<const std::uint8_t> message) override;
    void zero_checksums(liveness::TunnelRef tunnel, bool zero) override;
    void bind(liveness::TunnelRef tunnel, const liveness::Endpoint& peer) override;
    void choice(liveness::GroupRef group, const liveness::Choice& choice) override;
    void path_mtu(liveness::TunnelRef tunnel, std::uint16_t mtu) override;
    void event(const liveness::Event& event) override;
    liveness::DataCounters data_counters(liveness::TunnelRef tunnel) override;
    void bucket_ages(liveness::GroupRef group,
                     std::span<std::uint32_t, liveness::kBuckets> ages) override;
    std::uint64_t random() override { return sink_.random(); }

    void set_group(Time now, const Config& config);
    void drop_sessions(Time now, const Config& config);
    void add(Time now, const Tunnel& tunnel);
    void update(Time now, Session& session, const Tunnel& tunnel);
    [[nodiscard]] liveness::TunnelConfig make_config(const Session& session) const;
    [[nodiscard]] liveness::Endpoint local_end(const Session& session) const;
    Session* find(liveness::TunnelRef tunnel);
    // What an event changes of a tunnel's ends, once the engine is done with what caused it.
    void settle();
    // When a tunnel that is not Up tries another port; never: it has to stay where it is.
    [[nodiscard]] Time move_due(Time now, const Session& session) const;
    void move_port(Time now, Session& session);

    KeepaliveSink& sink_;
    std::unique_ptr<liveness::Engine> engine_;
    liveness::GroupRef group_;
    std::map<unsigned, Session> sessions_;  // by slot
    std::deque<liveness::Event> to_settle_;
};

}  // namespace dr::ur
