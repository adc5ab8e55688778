// What a keepalive costs: nanoseconds for a tag verified, a message acted on and one sent.
//
//   keepalive_cost [TUNNELS] [SECONDS]
//
// Two engines on one virtual clock, a DR's and a UR's, with TUNNELS tunnels (default 100000) in
// groups of two lines, each at 10 messages a second in each direction. The messages of a step are
// collected and then handed over, so each cost is measured by itself, with the tunnels' rows as
// cold as so many tunnels make them; a few messages ahead, as a host that takes bursts from a ring
// can, they are prefetched. At both ends the tag is verified as a DR's worker does it, burst by
// burst, out of the rows that a shard publishes (`check`); `rx` and `tx` are the liveness thread's,
// and `capacity` is how many tunnels one core of it has time for. JSON lines, as scripts/bench
// prints them.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/keepalive/handover.h"
#include "dataplane/liveness/auth.h"
#include "dataplane/liveness/engine.h"

using namespace dr::liveness;

namespace {

using Clock = std::chrono::steady_clock;

struct Wire {
    struct Slot {
        std::uint32_t tunnel;
        std::uint32_t size;
        std::array<std::uint8_t, dr::wire::kMaxKeepaliveSize> bytes;
    };
    std::vector<Slot> slots;
    std::size_t used = 0;
};

class Collector final : public Host {
  public:
    explicit Collector(std::uint64_t seed) : random_(seed) {}
    void send(TunnelRef tunnel, const Endpoint&, std::span<const std::uint8_t> message) override {
        if (wire.used == wire.slots.size()) wire.slots.resize(wire.slots.size() * 2 + 1024);
        Wire::Slot& slot = wire.slots[wire.used++];
        slot.tunnel = tunnel.value;
        slot.size = static_cast<std::uint32_t>(message.size());
        std::memcpy(slot.bytes.data(), message.data(), message.size());
    }
    void bind(TunnelRef, const Endpoint&) override {}
    void choice(GroupRef, const Choice&) override {}
    void event(const Event&) override {}
    DataCounters data_counters(TunnelRef) override { return {}; }
    void bucket_ages(GroupRef, std::span<std::uint32_t, kBuckets> ages) override {
        std::fill(ages.begin(), ages.end(), kAgeSettled);
    }
    std::uint64_t random() override { return random_ = random_ * 6364136223846793005ULL + 99; }

    Wire wire;

  private:
    std::uint64_t random_;
};

struct Cost {
    double seconds = 0;
    std::uint64_t messages = 0;
    [[nodiscard]] double ns() const {
        return messages == 0 ? 0 : seconds * 1e9 / static_cast<double>(messages);
    }
};

Endpoint endpoint(std::uint8_t last) {
    return {4, 4754, {192, 0, 2, last}};
}

std::unique_ptr<Engine> make(Role role, std::uint32_t tunnels, Host& host, Time now) {
    Config config;
    config.role = role;
    std::string error;
    auto engine = Engine::create(config, {tunnels, tunnels / 2, 1, 16}, host, &error);
    if (engine == nullptr) {
        std::fprintf(stderr, "keepalive_cost: %s\n", error.c_str());
        std::exit(1);
    }
    Policy policy;
    policy.klass[0].tier[0] = policy.klass[0].tier[1] =
        0;  // both carry: all at the active interval
    engine->set_policy(now, 0, policy);
    for (std::uint32_t g = 0; g < tunnels / 2; ++g) {
        const GroupRef group = engine->add_group(now, {});
        for (std::uint8_t line = 0; line < 2; ++line) {
            TunnelConfig tunnel;
            tunnel.group = group;
            tunnel.line = line;
            tunnel.id = g * 2U + line;
            tunnel.keys[0].number = 1;
            tunnel.keys[0].bytes.fill(static_cast<std::uint8_t>(g));
            tunnel.peer = endpoint(role == Role::UserRouter ? 1 : 2);
            engine->add_tunnel(now, tunnel);
        }
    }
    return engine;
}

void run(Engine& engine, Collector& out, Time now, Cost& cost) {
    const auto start = Clock::now();
    engine.run(now);
    cost.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    cost.messages += out.wire.used;
}

using Peers = std::vector<dr::KeepalivePeer>;

Peers publish(const Engine& engine, std::uint32_t tunnels) {
    Peers peers(tunnels);
    for (std::uint32_t i = 0; i < tunnels; ++i)
        dr::write_peer_keys(peers[i], engine.peer_keys({i}));
    return peers;
}

// As a worker does: the key out of the tunnel's row, then the tag.
Tag verified(const Peers& peers, const Wire::Slot& slot) {
    MacKey key;
    std::uint32_t sequence = 0;
    const bool right =
        dr::read_peer_key(peers[slot.tunnel], slot.tunnel, slot.bytes[4], &key, &sequence) &&
        verify_tag(key, {slot.bytes.data(), slot.size});
    return right ? Tag::Right : Tag::Unchecked;
}

void check(const Peers& peers, const Collector& from, std::vector<Tag>& tags, Cost& cost) {
    constexpr std::size_t kBurst = 32;
    const std::size_t count = from.wire.used;
    tags.resize(count);
    const auto start = Clock::now();
    for (std::size_t first = 0; first < count; first += kBurst) {
        const std::size_t end = std::min(count, first + kBurst);
        for (std::size_t i = first; i < end; ++i)
            __builtin_prefetch(&peers[from.wire.slots[i].tunnel]);
        for (std::size_t i = first; i < end; ++i) tags[i] = verified(peers, from.wire.slots[i]);
    }
    cost.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    cost.messages += count;
}

void hand_over(Collector& from, Engine& to, const std::vector<Tag>& tags, const Endpoint& source,
               Time now, Cost& cost) {
    const std::size_t count = from.wire.used;
    const auto start = Clock::now();
    constexpr std::size_t kAhead = 4;
    for (std::size_t i = 0; i < count; ++i) {
        if (i + kAhead < count) to.prefetch({from.wire.slots[i + kAhead].tunnel});
        const Wire::Slot& slot = from.wire.slots[i];
        to.receive(now, {slot.tunnel}, {slot.bytes.data(), slot.size}, source, tags[i]);
    }
    cost.seconds += std::chrono::duration<double>(Clock::now() - start).count();
    cost.messages += count;
    from.wire.used = 0;
}

}  // namespace

int main(int argc, char** argv) {
    const auto tunnels =
        static_cast<std::uint32_t>(argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 100'000);
    const double seconds = argc > 2 ? std::strtod(argv[2], nullptr) : 5;
    if (tunnels < 2 || tunnels % 2 != 0 || seconds <= 0) {
        std::fprintf(stderr, "usage: keepalive_cost [TUNNELS (even)] [SECONDS]\n");
        return 2;
    }
    Time now = 1'000'000 * kSecond;
    Collector dr_out(1);
    Collector ur_out(2);
    const auto dr = make(Role::DistributionRouter, tunnels, dr_out, now);
    const auto ur = make(Role::UserRouter, tunnels, ur_out, now);
    const Peers dr_peers = publish(*dr, tunnels);
    const Peers ur_peers = publish(*ur, tunnels);
    std::vector<Tag> tags;
    Cost checks;
    Cost tx;
    Cost rx;
    constexpr Time kStep = 5 * kMillisecond;
    constexpr unsigned kWarmSteps = 400;
    auto start = Clock::now();
    for (unsigned step = 0;; ++step) {
        if (step == kWarmSteps) {
            tx = rx = checks = {};
            start = Clock::now();
        }
        const bool over = std::chrono::duration<double>(Clock::now() - start).count() > seconds;
        if (step > kWarmSteps && over) break;
        run(*dr, dr_out, now, tx);
        run(*ur, ur_out, now, tx);
        now += kStep;
        check(ur_peers, dr_out, tags, checks);
        hand_over(dr_out, *ur, tags, endpoint(1), now, rx);
        check(dr_peers, ur_out, tags, checks);
        hand_over(ur_out, *dr, tags, endpoint(2), now, rx);
    }
    const Statistics& s = dr->statistics();
    if (s.downs != 0 || s.ups != tunnels) {
        std::fprintf(stderr, "keepalive_cost: %llu of %u tunnels came up, %llu went down\n",
                     static_cast<unsigned long long>(s.ups), tunnels,
                     static_cast<unsigned long long>(s.downs));
        return 1;
    }
    const double both = rx.ns() + tx.ns();
    std::printf(
        "{\"name\": \"keepalive.check\", \"ns\": %.1f, \"tunnels\": %u, \"messages\": %llu}\n",
        checks.ns(), tunnels, static_cast<unsigned long long>(checks.messages));
    std::printf("{\"name\": \"keepalive.rx\", \"ns\": %.1f, \"tunnels\": %u, \"messages\": %llu}\n",
                rx.ns(), tunnels, static_cast<unsigned long long>(rx.messages));
    std::printf("{\"name\": \"keepalive.tx\", \"ns\": %.1f, \"tunnels\": %u, \"messages\": %llu}\n",
                tx.ns(), tunnels, static_cast<unsigned long long>(tx.messages));
    std::printf("{\"name\": \"keepalive.capacity\", \"tunnels\": %.0f, \"per_second\": 10}\n",
                1e9 / (10 * both));
    return 0;
}
