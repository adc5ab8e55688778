// ICMP errors: what is unreachable is told; whoever provokes many leaves the others theirs.
#include <catch2/catch.hpp>

#include "dataplane/worker/exits.h"
#include "tests/support/pipeline.h"

using namespace dr;
using namespace dr::test;

namespace {

constexpr unsigned kFlood = 2000;
constexpr unsigned kWanted = 40;

Bytes expired(const Bytes& source, const Bytes& destination) {
    Bytes packet = udp_packet(source, destination, 10);
    packet[7] = 1;  // hop limit
    return packet;
}

Bytes too_big(const Bytes& source, const Bytes& destination) {
    return udp_packet(source, destination, 1450);
}

// Somebody of the Internet in a /48 of his own.
Bytes outside(unsigned network) {
    Bytes address = outside_address(6);
    address[5] = static_cast<std::uint8_t>(network);
    return address;
}

struct Started {
    Started() { REQUIRE(start_eal()); }
};

struct Flooded {
    Flooded() { REQUIRE(start_eal()); }
    // How many of these packets are answered, after so many of those.
    unsigned answered(const Bytes& flood, const Bytes& wanted, Exit answer, bool uplink = false,
                      unsigned flooder = 1, unsigned sender = 1) {
        pipeline = std::make_unique<Pipeline>();
        put(flood, kFlood, uplink, flooder);
        CHECK(pipeline->exit(Exit::DropIcmpLimited) > kFlood / 2);
        const std::uint64_t before = pipeline->exit(answer);
        put(wanted, kWanted, uplink, sender);
        return static_cast<unsigned>(pipeline->exit(answer) - before);
    }
    void put(const Bytes& packet, unsigned count, bool uplink, unsigned subscriber) const {
        const Bytes frame =
            uplink ? tunnel_frame(subscriber, 2, packet) : ethernet_frame(0, packet);
        for (unsigned i = 0; i < count; ++i) {
            REQUIRE(pipeline->send(uplink ? 1 : 0, frame));
            if (i % 100 == 99) pipeline->run();
        }
        pipeline->run();
    }
    std::unique_ptr<Pipeline> pipeline;
};

}  // namespace

TEST_CASE_METHOD(Flooded, "packets whose hop limit ran out take no answer from what is too big") {
    const Bytes site = site_address(1, 6);
    CHECK(answered(expired(outside(1), site), too_big(outside(1), site), Exit::IcmpPacketTooBig) ==
          kWanted);
    CHECK(answered(too_big(outside(1), site), expired(outside(1), site), Exit::IcmpTimeExceeded) ==
          kWanted);
}

TEST_CASE_METHOD(Flooded,
                 "a network that provokes errors leaves the others theirs, about the same "
                 "site and another one") {
    const Bytes site = site_address(1, 6);
    const Bytes flood = too_big(outside(1), site);
    CHECK(answered(flood, too_big(outside(2), site), Exit::IcmpPacketTooBig) == kWanted);
    CHECK(answered(flood, too_big(outside(2), site_address(2, 6)), Exit::IcmpPacketTooBig) ==
          kWanted);
    CHECK(answered(expired(outside(1), site), expired(outside(2), site), Exit::IcmpTimeExceeded) ==
          kWanted);
}

TEST_CASE_METHOD(Flooded,
                 "errors about one site, provoked from many networks, leave another site "
                 "its own") {
    pipeline = std::make_unique<Pipeline>();
    for (unsigned network = 10; network < 110; ++network)
        put(too_big(outside(network), site_address(1, 6)), 20, false, 0);
    CHECK(pipeline->exit(Exit::DropIcmpLimited) > kFlood / 2);
    const std::uint64_t before = pipeline->exit(Exit::IcmpPacketTooBig);
    put(too_big(outside(2), site_address(2, 6)), kWanted, false, 0);
    CHECK(pipeline->exit(Exit::IcmpPacketTooBig) - before == kWanted);
}

TEST_CASE_METHOD(Flooded,
                 "a host that provokes errors leaves theirs to another host of its site, "
                 "and to another site in the same network") {
    const Bytes away = outside_address(6);
    const Bytes host = site_address(1, 6);
    Bytes neighbour = host;
    neighbour[15] = 2;
    const Bytes flood = expired(host, away);
    CHECK(answered(flood, expired(neighbour, away), Exit::IcmpTimeExceeded, true) == kWanted);
    CHECK(answered(flood, expired(site_address(2, 6), away), Exit::IcmpTimeExceeded, true, 1, 2) ==
          kWanted);
    CHECK(answered(flood, expired(host, site_address(2, 6)), Exit::IcmpTimeExceeded, true) <
          kWanted);
}

TEST_CASE_METHOD(Started,
                 "a route that says unreachable or prohibit has the sender told so, in the network "
                 "and through its tunnel, but for a source that would be somebody else's") {
    Pipeline pipeline;
    const Bytes nowhere4{198, 18, 0, 1};
    Bytes nowhere6(16);
    nowhere6[0] = 0x20, nowhere6[1] = 0x01, nowhere6[15] = 1;
    struct Told {
        Discard how;
        std::uint8_t code4, code6;
    };
    for (const Told& told : {Told{Discard::Unreachable, 1, 0}, Told{Discard::Prohibited, 13, 1}}) {
        pipeline.tables().lpm4->insert({198, 18, 0, 0}, 16, Target::discarding(told.how));
        pipeline.tables().lpm6->insert({0x20, 0x01}, 64, Target::discarding(told.how));
        pipeline.out(0).clear();
        pipeline.out(1).clear();
        const std::uint64_t before = pipeline.exit(Exit::DropBlackhole);
        for (const unsigned family : {4U, 6U}) {
            const Bytes& nowhere = family == 4 ? nowhere4 : nowhere6;
            REQUIRE(pipeline.send(
                0, ethernet_frame(0, udp_packet(outside_address(family), nowhere, 10))));
            REQUIRE(pipeline.send(
                1, tunnel_frame(1, 0, udp_packet(site_address(1, family), nowhere, 10))));
            REQUIRE(pipeline.send(
                0, ethernet_frame(0, udp_packet(site_address(1, family), nowhere, 10))));
        }
        pipeline.run();
        CHECK(pipeline.exit(Exit::DropBlackhole) == before + 4);
        REQUIRE(pipeline.out(0).size() == 2);
        CHECK(pipeline.out(1).size() == 2);
        const Bytes& four = pipeline.out(0)[0];
        CHECK(four[14 + 20] == 3);
        CHECK(four[14 + 21] == told.code4);
        const Bytes& six = pipeline.out(0)[1];
        CHECK(six[14 + 40] == 1);
        CHECK(six[14 + 41] == told.code6);
    }
    CHECK(pipeline.exit(Exit::DropIngressSource) == 4);
    CHECK(pipeline.exits() == 12);
}

TEST_CASE_METHOD(Started,
                 "a scan of a pool's unused addresses is answered at a limited rate, and each "
                 "packet leaves under the cause's name") {
    Pipeline pipeline;
    pipeline.tables().lpm4->insert({198, 18, 0, 0}, 16, Target(TargetKind::Pool, 0));
    for (unsigned i = 0; i < 600; ++i) {
        const Bytes unused{198, 18, static_cast<std::uint8_t>(i >> 8),
                           static_cast<std::uint8_t>(i)};
        REQUIRE(pipeline.send(0, ethernet_frame(0, udp_packet(outside_address(4), unused, 10))));
        if (i % 100 == 99) pipeline.run();
    }
    CHECK(pipeline.exit(Exit::DropNoSubscriber) == 600);
    CHECK(pipeline.exits() == 600);
    CHECK(pipeline.out(0).size() >= 50);
    CHECK(pipeline.out(0).size() < 300);
}
