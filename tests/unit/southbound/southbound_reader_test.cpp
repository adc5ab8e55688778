// Readers steer while the writer churns: the test to run under TSan.
#include <atomic>
#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "dataplane/writer/table_writer.h"
#include "dataplane/writer/tunnel_row.h"
#include "tests/unit/southbound/southbound_records.h"

namespace dr::southbound::test {
namespace {

constexpr std::uint32_t kSites = 40;

struct Findings {
    std::atomic<std::uint64_t> steered{};
    std::atomic<std::uint64_t> wrong_subscriber{};
    std::atomic<std::uint64_t> empty_slot{};
    std::atomic<std::uint64_t> wrong_uplink{};
};

// What a worker does to find the tunnel of one packet.
void steer(const Tables& t, std::uint32_t site, unsigned bucket, Findings* findings) {
    const std::array<std::uint8_t, 4> destination{10, 0, static_cast<std::uint8_t>(site), 1};
    const Target target = t.lpm4->lookup(destination.data());
    if (target.kind() != TargetKind::Subscriber) return;
    const std::uint32_t map = t.subscribers[target.index()].map.load(std::memory_order_acquire);
    if (map == kNoRow) return;
    const std::uint8_t line = t.maps[map].line[bucket];
    if (line == BucketMap::kNone) return;
    const std::uint32_t row = t.tunnel_for(target.index(), line);
    if (row == kNoRow) {
        ++findings->empty_slot;
        return;
    }
    const TunnelRow& tunnel = t.tunnels[row];
    // Every tunnel of site n has the remote address 198.51.100.n.
    if (tunnel.subscriber != target.index() || remote_address(tunnel).bytes[3] != site)
        ++findings->wrong_subscriber;
    ++findings->steered;
}

// What a worker does to find the row of one received key.
void receive(const Tables& t, std::uint32_t slot, Findings* findings) {
    const std::uint32_t row = t.tunnel_of_slot[slot].load(std::memory_order_acquire);
    if (row == kNoRow) return;
    if (tunnel_id(t.tunnels[row]).slot() != slot) ++findings->wrong_uplink;
}

void read_until(const Tables& t, Qsbr& qsbr, unsigned reader, const std::atomic<bool>& stop,
                Findings* findings) {
    std::mt19937 random(reader);
    qsbr.online(reader);
    while (!stop.load(std::memory_order_relaxed)) {
        for (unsigned i = 0; i < 32; ++i) {
            const auto r = static_cast<std::uint32_t>(random());
            steer(t, 1 + r % kSites, r >> 24, findings);
            receive(t, 1 + (r >> 8) % (kSites * 4), findings);
        }
        qsbr.quiescent(reader);
        std::this_thread::yield();
    }
    qsbr.offline(reader);
}

SubscriberSpec random_site(std::mt19937* random, std::uint32_t id) {
    SubscriberSpec spec{id, {"10.0." + std::to_string(id) + ".0/24"}, {}};
    const std::string remote = "198.51.100." + std::to_string(id);
    // Lines c and up are beyond the subscriber row of policy 2, in its extra slots.
    const std::array<std::string, 3> lines{"a", "b", "o"};
    const auto bits = static_cast<unsigned>((*random)() % 7 + 1);
    for (unsigned n = 0; n < 3; ++n) {
        if ((bits >> n & 1U) == 0) continue;
        const auto mtu = static_cast<std::uint16_t>(1300 + (*random)() % 100);
        spec.tunnels.push_back(
            {lines[n], id * 4 + n - 3, remote, "192.0.2.1", Encapsulation::GreUdp, 0, mtu});
    }
    spec.policy = static_cast<std::uint32_t>((*random)() % 2 + 1);
    return spec;
}

PolicySpec many_lines(std::uint32_t id, std::uint8_t weight) {
    TierSpec tier;
    for (char name = 'b'; name <= 'o'; ++name) tier.emplace_back(std::string(1, name), weight);
    tier.emplace_back("a", std::uint8_t{1});
    return policy(id, {tier});
}

// Its lines have the numbers `first`, `first` + 1, ...
PolicySpec numbered_from(unsigned first, std::vector<TierSpec> tiers) {
    PolicySpec spec = policy(1, std::move(tiers));
    for (const char* name : {"a", "b", "o"}) {
        spec.numbers[name] = static_cast<std::uint8_t>(first % kMaxLines);
        ++first;
    }
    return spec;
}

TEST_CASE("while subscribers change, a reader never gets an empty slot or another one's tunnel",
          "[threads]") {
    std::string error;
    const auto tables = Tables::create({kSites, 4 * kSites + 1, 512, 16, 128, 64, 128, 16}, &error);
    REQUIRE(tables != nullptr);
    Rib rib(*tables);
    TableWriter writer(*tables, rib);
    REQUIRE(
        writer
            .commit(Txn().put(policy(1, {{{"a", 1}, {"b", 1}}, {{"o", 1}}})).put(many_lines(2, 3)),
                    false)
            .ok());
    std::atomic<bool> stop{false};
    Findings findings;
    std::thread readers[2];
    for (unsigned r = 0; r < 2; ++r)
        readers[r] = std::thread([&, r] { read_until(*tables, tables->qsbr, r, stop, &findings); });

    std::mt19937 random(8157);
    unsigned refused = 0;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (unsigned round = 0; round < 4000 && std::chrono::steady_clock::now() < deadline; ++round) {
        Txn txn;
        for (unsigned i = 0; i < 4; ++i) {
            const auto id = static_cast<std::uint32_t>(random() % kSites + 1);
            if (random() % 4 == 0)
                txn.drop_subscriber(id);
            else
                txn.put(random_site(&random, id));
        }
        if (round % 16 == 0) txn.put(many_lines(2, static_cast<std::uint8_t>(1 + random() % 9)));
        if (round % 16 == 8) {
            // With numbers that meant other lines a moment ago.
            const auto first = static_cast<unsigned>(random() % 3);
            txn.put(numbered_from(first, {{{random() % 2 == 0 ? "a" : "o", 1}, {"b", 1}}}));
        }
        refused += writer.commit(txn, true).ok() ? 0U : 1U;
        writer.housekeeping();
        if (round % 8 == 0) std::this_thread::yield();
    }
    while (findings.steered < 1000 && std::chrono::steady_clock::now() < deadline)
        std::this_thread::yield();
    stop = true;
    for (std::thread& reader : readers) reader.join();
    CHECK(findings.steered >= 1000);
    CHECK(findings.wrong_subscriber == 0);
    CHECK(findings.empty_slot == 0);
    CHECK(findings.wrong_uplink == 0);
    CHECK(refused == 0);
}

}  // namespace
}  // namespace dr::southbound::test
