// Messages of the tunnel protocol: the decoder by itself, and the engine behind it.
//
// Input: a byte of choices, then messages, each two bytes of length (little endian) and the bytes.
// Choices: bit 0, the messages get a valid tag first, as from a peer that has the key and is
// hostile; bit 1, the engine is a UR's; bits 2-7, steps of 16 ms of virtual time after each
// message.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "dataplane/liveness/auth.h"
#include "dataplane/liveness/engine.h"

using namespace dr;
using namespace dr::liveness;

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

struct FuzzHost final : Host {
    void send(TunnelRef, const Endpoint& to, std::span<const std::uint8_t> message) override {
        require(to.known());
        wire::Message m;
        require(wire::decode(message, m) == wire::DecodeError::None);
        bytes_sent += message.size();
    }
    void bind(TunnelRef, const Endpoint& peer) override { require(peer.known()); }
    void choice(GroupRef, const Choice& c) override { require((c.eligible[0] & ~3U) == 0); }
    void event(const Event&) override {}
    DataCounters data_counters(TunnelRef) override { return {}; }
    void bucket_ages(GroupRef, std::span<std::uint32_t, kBuckets> ages) override {
        std::fill(ages.begin(), ages.end(), 0U);
    }
    std::uint64_t random() override { return ++state * 0x9e3779b97f4a7c15ULL; }

    std::uint64_t state = 0;
    std::size_t bytes_sent = 0;
};

// What decodes, encodes to the same bytes; a probe's padding alone is free.
void check_decoder(std::span<const std::uint8_t> bytes) {
    wire::Message m;
    if (wire::decode(bytes, m) != wire::DecodeError::None) return;
    std::vector<std::uint8_t> again(bytes.begin(), bytes.end());
    require(wire::encode(m, again) == bytes.size());
    const std::size_t compared = m.type == wire::MessageType::Probe ? 40 : bytes.size();
    require(std::equal(again.begin(), again.begin() + static_cast<std::ptrdiff_t>(compared),
                       bytes.begin()));
}

struct World {
    explicit World(Role role) {
        Config config;
        config.role = role;
        engine = Engine::create(config, {2, 1, 1, 1}, host, nullptr);
        Policy policy;
        policy.klass[0].tier[0] = 0;
        policy.klass[0].tier[1] = 1;
        engine->set_policy(now, 0, policy);
        const GroupRef group = engine->add_group(now, {});
        for (std::uint8_t line = 0; line < 2; ++line) {
            TunnelConfig tunnel;
            tunnel.group = group;
            tunnel.line = line;
            tunnel.id = line;
            tunnel.peer = source;
            tunnel.local = source;
            tunnels[line] = engine->add_tunnel(now, tunnel);
        }
        engine->run(now);
        key = derive_mac_key(
            {}, role == Role::UserRouter ? Role::DistributionRouter : Role::UserRouter, 0);
    }
    FuzzHost host;
    Time now = 1000 * kSecond;
    Endpoint source{4, 4754, {192, 0, 2, 1}};
    std::unique_ptr<Engine> engine;
    std::array<TunnelRef, 2> tunnels;
    MacKey key{};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::span<const std::uint8_t> input(data, size);
    if (input.empty()) return 0;
    const unsigned choices = input[0];
    const bool authentic = (choices & 1U) != 0;
    input = input.subspan(1);
    World world((choices & 2U) != 0 ? Role::UserRouter : Role::DistributionRouter);
    while (input.size() >= 2) {
        const std::size_t length = std::min<std::size_t>(
            static_cast<std::size_t>(input[0]) | static_cast<std::size_t>(input[1]) << 8,
            input.size() - 2);
        std::vector<std::uint8_t> message(input.begin() + 2,
                                          input.begin() + 2 + static_cast<std::ptrdiff_t>(length));
        input = input.subspan(2 + length);
        check_decoder(message);
        if (authentic && message.size() > wire::kTagSize) write_tag(world.key, message);
        const std::size_t before = world.host.bytes_sent;
        const bool elsewhere = !message.empty() && (message.back() & 7U) == 0;
        Endpoint from = world.source;
        if (elsewhere) from.port = 9;
        world.engine->receive(world.now, world.tunnels[0], message, from);
        const std::size_t answered = world.host.bytes_sent - before;
        require(answered <= message.size());
        if (!authentic) require(answered == 0);
        world.now += (choices >> 2) * 16 * kMillisecond;
        world.engine->run(world.now);
    }
    (void)world.engine->status(world.now, world.tunnels[0]);
    return 0;
}
