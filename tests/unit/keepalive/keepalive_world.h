// dr-dataplane without its process: a worker on an in-memory port, the table writer, the liveness
// service, and at the other end a UR's engine, all on one virtual clock.
//
//   port "up0": 192.0.2.1/24, 2001:db8:ff::1/64, default routes via a neighbour; everything else is
//   behind it: the URs' lines and the Internet.
//   subscriber 1: 203.0.113.8/29; line n of policy 1 (a, b, ...) has tunnel 16777216 + 8 + n
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/keepalive/service.h"
#include "dataplane/worker/worker.h"
#include "dataplane/writer/table_writer.h"
#include "tests/support/pipeline.h"
#include "tests/support/ring_ports.h"
#include "tests/unit/southbound/southbound_records.h"

namespace dr::keepalive::test {

using dr::test::Bytes;
using liveness::Endpoint;
using liveness::Time;

Endpoint endpoint(const std::string& address, std::uint16_t port);

// A line of the site as provisioned.
struct Line {
    std::string name;
    std::uint32_t id;
    bool keyed = true;
    southbound::Encapsulation encapsulation = southbound::Encapsulation::GreUdp;
    std::string remote = "0.0.0.0";  // this: learned
    std::uint16_t remote_port = 4754;
    std::string local = "192.0.2.1";
    std::uint8_t key_number = 1;
    std::uint16_t fixed_port = 0;  // remote_port of a tunnel whose remote is learned
};

struct Site {
    std::uint32_t id = 1;
    std::string prefix = "203.0.113.8/29";
    std::uint32_t policy = 1;
    std::vector<Line> lines;
};
southbound::test::Body encode(const Site& site);
dr::TunnelKey key_of(const Line& line);

struct World;

// The UR of a site: an engine, and what it says.
struct Ur final : liveness::Host {
    explicit Ur(World& w, const Site& s, unsigned salt_seed = 1);
    void send(liveness::TunnelRef tunnel, const Endpoint& to,
              std::span<const std::uint8_t> message) override;
    void bind(liveness::TunnelRef, const Endpoint&) override {}
    void choice(liveness::GroupRef, const liveness::Choice& c) override { last = c; }
    void event(const liveness::Event& e) override { events.push_back(e); }
    liveness::DataCounters data_counters(liveness::TunnelRef tunnel) override;
    void bucket_ages(liveness::GroupRef,
                     std::span<std::uint32_t, liveness::kBuckets> ages) override;
    std::uint64_t random() override;
    [[nodiscard]] liveness::State state(unsigned line) const;

    World& world;
    std::unique_ptr<liveness::Engine> engine;
    std::vector<liveness::TunnelRef> tunnels;
    std::vector<std::uint32_t> ids;
    std::vector<Endpoint> from;  // by line: what its packets come from, as the DR sees it
    std::vector<bool> cut;       // by line, both directions
    bool cut_native = false;     // native GRE on all lines
    std::size_t most = 65'535;   // longer packets from the DR are lost
    liveness::Choice last{};
    std::vector<liveness::DataCounters> data;  // by line; what arrives is counted
    std::vector<liveness::Event> events;
    std::uint64_t random_state;
};

struct World {
    // tsc_per_ms: of the pace of keepalives; the default lets virtual time run as fast as it can.
    explicit World(unsigned threads = 1, std::uint64_t tsc_per_ms = 1);
    ~World();
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    // Provisions policy 1 with these tiers of lines, and the site; a line in the same way again
    // changes it.
    void provision(const Site& site, const std::vector<southbound::test::TierSpec>& tiers);
    southbound::Outcome commit(const southbound::Transaction& transaction) {
        return writer->commit(transaction, true);
    }
    Ur& add_ur(const Site& site);

    // All parts in turn, a virtual millisecond each time.
    void step();
    bool run_until(const std::function<bool()>& done, Time most);
    void run(Time duration);
    // A frame with this IP packet into the port; what leaves in answer, keepalives left out.
    std::vector<Bytes> exchange(std::span<const std::uint8_t> packet);
    void put(std::span<const std::uint8_t> packet);
    // An outer packet of a tunnel's UR.
    static Bytes outer(const Endpoint& from, const Endpoint& to, std::uint32_t key,
                       std::uint16_t type, std::span<const std::uint8_t> payload);
    // A packet from the Internet to the site, and one from the site.
    static Bytes downlink(unsigned flow = 1);
    static Bytes uplink();

    [[nodiscard]] std::uint64_t exit(Exit exit) const;
    [[nodiscard]] const TunnelRow* row(std::uint32_t id) const;  // null: none
    [[nodiscard]] southbound::LivenessState live(std::uint32_t id) const;

    std::unique_ptr<Tables> tables;
    std::unique_ptr<Rib> rib;
    std::unique_ptr<southbound::CountersMemfd> counters;
    std::unique_ptr<southbound::LivenessMemfd> report;
    std::unique_ptr<Service> service;
    std::unique_ptr<southbound::TableWriter> writer;
    dr::test::RingPort ring{};
    Ports ports;
    WorkerShared shared;
    std::unique_ptr<Worker> worker;
    std::vector<std::unique_ptr<Ur>> urs;
    std::vector<Bytes>* record = nullptr;  // of what URs send
    std::vector<Bytes> other;  // frames that left and are no keepalives, without Ethernet
    Time now = 1'000 * liveness::kSecond;

  private:
    void drain();
    void deliver(const Bytes& packet);
};

}  // namespace dr::keepalive::test
