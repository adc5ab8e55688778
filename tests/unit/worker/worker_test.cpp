// The forwarding pipeline as a whole, on in-memory ports: what single packets become is pinned byte
// for byte by the replay cases; here it is robustness and conservation.
#include <catch2/catch.hpp>
#include <cstring>
#include <random>

#include "dataplane/wire/checksum.h"
#include "dataplane/worker/exits.h"
#include "dataplane/worker/ttl.h"
#include "tests/support/pipeline.h"

using namespace dr;
using namespace dr::test;

namespace {

struct Started {
    Started() { REQUIRE(start_eal()); }
};

Bytes valid_frame(std::mt19937& random, unsigned* port) {
    const unsigned n = 1 + random() % kSubscribers;
    const unsigned family = random() % 2 == 0 ? 4 : 6;
    const std::size_t payload = random() % 8 == 0 ? 1400 + random() % 60 : random() % 200;
    *port = random() % 2;
    if (*port == 0)
        return ethernet_frame(
            0, udp_packet(outside_address(family), site_address(n, family), payload));
    const unsigned other = 1 + random() % kSubscribers;
    const Bytes destination =
        random() % 4 == 0 ? site_address(other, family) : outside_address(family);
    return tunnel_frame(n, random() % 4, udp_packet(site_address(n, family), destination, payload));
}

void mutate(std::mt19937& random, Bytes& frame) {
    const unsigned kind = random() % 4;
    if (kind == 0) frame.resize(random() % (frame.size() + 1));
    if (kind == 1)
        for (unsigned i = 0; i < 1 + random() % 4 && !frame.empty(); ++i)
            frame[random() % frame.size()] = static_cast<std::uint8_t>(random());
    if (kind == 2 && frame.size() > 80)
        for (unsigned i = 0; i < 3; ++i)
            frame[12 + random() % 66] = static_cast<std::uint8_t>(random());
}

}  // namespace

TEST_CASE_METHOD(Started,
                 "each of 200,000 sound and damaged frames leaves through exactly one exit") {
    const auto seed = static_cast<std::uint32_t>(Catch::rngSeed() + 1);
    CAPTURE(seed);
    std::mt19937 random(seed);
    Pipeline pipeline;
    std::uint64_t sent = 0;
    for (unsigned round = 0; round < 4000; ++round) {
        for (unsigned i = 0; i < 50; ++i) {
            unsigned port = 0;
            Bytes frame = valid_frame(random, &port);
            if (random() % 2 == 0) mutate(random, frame);
            sent += pipeline.send(port, frame) ? 1U : 0U;
        }
        pipeline.run();
        pipeline.out(0).clear();
        pipeline.out(1).clear();
    }
    CHECK(pipeline.received() == sent);
    CHECK(pipeline.exits() == sent);
    CHECK(pipeline.unnoted().empty());
    CHECK(pipeline.missing_buffers() == 0);
    CHECK(pipeline.exit(Exit::ForwardedDownlink) > 0);
    CHECK(pipeline.exit(Exit::ForwardedUplink) > 0);
    CHECK(pipeline.exit(Exit::ForwardedHairpin) > 0);
}

TEST_CASE_METHOD(
    Started,
    "what one end encapsulates comes out of the other end's header unchanged but for the TTL") {
    for (unsigned n = 1; n <= kSubscribers; ++n) {
        for (const unsigned family : {4U, 6U}) {
            CAPTURE(n, family);
            Pipeline pipeline;
            const Bytes inner = udp_packet(outside_address(family), site_address(n, family), 100);
            REQUIRE(pipeline.send(0, ethernet_frame(0, inner)));
            pipeline.run();
            REQUIRE(pipeline.out(1).size() == 1);
            const Bytes& frame = pipeline.out(1)[0];
            const std::size_t overhead = 14 + TunnelRow::kHeaderLength[(n - 1) & 3U];
            REQUIRE(frame.size() == overhead + inner.size());
            Bytes carried(frame.begin() + static_cast<long>(overhead), frame.end());
            CHECK(carried[family == 4 ? 8 : 7] == 63);
            carried[family == 4 ? 8 : 7] = 64;
            if (family == 4) std::copy_n(inner.begin() + 10, 2, carried.begin() + 10);
            CHECK(carried == inner);
        }
    }
}

namespace {

// An IPv4 packet whose fragment field and first flags are as given, checksum right.
Bytes with_fragment_field(Bytes packet, std::uint16_t field) {
    packet[6] = static_cast<std::uint8_t>(field >> 8);
    packet[7] = static_cast<std::uint8_t>(field);
    packet[10] = packet[11] = 0;
    const Be16 sum = wire::checksum(packet.data(), 20);
    std::memcpy(packet.data() + 10, &sum, 2);
    return packet;
}

// What tells packets apart wherever they are cut: all of the payload.
Bytes tagged(Bytes packet, unsigned tag) {
    const std::size_t headers = packet[0] >> 4 == 4 ? 28 : 48;
    std::fill(packet.begin() + static_cast<long>(headers), packet.end(),
              static_cast<std::uint8_t>(tag));
    return packet;
}

std::vector<unsigned> tags(const std::vector<Bytes>& frames) {
    std::vector<unsigned> tags;
    for (const Bytes& frame : frames) tags.push_back(frame.back());
    return tags;
}

}  // namespace

TEST_CASE_METHOD(
    Started,
    "packets leave a port in the order in which they came, errors and fragments included") {
    Pipeline pipeline;
    std::vector<unsigned> encapsulated, answered;
    const Bytes outside = outside_address(4);
    const Bytes site = site_address(1, 4);
    for (unsigned i = 0; i < 200; ++i) {
        Bytes packet = tagged(udp_packet(outside, site, 10 + i), i);
        if (i % 7 == 3) {  // two fragments
            packet = with_fragment_field(tagged(udp_packet(outside, site, 1480), i), 0);
            encapsulated.push_back(i);
        }
        if (i % 7 == 4) {  // an ICMP error, to where it came from
            packet = tagged(udp_packet(outside_address(6), site_address(1, 6), 10), i);
            packet[7] = 1;
            answered.push_back(i);
        } else {
            encapsulated.push_back(i);
        }
        REQUIRE(pipeline.send(0, ethernet_frame(0, packet)));
    }
    pipeline.run();
    CHECK(tags(pipeline.out(1)) == encapsulated);
    CHECK(tags(pipeline.out(0)) == answered);
}

TEST_CASE_METHOD(Started, "a frame in two pieces becomes what it becomes in one") {
    const auto seed = static_cast<std::uint32_t>(Catch::rngSeed() + 2);
    CAPTURE(seed);
    std::mt19937 random(seed);
    Pipeline whole;
    Pipeline pieces;
    for (unsigned i = 0; i < 2000; ++i) {
        unsigned port = 0;
        Bytes frame = valid_frame(random, &port);
        if (random() % 2 == 0) mutate(random, frame);
        // Damage should be met behind the header's checksum, too.
        if (frame.size() >= 34 && frame[14] >> 4 == 4 && random() % 2 == 0) {
            frame[24] = frame[25] = 0;
            const Be16 sum = wire::checksum(frame.data() + 14, 20);
            std::memcpy(frame.data() + 24, &sum, 2);
        }
        REQUIRE(whole.send(port, frame));
        REQUIRE(pieces.send_in_two(port, frame, random() % (frame.size() + 1)));
        whole.run();
        pieces.run();
    }
    CHECK(whole.exit(Exit::ForwardedDownlink) > 0);
    CHECK(whole.exit(Exit::ForwardedUplink) > 0);
    std::size_t different = 0;
    for (std::size_t e = 0; e < kExitCount; ++e)
        different += whole.exit(Exit{static_cast<std::uint8_t>(e)}) !=
                     pieces.exit(Exit{static_cast<std::uint8_t>(e)});
    CHECK(different == 0);
    for (unsigned port = 0; port < 2; ++port) CHECK((whole.out(port) == pieces.out(port)));
    CHECK(pieces.missing_buffers() == 0);
}

TEST_CASE_METHOD(
    Started, "ICMP errors are limited, and what is over the limit is dropped under its own name") {
    Pipeline pipeline;
    Bytes packet = udp_packet(outside_address(6), site_address(1, 6), 10);
    packet[7] = 1;  // hop limit
    for (unsigned i = 0; i < 300; ++i) REQUIRE(pipeline.send(0, ethernet_frame(0, packet)));
    pipeline.run();
    CHECK(pipeline.exit(Exit::IcmpTimeExceeded) >= 100);
    CHECK(pipeline.exit(Exit::DropIcmpLimited) > 0);
    CHECK(pipeline.exit(Exit::IcmpTimeExceeded) + pipeline.exit(Exit::DropIcmpLimited) == 300);
    CHECK(pipeline.out(0).size() == pipeline.exit(Exit::IcmpTimeExceeded));
}

TEST_CASE_METHOD(Started,
                 "a blackhole route ends a packet from the network and one out of a tunnel") {
    Pipeline pipeline;
    const Bytes nowhere{198, 18, 0, 1};
    REQUIRE(pipeline.send(0, ethernet_frame(0, udp_packet(outside_address(4), nowhere, 10))));
    REQUIRE(pipeline.send(1, tunnel_frame(1, 0, udp_packet(site_address(1, 4), nowhere, 10))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropBlackhole) == 2);
    CHECK(pipeline.exits() == 2);
    CHECK(pipeline.out(0).empty());
    CHECK(pipeline.out(1).empty());
}

TEST_CASE_METHOD(Started,
                 "what the kernel routes over an interface that is no port goes no other way") {
    Pipeline pipeline;
    const Bytes away{198, 19, 0, 1};
    REQUIRE(pipeline.send(0, ethernet_frame(0, udp_packet(outside_address(4), away, 10))));
    REQUIRE(pipeline.send(1, tunnel_frame(1, 0, udp_packet(site_address(1, 4), away, 10))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropNoPort) == 2);
    CHECK(pipeline.exits() == 2);
}

TEST_CASE_METHOD(Started,
                 "what is sent to a subscriber whose prefix is discarded is dropped; what it sends "
                 "goes on, and nobody else may send from its prefix") {
    Pipeline pipeline;
    const Bytes site = site_address(1, 4);
    pipeline.discard(1);
    REQUIRE(pipeline.send(0, ethernet_frame(0, udp_packet(outside_address(4), site, 10))));
    REQUIRE(pipeline.send(1, tunnel_frame(2, 0, udp_packet(site_address(2, 4), site, 10))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropBlackhole) == 2);
    REQUIRE(pipeline.send(1, tunnel_frame(1, 0, udp_packet(site, outside_address(4), 10))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::ForwardedUplink) == 1);
    REQUIRE(pipeline.send(1, tunnel_frame(2, 0, udp_packet(site, outside_address(4), 10))));
    REQUIRE(pipeline.send(0, ethernet_frame(0, udp_packet(site, site_address(2, 4), 10))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropInnerSource) == 1);
    CHECK(pipeline.exit(Exit::DropIngressSource) == 1);
    CHECK(pipeline.exits() == 5);
}

TEST_CASE_METHOD(
    Started,
    "without free buffers, what needs a new one is dropped under its own name, the rest goes on") {
    Pipeline pipeline;
    Bytes expired = udp_packet(outside_address(6), site_address(1, 6), 10);
    expired[7] = 1;  // hop limit
    Bytes too_big = udp_packet(outside_address(4), site_address(1, 4), 1472);
    too_big[6] = 0;  // may be fragmented
    too_big[10] = too_big[11] = 0;
    const Be16 sum = wire::checksum(too_big.data(), 20);
    std::memcpy(too_big.data() + 10, &sum, 2);
    const Bytes good = udp_packet(outside_address(4), site_address(1, 4), 10);
    for (const Bytes& packet : {expired, too_big, good})
        REQUIRE(pipeline.send(0, ethernet_frame(0, packet)));
    const std::vector<rte_mbuf*> taken = pipeline.exhaust_buffers();
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropNoBuffers) == 2);
    CHECK(pipeline.exit(Exit::ForwardedDownlink) == 1);
    for (rte_mbuf* m : taken) rte_pktmbuf_free(m);
    CHECK(pipeline.missing_buffers() == 0);
}

TEST_CASE_METHOD(Started,
                 "what a full transmit queue does not take is dropped under its own name") {
    Pipeline pipeline(32);
    const Bytes packet = udp_packet(outside_address(4), site_address(1, 4), 10);
    for (unsigned i = 0; i < 40; ++i) REQUIRE(pipeline.send(0, ethernet_frame(0, packet)));
    pipeline.run();
    CHECK(pipeline.exit(Exit::ForwardedDownlink) == 31);
    CHECK(pipeline.exit(Exit::DropTransmit) == 9);
    CHECK(pipeline.out(1).size() == 31);
    CHECK(pipeline.missing_buffers() == 0);
}

TEST_CASE_METHOD(Started,
                 "what is the kernel's goes to the kernel, and over the limit under its own name") {
    Pipeline pipeline(4096, 8);
    Bytes arp(60);
    const Bytes head = ethernet_frame(0, {});
    std::copy(head.begin(), head.end(), arp.begin());
    arp[12] = 0x08;
    arp[13] = 0x06;
    for (unsigned i = 0; i < 10; ++i) REQUIRE(pipeline.send(0, arp));
    pipeline.run();
    CHECK(pipeline.exit(Exit::PuntKernel) == 7);
    CHECK(pipeline.exit(Exit::DropPuntFull) == 3);
    CHECK(pipeline.missing_buffers() == 0);
}

TEST_CASE_METHOD(Started, "a link-local source does not cross this router") {
    Pipeline pipeline;
    Bytes source = outside_address(6);
    source[0] = 0xfe;
    source[1] = 0x80;
    REQUIRE(pipeline.send(0, ethernet_frame(0, udp_packet(source, site_address(1, 6), 10))));
    pipeline.run();
    const Bytes four{169, 254, 1, 1};
    REQUIRE(pipeline.send(0, ethernet_frame(0, udp_packet(four, site_address(1, 4), 10))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropMartianSource) == 2);
}

TEST_CASE_METHOD(Started, "a site makes this router ask for no link-local neighbour") {
    Pipeline pipeline;
    pipeline.tables().lpm4->insert({169, 254, 0, 0}, 16, Target(TargetKind::Glean, 0));
    pipeline.tables().lpm6->insert({0xfe, 0x80}, 64, Target(TargetKind::Glean, 0));
    Bytes six(16);
    six[0] = 0xfe, six[1] = 0x80, six[15] = 9;
    const Bytes up4 = udp_packet(site_address(1, 4), Bytes{169, 254, 1, 1}, 10);
    REQUIRE(pipeline.send(1, tunnel_frame(1, 0, up4)));
    REQUIRE(pipeline.send(1, tunnel_frame(1, 0, udp_packet(site_address(1, 6), six, 10))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropNoRoute) == 2);
    ResolveRequest request{};
    CHECK_FALSE(pipeline.worker().next_resolve_request(request));
}

TEST_CASE_METHOD(Started,
                 "from the network, a source of a site, of a pool or of this router is forged") {
    Pipeline pipeline(4096, 8);
    const Bytes own4{192, 0, 2, 1};
    const Bytes pool4{203, 0, 113, 250};
    Bytes pool6 = site_address(1, 6);
    pool6[6] = 0xee;
    Bytes own6(16);
    own6[0] = 0x20, own6[1] = 1, own6[2] = 0xd, own6[3] = 0xb8, own6[5] = 0xff, own6[15] = 1;
    unsigned sent = 0;
    for (const unsigned family : {4U, 6U}) {
        const Bytes own = family == 4 ? own4 : own6;
        for (const Bytes& source :
             {site_address(1, family), site_address(2, family), family == 4 ? pool4 : pool6, own}) {
            // To a site, and to this router's own services.
            for (const Bytes& destination : {site_address(1, family), own}) {
                REQUIRE(pipeline.send(0, ethernet_frame(0, udp_packet(source, destination, 10))));
                ++sent;
            }
        }
    }
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropIngressSource) == sent);
    CHECK(pipeline.exits() == sent);
    CHECK(pipeline.out(0).empty());
    CHECK(pipeline.out(1).empty());
}

TEST_CASE_METHOD(Started,
                 "hosts that a longer route inside a pool leads to are no site's, and may send") {
    Pipeline pipeline;
    pipeline.tables().lpm4->insert({203, 0, 113, 240}, 28, Target(TargetKind::NextHop, 1));
    for (const std::uint8_t host : {std::uint8_t{241}, std::uint8_t{230}})
        REQUIRE(pipeline.send(
            0, ethernet_frame(0, udp_packet(Bytes{203, 0, 113, host}, site_address(1, 4), 10))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::ForwardedDownlink) == 1);
    CHECK(pipeline.exit(Exit::DropIngressSource) == 1);
}

TEST_CASE_METHOD(
    Started,
    "a fragment that reaches beyond the largest packet is dropped, outside and inside a tunnel") {
    Pipeline pipeline;
    const Bytes down = udp_packet(outside_address(4), site_address(1, 4), 1400);
    const Bytes up = udp_packet(site_address(1, 4), outside_address(4), 1400);
    REQUIRE(pipeline.send(0, ethernet_frame(0, with_fragment_field(down, 8191))));
    REQUIRE(pipeline.send(1, tunnel_frame(1, 0, with_fragment_field(up, 8191))));
    REQUIRE(pipeline.send(0, ethernet_frame(0, with_fragment_field(down, 8000))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropBadIpv4) == 1);
    CHECK(pipeline.exit(Exit::DropInnerFormat) == 1);
    CHECK(pipeline.exit(Exit::ForwardedDownlink) == 1);
}

TEST_CASE_METHOD(
    Started,
    "a tunnel whose MTU is more than its port has room for sends nothing larger than the port") {
    Pipeline pipeline;
    pipeline.tables().next_hop_rows[2].mtu = 1400;
    const Bytes small = udp_packet(outside_address(4), site_address(1, 4), 1400 - 28 - 28);
    const Bytes large = udp_packet(outside_address(4), site_address(1, 4), 1400 - 28 - 27);
    REQUIRE(pipeline.send(0, ethernet_frame(0, small)));
    REQUIRE(pipeline.send(0, ethernet_frame(0, large)));
    pipeline.run();
    CHECK(pipeline.exit(Exit::ForwardedDownlink) == 1);
    CHECK(pipeline.exit(Exit::IcmpFragNeeded) == 1);
    REQUIRE(pipeline.out(1).size() == 1);
    CHECK(pipeline.out(1)[0].size() == 14 + 1400);
}

TEST_CASE_METHOD(Started, "a tunnel packet whose outer header has options is refused") {
    Pipeline pipeline;
    const Bytes inner = udp_packet(site_address(1, 4), outside_address(4), 20);
    for (const unsigned kind : {0U, unsigned{TunnelRow::kUdp}}) {
        Bytes frame = tunnel_frame(1, kind, inner);
        // Three no-operations and the end of the list.
        const Bytes options{1, 1, 1, 0};
        frame.insert(frame.begin() + 34, options.begin(), options.end());
        frame[14] = 0x46;
        frame[17] = static_cast<std::uint8_t>(frame.size() - 14);
        frame[24] = frame[25] = 0;
        const Be16 sum = wire::checksum(frame.data() + 14, 24);
        std::memcpy(frame.data() + 24, &sum, 2);
        REQUIRE(pipeline.send(1, frame));
    }
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropOuterOptions) == 2);
    CHECK(pipeline.exits() == 2);
}

TEST_CASE("a TTL less by one leaves the checksum right, whichever it was") {
    const Bytes packet = udp_packet(outside_address(4), site_address(1, 4), 0);
    const auto with_checksum = [](Bytes header) {
        header[10] = header[11] = 0;
        const Be16 sum = wire::checksum(header.data(), 20);
        std::memcpy(header.data() + 10, &sum, 2);
        return header;
    };
    unsigned wrong = 0;
    for (unsigned id = 0; id < 65536; ++id) {
        Bytes header(packet.begin(), packet.begin() + 20);
        header[4] = static_cast<std::uint8_t>(id >> 8);
        header[5] = static_cast<std::uint8_t>(id);
        header = with_checksum(header);
        Bytes less = header;
        --less[8];
        decrement_ttl4(header.data());
        wrong += header != with_checksum(less);
    }
    CHECK(wrong == 0);
}

TEST_CASE_METHOD(Started,
                 "the MSS of an uplink SYN is lowered behind IPv6 extension headers, too") {
    Pipeline pipeline;
    Bytes packet = udp_packet(site_address(1, 6), outside_address(6), 24);
    packet[6] = 60;                            // destination options: padding, then TCP
    const Bytes body{6, 0, 1, 4,  0, 0, 0, 0,  // PadN
                     4, 1, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2};  // ports, numbers, SYN
    std::copy(body.begin(), body.end(), packet.begin() + 40);
    const Bytes option{2, 4, 0x23, 0x28};  // MSS 9000
    std::copy(option.begin(), option.end(), packet.begin() + 68);
    REQUIRE(pipeline.send(1, tunnel_frame(1, 0, packet)));
    pipeline.run();
    REQUIRE(pipeline.out(0).size() == 1);
    const Bytes& sent = pipeline.out(0)[0];
    const unsigned mss = sent[14 + 70] * 256U + sent[14 + 71];
    CHECK(mss == 1500 - 28 - 60);
}

TEST_CASE_METHOD(Started, "a tunnel that is switched off takes nothing in") {
    Pipeline pipeline;
    for (unsigned kind = 0; kind < 4; ++kind) {
        TunnelRow& row = pipeline.tables().tunnels[Pipeline::tunnel_id(1, kind).slot()];
        row.flags = (row.flags | TunnelRow::kDisabled) & 0xffU;
        const Bytes inner = udp_packet(site_address(1, 4), outside_address(4), 20);
        REQUIRE(pipeline.send(1, tunnel_frame(1, kind, inner)));
    }
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropUnknownTunnel) == 4);
}

TEST_CASE_METHOD(Started, "a port without room for a fragment drops, and makes no frame") {
    Pipeline pipeline;
    pipeline.tables().next_hop_rows[1].mtu = 24;
    const Bytes up =
        with_fragment_field(udp_packet(site_address(1, 4), outside_address(4), 100), 0);
    REQUIRE(pipeline.send(1, tunnel_frame(1, 0, up)));
    pipeline.run();
    CHECK(pipeline.out(0).empty());
    CHECK(pipeline.exits() == 1);
    CHECK(pipeline.missing_buffers() == 0);
}

TEST_CASE_METHOD(Started, "all bytes of a fragmented packet are counted for its tunnel") {
    Pipeline pipeline;
    const Bytes packet =
        with_fragment_field(udp_packet(outside_address(4), site_address(1, 4), 1480), 0);
    REQUIRE(pipeline.send(0, ethernet_frame(0, packet)));
    pipeline.run();
    const auto& counters = pipeline.tunnel_counters(Pipeline::tunnel_id(1, 0));
    CHECK(counters.downlink_packets == 2);
    CHECK(counters.downlink_bytes == 20 + 1488 + 20);
}

TEST_CASE_METHOD(Started, "an ICMP error about one of our tunnel packets has an exit of its own") {
    Pipeline pipeline;
    // What the pipeline sent into the tunnel comes back quoted.
    REQUIRE(pipeline.send(
        0, ethernet_frame(0, udp_packet(outside_address(4), site_address(2, 4), 40))));
    pipeline.run();
    REQUIRE(pipeline.out(1).size() == 1);
    Bytes icmp{3, 4, 0, 0, 0, 0, 5, 0};
    icmp.insert(icmp.end(), pipeline.out(1)[0].begin() + 14, pipeline.out(1)[0].end());
    Bytes error = udp_packet(outside_address(4), Bytes{192, 0, 2, 1}, icmp.size() - 8);
    error[9] = wire::kProtoIcmp;
    std::copy(icmp.begin(), icmp.end(), error.begin() + 20);
    REQUIRE(pipeline.send(1, ethernet_frame(1, with_fragment_field(error, 0))));
    pipeline.run();
    CHECK(pipeline.exit(Exit::DropTunnelIcmp) == 1);
}

TEST_CASE_METHOD(Started,
                 "a paused port is neither received from nor sent to, and goes on afterwards") {
    Pipeline pipeline;
    const Bytes frame = ethernet_frame(0, udp_packet(outside_address(4), site_address(1, 4), 40));
    const auto send = [&](unsigned count) {
        for (unsigned i = 0; i < count; ++i) REQUIRE(pipeline.send(0, frame));
        pipeline.run();
    };
    // Tunnels are on port 1: what is for it ends as if its queue were full.
    pipeline.pause(1, true);
    send(5);
    CHECK(pipeline.out(1).empty());
    CHECK(pipeline.exit(Exit::DropTransmit) == 5);
    CHECK(pipeline.missing_buffers() == 0);

    pipeline.pause(0, true);
    pipeline.pause(1, false);
    const std::uint64_t turns = pipeline.turns();
    send(5);
    CHECK(pipeline.received() == 5);
    CHECK(pipeline.turns() > turns);

    pipeline.pause(0, false);
    pipeline.run();
    CHECK(pipeline.received() == 10);
    CHECK(pipeline.out(1).size() == 5);
    CHECK(pipeline.exit(Exit::ForwardedDownlink) == 5);
    CHECK(pipeline.missing_buffers() == 0);
}
