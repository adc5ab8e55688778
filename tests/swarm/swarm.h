// Many URs in one process: for each tunnel of a fleet a session of the liveness engine in the UR's
// role, and the sites' data. Sans-I/O: frames go to a Wire, and come by receive().
//
// Data counts as delivered where it ends: a packet of a site when it comes back as a plain one on
// its way to the Internet, a packet to a site when it comes in one of the site's tunnels.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "dataplane/liveness/engine.h"
#include "tests/swarm/fleet.h"
#include "tests/swarm/frames.h"

namespace dr::swarm {

using liveness::Time;

class Wire {
  public:
    virtual ~Wire() = default;
    // Room for one frame of kMaxFrame bytes, until commit().
    virtual std::span<std::uint8_t> frame() = 0;
    // Sends the first `size` bytes of it. Lost when there is no link, as on any network.
    virtual void commit(unsigned size) = 0;
};

struct DataTotals {
    std::uint64_t uplink_sent = 0, uplink_delivered = 0;
    std::uint64_t downlink_sent = 0, downlink_delivered = 0;
};

struct Down {
    std::uint32_t tunnel = 0;  // number in the fleet
    liveness::Cause cause{};
    Time at = 0;
};

// When each tunnel or site was first seen again after mark(); 0: not yet.
struct Recovery {
    std::vector<Time> up;        // of each tunnel: last became Up
    std::vector<Time> uplink;    // of each site: first packet delivered
    std::vector<Time> downlink;  // of each site
};

class Swarm final : private liveness::Host {
  public:
    using Observer = std::function<void(bool sent, std::span<const std::uint8_t> frame)>;

    // nullptr and *error when there is no memory. `wire` outlives the swarm.
    static std::unique_ptr<Swarm> create(const Fleet& fleet, Wire& wire, std::uint64_t seed,
                                         std::string* error);

    // Starts the next `count` tunnels; the number of those not started yet.
    std::size_t start(Time now, std::size_t count);
    void receive(Time now, std::span<const std::uint8_t> frame);
    // Keepalives that are due, and data.
    void run(Time now);

    // Packets a second of all sites together, round-robin. A site without an eligible line that is
    // Up sends none.
    void set_traffic(Time now, std::uint64_t uplink, std::uint64_t downlink);
    void mark();
    // From now on nothing passes on this line of any site, and nobody is told.
    void cut(std::uint8_t line, bool on);
    // Sees each keepalive frame that is sent or has arrived. Empty: nobody.
    void observe(Observer observer) { observer_ = std::move(observer); }

    [[nodiscard]] std::size_t tunnels() const { return tunnels_.size(); }
    [[nodiscard]] std::size_t up() const { return up_; }
    // Sites whose every line is Up and eligible.
    [[nodiscard]] std::size_t settled() const;
    [[nodiscard]] const liveness::Statistics& statistics() const { return engine_->statistics(); }
    [[nodiscard]] const DataTotals& data() const { return data_; }
    [[nodiscard]] const Recovery& recovery() const { return recovery_; }
    [[nodiscard]] const std::vector<Down>& downs() const { return downs_; }  // the first 20
    [[nodiscard]] std::uint64_t strays() const { return strays_; }

  private:
    struct Tunnel {
        TunnelHeader header;
        liveness::DataCounters data;
        std::uint32_t site = 0;
        std::uint8_t line = 0;
        bool up = false;
    };
    struct Site {
        std::uint16_t lines = 0;     // that it has
        std::uint16_t up = 0;        // of them
        std::uint16_t eligible = 0;  // as the DR says
    };
    struct Rate {
        std::uint64_t per_second = 0;
        Time next = 0;
        std::uint64_t due(Time now);
    };

    Swarm(const Fleet& fleet, Wire& wire);
    void send(liveness::TunnelRef tunnel, const wire::Endpoint& to,
              std::span<const std::uint8_t> message) override;
    void bind(liveness::TunnelRef, const wire::Endpoint&) override {}
    void choice(liveness::GroupRef group, const liveness::Choice& choice) override;
    void event(const liveness::Event& event) override;
    liveness::DataCounters data_counters(liveness::TunnelRef tunnel) override;
    void bucket_ages(liveness::GroupRef,
                     std::span<std::uint32_t, liveness::kBuckets> ages) override;
    std::uint64_t random() override;

    [[nodiscard]] bool is_cut(const Tunnel& tunnel) const {
        return (cut_ >> tunnel.line & 1U) != 0;
    }
    void receive_from_tunnel(Time now, const Arrived& arrived, std::span<const std::uint8_t> frame);
    void send_uplink();
    void send_downlink();

    const Fleet& fleet_;
    Wire& wire_;
    std::unique_ptr<liveness::Engine> engine_;
    std::vector<liveness::GroupRef> groups_;
    std::vector<Tunnel> tunnels_;        // by number in the fleet, which is TunnelRef's too
    std::vector<std::uint32_t> by_key_;  // tunnel by slot, the low 24 bits of the key
    std::vector<Site> sites_;
    Rate uplink_;
    Rate downlink_;
    std::size_t next_tunnel_ = 0;
    std::uint32_t next_site_ = 0;
    std::uint32_t flow_ = 0;
    DataTotals data_;
    Recovery recovery_;
    std::vector<Down> downs_;
    std::uint64_t strays_ = 0;
    std::size_t up_ = 0;
    std::uint16_t cut_ = 0;  // lines
    Observer observer_;
};

}  // namespace dr::swarm
