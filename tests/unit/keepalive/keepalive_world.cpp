#include "tests/unit/keepalive/keepalive_world.h"

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>

#include "dataplane/config/config.h"
#include "dataplane/ports/static_config.h"
#include "dataplane/wire/flow_key.h"
#include "dataplane/wire/outer.h"
#include "dataplane/worker/exits.h"

namespace dr::keepalive::test {

namespace sb = southbound;
namespace rec = southbound::test;

namespace {

constexpr unsigned kEthernet = sizeof(wire::Ethernet);

IpAddress address_of(const std::string& text) {
    return parse_address(text).value();
}

PortConfig port_config() {
    PortConfig config;
    config.name = "up0";
    config.addresses = {{address_of("192.0.2.1"), 24}, {address_of("2001:db8:ff::1"), 64}};
    const IpAddress via4 = address_of("192.0.2.254");
    const IpAddress via6 = address_of("2001:db8:ff::fe");
    config.routes = {{rec::prefix("0.0.0.0/0"), via4}, {rec::prefix("::/0"), via6}};
    config.neighbours = {{via4, dr::test::Pipeline::kPeer}, {via6, dr::test::Pipeline::kPeer}};
    return config;
}

}  // namespace

TunnelKey key_of(const Line& line) {
    TunnelKey key;
    key.fill(static_cast<std::uint8_t>(line.id + line.key_number));
    return key;
}

Endpoint endpoint(const std::string& address, std::uint16_t port) {
    const IpAddress a = address_of(address);
    return {a.family, port, a.bytes};
}

rec::Body encode(const Site& site) {
    rec::Body body;
    rec::append(&body, sb::SubscriberRecord{site.id, site.policy, 7, 1,
                                            static_cast<std::uint16_t>(site.lines.size())});
    const IpPrefix p = rec::prefix(site.prefix);
    rec::append(&body, sb::PrefixRecord{p.address.family, p.length, 0, p.address.bytes});
    for (const Line& line : site.lines) {
        sb::TunnelRecord tunnel = rec::tunnel_record({line.name, line.id, line.remote, line.local,
                                                      line.encapsulation, line.remote_port, 1400});
        if (tunnel.remote == std::array<std::uint8_t, 16>{}) tunnel.remote_port = line.fixed_port;
        if (!sb::has_ports(line.encapsulation)) tunnel.remote_port = 0;
        tunnel.key_number = line.keyed ? line.key_number : std::uint8_t{0};
        tunnel.profile = line.keyed ? sb::Profile::Fixed : sb::Profile::None;
        rec::append(&body, tunnel);
    }
    for (const Line& line : site.lines) {
        if (!line.keyed) continue;
        rec::append(&body, sb::KeyRecord{line.id, line.key_number, 0, 0, key_of(line), {}});
    }
    return body;
}

Ur::Ur(World& w, const Site& site, unsigned salt_seed)
    : world(w), random_state(salt_seed * 0x9e3779b97f4a7c15ULL + 1) {
    std::string error;
    liveness::Config config;
    config.role = liveness::Role::UserRouter;
    engine = liveness::Engine::create(config, {16, 1, 1, 4}, *this, &error);
    REQUIRE(engine != nullptr);
    liveness::Policy policy;
    for (unsigned n = 0; n < site.lines.size(); ++n)
        policy.klass[0].tier[n] = static_cast<std::uint8_t>(n);
    REQUIRE(engine->set_policy(world.now, 0, policy));
    const liveness::GroupRef group = engine->add_group(world.now, {});
    for (unsigned n = 0; n < site.lines.size(); ++n) {
        const Line& line = site.lines[n];
        ids.push_back(line.id);
        const bool v6 = line.local.find(':') != std::string::npos;
        const bool learned = line.remote == "0.0.0.0";
        const std::string own = !learned ? line.remote
                                : v6     ? "2001:db8:a::" + std::to_string(n + 2)
                                         : "198.51.100." + std::to_string(n + 2);
        const std::uint16_t port =
            sb::has_ports(line.encapsulation) ? wire::kGreUdpPort : std::uint16_t{0};
        from.push_back(endpoint(own, port));
        cut.push_back(false);
        data.emplace_back();
        liveness::TunnelConfig tunnel;
        tunnel.group = group;
        tunnel.line = static_cast<std::uint8_t>(n);
        tunnel.id = line.id;
        tunnel.peer = endpoint(line.local, port);
        tunnel.local = from.back();
        tunnel.automatic = line.encapsulation == sb::Encapsulation::Automatic;
        tunnel.keys[0] = {line.key_number, key_of(line)};
        tunnels.push_back(line.keyed ? engine->add_tunnel(world.now, tunnel)
                                     : liveness::TunnelRef{});
    }
}

void Ur::send(liveness::TunnelRef tunnel, const Endpoint& to,
              std::span<const std::uint8_t> message) {
    for (unsigned n = 0; n < tunnels.size(); ++n) {
        if (tunnels[n] != tunnel || cut[n]) continue;
        Endpoint source = from[n];
        if (to.port == 0) source.port = 0;
        if (to.port == 0 && cut_native) continue;
        const Bytes packet = World::outer(source, to, ids[n], wire::kEtherKeepalive, message);
        if (world.record != nullptr) world.record->push_back(packet);
        world.put(packet);
    }
}

liveness::DataCounters Ur::data_counters(liveness::TunnelRef tunnel) {
    const auto at = std::find(tunnels.begin(), tunnels.end(), tunnel);
    return at == tunnels.end() ? liveness::DataCounters{}
                               : data[static_cast<std::size_t>(at - tunnels.begin())];
}

void Ur::bucket_ages(liveness::GroupRef, std::span<std::uint32_t, liveness::kBuckets> ages) {
    std::fill(ages.begin(), ages.end(), 1000);
}

std::uint64_t Ur::random() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

liveness::State Ur::state(unsigned line) const {
    return engine->status(world.now, tunnels[line]).state;
}

World::World(unsigned threads, std::uint64_t tsc_per_ms) {
    REQUIRE(dr::test::start_eal());
    std::string error;
    Capacity capacity{64, 256, 256, 64, 512, 512, 256, 256};
    tables = Tables::create(capacity, &error);
    REQUIRE(tables != nullptr);
    rib = std::make_unique<Rib>(*tables);
    ring = dr::test::make_ring_port();
    Port port;
    port.name = "up0";
    port.kind = PortKind::Ring;
    port.ethdev = ring.ethdev;
    port.mac = dr::test::Pipeline::mac(0);
    ports.push_back(port);
    REQUIRE(install_static(*rib, 0, ports[0], port_config(), &error));
    const std::vector<std::string> names{"up0"};
    counters = sb::CountersMemfd::create(kExits, 1, capacity.tunnels, names, &error);
    REQUIRE(counters != nullptr);
    report = sb::LivenessMemfd::create(capacity.tunnels, threads, counters->uuid(), &error);
    REQUIRE(report != nullptr);
    service = Service::create({threads, 1, 64, 2048, tsc_per_ms}, *tables, *counters, *report,
                              dr::test::ring_pool(), &error);
    INFO(error);
    REQUIRE(service != nullptr);
    sb::WriterHooks hooks;
    hooks.policy_changed = [this](const sb::LivePolicy& p) { service->policy_changed(p); };
    hooks.keyed_subscriber_changed = [this](sb::LiveSubscriber s) {
        service->subscriber_changed(std::move(s));
    };
    writer = std::make_unique<sb::TableWriter>(*tables, *rib, hooks);
    shared.tables = tables.get();
    shared.ports = &ports;
    shared.qsbr = &tables->qsbr;
    shared.pool = dr::test::ring_pool();
    shared.keepalive = service->handover();
    WorkerConfig config;
    config.queues = {{0, 0}};
    config.sleep_when_idle = false;
    config.inject = service->inject(0);
    worker = std::make_unique<Worker>(config, shared, counters->worker_block(0),
                                      counters->tunnel_counters(0));
    tables->qsbr.online(0);
}

World::~World() {
    drain();
    tables->qsbr.offline(0);
    dr::test::free_ring_port(ring);
}

void World::provision(const Site& site, const std::vector<rec::TierSpec>& tiers) {
    rec::Txn txn;
    txn.put(rec::PolicySpec{site.policy, {tiers}});
    txn.add(sb::Type::UpsertSubscriber, encode(site));
    const sb::Outcome outcome = commit(txn);
    INFO(outcome.text);
    REQUIRE(outcome.ok());
}

Ur& World::add_ur(const Site& site) {
    urs.push_back(std::make_unique<Ur>(*this, site, static_cast<unsigned>(urs.size()) + 1));
    return *urs.back();
}

void World::step() {
    now += liveness::kMillisecond;
    for (const auto& ur : urs) ur->engine->run(now);
    while (worker->poll() != 0) drain();
    for (unsigned i = 0; i < service->threads(); ++i) service->shard(i).poll(now, rte_rdtsc());
    service->serve(*writer);
    while (worker->poll() != 0) drain();
    drain();
    writer->housekeeping();
}

bool World::run_until(const std::function<bool()>& done, Time most) {
    for (const Time end = now + most; now < end;) {
        if (done()) return true;
        step();
    }
    return done();
}

void World::run(Time duration) {
    run_until([] { return false; }, duration);
}

void World::put(std::span<const std::uint8_t> packet) {
    const Bytes frame = dr::test::ethernet_frame(0, packet);
    rte_mbuf* m = rte_pktmbuf_alloc(dr::test::ring_pool());
    REQUIRE(m != nullptr);
    std::memcpy(rte_pktmbuf_append(m, static_cast<std::uint16_t>(frame.size())), frame.data(),
                frame.size());
    REQUIRE(rte_ring_enqueue(ring.rx, m) == 0);
}

void World::drain() {
    void* item = nullptr;
    while (rte_ring_dequeue(ring.tx, &item) == 0) {
        auto* m = static_cast<rte_mbuf*>(item);
        const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
        const Bytes packet(data + kEthernet, data + m->data_len);
        rte_pktmbuf_free(m);
        deliver(packet);
    }
}

void World::deliver(const Bytes& packet) {
    const bool v6 = packet[0] >> 4 == 6;
    const std::uint8_t protocol = packet[v6 ? 6 : 9];
    std::size_t gre = v6 ? 40 : 20;
    Endpoint source{static_cast<std::uint16_t>(v6 ? 6 : 4), 0, {}};
    Endpoint to = source;
    std::memcpy(source.address.data(), packet.data() + (v6 ? 8 : 12), v6 ? 16 : 4);
    std::memcpy(to.address.data(), packet.data() + (v6 ? 24 : 16), v6 ? 16 : 4);
    if (protocol == wire::kProtoUdp) {
        source.port = wire::load16(packet.data() + gre);
        to.port = wire::load16(packet.data() + gre + 2);
        gre += 8;
    }
    const bool tunnel = protocol == wire::kProtoGre || source.port == wire::kGreUdpPort ||
                        to.port == wire::kGreUdpPort;
    const bool keepalive = tunnel && wire::load16(packet.data() + gre + 2) == wire::kEtherKeepalive;
    if (!keepalive) other.push_back(packet);
    if (!tunnel) return;
    const std::uint32_t id = wire::load32(packet.data() + gre + 4);
    for (const auto& ur : urs) {
        for (unsigned n = 0; n < ur->ids.size(); ++n) {
            Endpoint at = ur->from[n];
            if (to.port == 0) at.port = 0;
            if (ur->ids[n] != id || ur->cut[n] || at != to) continue;
            if (to.port == 0 && ur->cut_native) continue;
            if (packet.size() > ur->most) continue;
            if (!keepalive) ++ur->data[n].received;
            if (keepalive)
                ur->engine->receive(now, ur->tunnels[n],
                                    {packet.data() + gre + 8, packet.size() - gre - 8}, source);
        }
    }
}

std::vector<Bytes> World::exchange(std::span<const std::uint8_t> packet) {
    other.clear();
    put(packet);
    while (worker->poll() != 0) drain();
    drain();
    return std::exchange(other, {});
}

Bytes World::outer(const Endpoint& from, const Endpoint& to, std::uint32_t key, std::uint16_t type,
                   std::span<const std::uint8_t> payload) {
    Endpoint target = to;
    if (from.port == 0) target.port = 0;
    const unsigned size = wire::outer_size(target);
    Bytes packet(size + payload.size());
    wire::write_outer(packet.data(), from, target, key, static_cast<unsigned>(payload.size()));
    const auto put16 = [&](std::size_t at, std::uint16_t value) {
        packet[at] = static_cast<std::uint8_t>(value >> 8);
        packet[at + 1] = static_cast<std::uint8_t>(value);
    };
    put16(size - 6, type);
    if (!payload.empty()) std::memcpy(packet.data() + size, payload.data(), payload.size());
    return packet;
}

Bytes World::downlink(unsigned flow) {
    const Bytes source{8, 8, static_cast<std::uint8_t>(flow >> 8), static_cast<std::uint8_t>(flow)};
    const Bytes destination{203, 0, 113, 9};
    return dr::test::udp_packet(source, destination, 100);
}

Bytes World::uplink() {
    const Bytes source{203, 0, 113, 9};
    const Bytes destination{8, 8, 8, 8};
    return dr::test::udp_packet(source, destination, 100);
}

std::uint64_t World::exit(Exit exit) const {
    return counters->worker_block(0)->exits[static_cast<std::size_t>(exit)];
}

const TunnelRow* World::row(std::uint32_t id) const {
    const std::uint32_t row = tables->tunnel_of_slot[TunnelId{id}.slot()].load();
    return row == kNoRow ? nullptr : &tables->tunnels[row];
}

sb::LivenessState World::live(std::uint32_t id) const {
    return report->read_row(TunnelId{id}.slot());
}

}  // namespace dr::keepalive::test
