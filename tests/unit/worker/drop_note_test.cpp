// What a worker notes of packets that it drops.
#include <catch2/catch.hpp>
#include <cstring>

#include "tests/support/pipeline.h"

using namespace dr;
using namespace dr::test;

namespace {

struct Started {
    Started() { REQUIRE(start_eal()); }
};

// Of subscriber 1's tunnel of GRE-in-UDP over IPv4, sound but for its key.
Bytes frame_with_key(std::uint32_t key) {
    Bytes frame = tunnel_frame(1, 1, udp_packet(site_address(1, 4), outside_address(4), 100));
    const std::uint32_t wire = __builtin_bswap32(key);
    std::memcpy(frame.data() + 14 + 20 + 8 + 4, &wire, sizeof wire);
    return frame;
}

void drop(Pipeline& pipeline, const Bytes& frame, unsigned times = 1) {
    for (unsigned i = 0; i < times; ++i) REQUIRE(pipeline.send(1, frame));
    pipeline.run();
}

std::uint64_t count(const southbound::TunnelDrops& drops, Exit exit) {
    for (const std::uint64_t reason : drops.reason)
        if (reason >> southbound::TunnelDrops::kExitShift == static_cast<std::uint64_t>(exit))
            return reason & southbound::TunnelDrops::kCountMask;
    return 0;
}

}  // namespace

TEST_CASE_METHOD(Started, "a dropped packet is noted as it came, with its port and its length") {
    Pipeline pipeline;
    const Bytes frame = frame_with_key(0x05ffffff);
    drop(pipeline, frame);
    REQUIRE(pipeline.exit(Exit::DropUnknownTunnel) == 1);
    REQUIRE(pipeline.notes(Exit::DropUnknownTunnel) == 1);
    const auto noted = pipeline.noted(Exit::DropUnknownTunnel);
    CHECK(noted.port == 1);
    CHECK(noted.length == frame.size());
    CHECK(noted.flags == 0);
    CHECK(noted.from == 0);
    CHECK(noted.into == 0);
    CHECK(noted.tsc != 0);
    REQUIRE(noted.head == std::min(frame.size(), southbound::kDropHead));
    CHECK(std::memcmp(noted.frame.data(), frame.data(), noted.head) == 0);
}

TEST_CASE_METHOD(Started, "a packet that is forwarded leaves no note, and counts as no drop") {
    Pipeline pipeline;
    drop(pipeline, tunnel_frame(1, 0, udp_packet(site_address(1, 4), outside_address(4), 100)));
    REQUIRE(pipeline.exit(Exit::ForwardedUplink) == 1);
    for (std::size_t e = 0; e < kExitCount; ++e) CHECK(pipeline.notes(static_cast<Exit>(e)) == 0);
    CHECK(pipeline.tunnel_drops(Pipeline::tunnel_id(1, 0)).reason[0] == 0);
}

TEST_CASE_METHOD(Started, "of a flood of drops one packet in a turn and a millisecond is noted") {
    Pipeline pipeline;
    const Bytes frame = frame_with_key(0x05ffffff);
    constexpr unsigned kFlood = 256;  // a few turns of the loop
    drop(pipeline, frame, kFlood);
    REQUIRE(pipeline.exit(Exit::DropUnknownTunnel) == kFlood);
    CHECK(pipeline.notes(Exit::DropUnknownTunnel) >= 1);
    CHECK(pipeline.notes(Exit::DropUnknownTunnel) <= pipeline.turns());
    CHECK(pipeline.notes(Exit::DropUnknownTunnel) < kFlood / 16);
}

TEST_CASE_METHOD(Started, "a tunnel's drops are counted by reason, three of them and the others") {
    Pipeline pipeline;
    const TunnelId id = Pipeline::tunnel_id(1, 0);
    const Bytes source = site_address(1, 4), elsewhere = outside_address(4);
    const auto damaged = [&](std::size_t at, std::uint8_t to) {
        Bytes frame = tunnel_frame(1, 0, udp_packet(source, elsewhere, 64));
        frame[at] = to;
        return frame;
    };
    constexpr std::size_t kInner = 14 + 20 + 8;
    drop(pipeline, tunnel_frame(1, 0, udp_packet(site_address(2, 4), elsewhere, 64)), 3);
    drop(pipeline, damaged(kInner, 0x65), 2);
    drop(pipeline, damaged(14 + 20 + 2, 0x12));
    drop(pipeline, tunnel_frame(1, 0, udp_packet(source, source, 64)), 4);
    CHECK(pipeline.exit(Exit::DropInnerSource) == 3);
    CHECK(pipeline.exit(Exit::DropInnerFormat) == 2);
    CHECK(pipeline.exit(Exit::DropGreProtocol) == 1);
    CHECK(pipeline.exit(Exit::DropHairpinSelf) == 4);
    const auto& drops = pipeline.tunnel_drops(id);
    CHECK(count(drops, Exit::DropInnerSource) == 3);
    CHECK(count(drops, Exit::DropInnerFormat) == 2);
    CHECK(count(drops, Exit::DropGreProtocol) == 1);
    CHECK(drops.others == 4);
    CHECK(pipeline.noted(Exit::DropHairpinSelf).from == id.value);
}

TEST_CASE_METHOD(Started, "a stale key counts for no tunnel: the slot is somebody else's now") {
    Pipeline pipeline;
    const TunnelId id = Pipeline::tunnel_id(1, 1);
    drop(pipeline, frame_with_key(id.value ^ 0x01000000));
    REQUIRE(pipeline.exit(Exit::DropStaleGeneration) == 1);
    CHECK(pipeline.noted(Exit::DropStaleGeneration).from == 0);
    CHECK(pipeline.tunnel_drops(id).reason[0] == 0);
    CHECK(pipeline.tunnel_drops(id).others == 0);
}

TEST_CASE_METHOD(Started, "a frame that a port does not take is noted as it was to leave") {
    Pipeline pipeline;
    pipeline.pause(1, true);
    const Bytes inner = udp_packet(outside_address(4), site_address(1, 4), 100);
    REQUIRE(pipeline.send(0, ethernet_frame(0, inner)));
    pipeline.run();
    REQUIRE(pipeline.exit(Exit::DropTransmit) == 1);
    const auto noted = pipeline.noted(Exit::DropTransmit);
    CHECK(noted.port == 1);
    CHECK(noted.flags == southbound::DropState::kLeaving);
    CHECK(noted.into == Pipeline::tunnel_id(1, 0).value);
    CHECK(count(pipeline.tunnel_drops(TunnelId{noted.into}), Exit::DropTransmit) == 1);
}
