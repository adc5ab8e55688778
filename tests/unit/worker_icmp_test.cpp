// ICMP errors under a flood: whoever provokes many of them leaves the others theirs.
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
