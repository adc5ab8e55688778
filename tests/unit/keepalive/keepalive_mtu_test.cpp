// ICMP errors about packets of tunnels, as hints for path MTU discovery (proto/TUNNEL.md §15).
#include <catch2/catch.hpp>
#include <functional>

#include "dataplane/liveness/auth.h"
#include "dataplane/wire/checksum.h"
#include "dataplane/wire/headers.h"
#include "tests/unit/keepalive/keepalive_world.h"

namespace dr::keepalive::test {

using liveness::kSecond;
using southbound::Encapsulation;

namespace {

constexpr std::uint32_t kTunnel = 0x01000008;
constexpr std::uint16_t kLimit = 1400;  // of the tunnel's configuration
constexpr std::uint16_t kLine = 1300;

void put16(Bytes& at, std::size_t offset, std::uint16_t value) {
    at[offset] = static_cast<std::uint8_t>(value >> 8);
    at[offset + 1] = static_cast<std::uint8_t>(value);
}

// "Too big, at most `mtu`" about this packet, from somewhere on its way to whom it came from.
Bytes too_big(const Bytes& quoted, std::uint16_t mtu) {
    const bool v6 = quoted[0] >> 4 == 6;
    Bytes icmp(8);
    icmp[0] = v6 ? 2 : 3;
    icmp[1] = v6 ? 0 : 4;
    put16(icmp, 6, mtu);
    icmp.insert(icmp.end(), quoted.begin(),
                quoted.begin() + std::min<long>(static_cast<long>(quoted.size()), 500));
    const std::size_t size = v6 ? 16 : 4;
    const Bytes to(quoted.begin() + (v6 ? 8 : 12),
                   quoted.begin() + static_cast<long>((v6 ? 8 : 12) + size));
    const Bytes from = v6 ? Bytes{0x20, 1, 0xd, 0xb8, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9}
                          : Bytes{198, 51, 100, 99};
    Bytes packet = dr::test::udp_packet(from, to, static_cast<unsigned>(icmp.size() - 8));
    const std::size_t at = v6 ? 40 : 20;
    packet[v6 ? 6 : 9] = v6 ? wire::kProtoIcmp6 : wire::kProtoIcmp;
    std::copy(icmp.begin(), icmp.end(), packet.begin() + static_cast<long>(at));
    return packet;
}

void sign(Bytes& packet) {
    const bool v6 = packet[0] >> 4 == 6;
    const std::size_t at = v6 ? 40 : 20;
    put16(packet, at + 2, 0);
    std::uint64_t sum = 0;
    if (v6) {
        sum = wire::checksum_add(packet.data() + 8, 32, 0);
        sum += static_cast<std::uint32_t>(wire::kProtoIcmp6) << 8;
        sum += Be16::from(static_cast<std::uint16_t>(packet.size() - at)).raw;
    } else {
        put16(packet, 10, 0);
        const Be16 header = wire::checksum(packet.data(), 20);
        std::memcpy(packet.data() + 10, &header, 2);
    }
    const Be16 checksum = wire::checksum(packet.data() + at, packet.size() - at, sum);
    std::memcpy(packet.data() + at + 2, &checksum, 2);
}

// A tunnel that is Up, has its full size, and whose path has become narrower without any data.
struct Narrowed {
    explicit Narrowed(Encapsulation encapsulation = Encapsulation::GreUdp, bool v6 = false) {
        site.lines = {{.name = "a",
                       .id = kTunnel,
                       .encapsulation = encapsulation,
                       .remote = v6 ? "2001:db8:a::2" : "198.51.100.2",
                       .local = v6 ? "2001:db8:ff::1" : "192.0.2.1"}};
        w.provision(site, {{{"a", 1}}});
        ur = &w.add_ur(site);
        REQUIRE(w.run_until([&] { return ur->state(0) == liveness::State::Up; }, kSecond));
        w.run(2 * kSecond);
        const Bytes inner = dr::test::udp_packet(Bytes{8, 8, 8, 8}, Bytes{203, 0, 113, 9}, 1'340);
        const std::vector<Bytes> out = w.exchange(inner);
        REQUIRE(out.size() == 1);
        sent = out[0];
        REQUIRE(mtu() == kLimit);
        ur->most = kLine;
    }
    [[nodiscard]] std::uint16_t mtu() const { return w.row(kTunnel)->mtu; }
    // A keepalive of the site's, with this path MTU.
    void say(std::uint16_t path_mtu) {
        const KeepalivePeer& peer = w.service->handover()->peers[kTunnel & 0xffffff];
        Bytes bytes(88);
        wire::Message m;
        m.key_number = 1;
        m.state = liveness::State::Up;
        m.multiplier = 3;
        m.salt = peer.salt.load();
        m.counter = peer.counter.load() + 1;
        m.desired_tx_us = m.required_rx_us = 100'000;
        m.path_mtu = path_mtu;
        REQUIRE(wire::encode(m, bytes) == bytes.size());
        const liveness::TunnelKey key{1, key_of(site.lines[0])};
        liveness::write_tag(liveness::derive_mac_key(key, liveness::Role::UserRouter, kTunnel),
                            bytes);
        w.put(World::outer(ur->from[0], endpoint("192.0.2.1", 4754), kTunnel, wire::kEtherKeepalive,
                           bytes));
    }
    void hint(const Bytes& packet) {
        const std::uint64_t before = w.exit(Exit::DropTunnelIcmp);
        w.put(packet);
        w.step();
        CHECK(w.exit(Exit::DropTunnelIcmp) == before + 1);
    }

    Site site;
    World w;
    Ur* ur{};
    Bytes sent;
};

}  // namespace

TEST_CASE("an ICMP error about a tunnel's packet has its path probed at once") {
    for (const Encapsulation encapsulation : {Encapsulation::Gre, Encapsulation::GreUdp}) {
        for (const bool v6 : {false, true}) {
            CAPTURE(static_cast<unsigned>(encapsulation), v6);
            Narrowed n(encapsulation, v6);
            // Without data and without a hint nobody looks.
            n.w.run(5 * kSecond);
            CHECK(n.mtu() == kLimit);
            Bytes error = too_big(n.sent, kLine);
            sign(error);
            n.hint(error);
            // Here a round trip takes no time, so none is known, and acknowledgements are waited
            // for 200 ms each.
            const unsigned headers =
                (v6 ? 48 : 28) + (encapsulation == Encapsulation::GreUdp ? 8 : 0);
            CHECK(n.w.run_until([&] { return n.mtu() == kLine - headers; }, 4 * kSecond));
        }
    }
}

TEST_CASE("an ICMP error lowers no MTU by itself") {
    Narrowed n;
    n.ur->most = 65'535;
    Bytes error = too_big(n.sent, kLine);
    sign(error);
    n.hint(error);
    n.w.run(5 * kSecond);
    CHECK(n.mtu() == kLimit);
}

TEST_CASE("an ICMP error that does not quote what was sent starts nothing") {
    Narrowed n;
    constexpr std::size_t kQuoted = 28;
    struct Lie {
        const char* what;
        std::function<void(Bytes&)> tell;
        bool right_checksum = true;
    };
    const std::vector<Lie> lies{
        {"a wrong checksum", [](Bytes& e) { e[22] ^= 1U; }, false},
        {"another code", [](Bytes& e) { e[21] = 1; }},
        {"a larger MTU than the packet", [](Bytes& e) { put16(e, 26, 1'500); }},
        {"another key", [](Bytes& e) { e[kQuoted + 35] ^= 1U; }},
        {"another generation", [](Bytes& e) { e[kQuoted + 32] ^= 1U; }},
        {"another source", [](Bytes& e) { e[kQuoted + 15] ^= 1U; }},
        {"another destination", [](Bytes& e) { e[kQuoted + 19] ^= 1U; }},
        {"another port", [](Bytes& e) { e[kQuoted + 23] ^= 1U; }},
        {"cut before the key", [](Bytes& e) {
             e.resize(kQuoted + 30);
             put16(e, 2, kQuoted + 30);
         }}};
    for (const Lie& lie : lies) {
        CAPTURE(lie.what);
        Bytes error = too_big(n.sent, kLine);
        if (lie.right_checksum) {
            lie.tell(error);
            sign(error);
        } else {
            sign(error);
            lie.tell(error);
        }
        const std::uint64_t before = n.w.exit(Exit::DropTunnelIcmp);
        n.w.put(error);
        n.w.run(2 * kSecond);
        CHECK(n.mtu() == kLimit);
        CHECK(n.w.exit(Exit::DropTunnelIcmp) <= before + 1);
    }
}

TEST_CASE(
    "a site that says that it can send next to nothing has its packets cut no smaller than 1024") {
    Narrowed n;
    n.ur->most = 65'535;
    n.say(40);
    CHECK(n.w.run_until([&] { return n.mtu() != kLimit; }, kSecond));
    CHECK(n.mtu() == 1024);
}

TEST_CASE("a site that tells another path MTU all the time changes its row five times a second") {
    Narrowed n;
    n.ur->most = 65'535;
    n.ur->cut[0] = true;
    unsigned changes = 0;
    std::uint16_t before = n.mtu();
    for (unsigned i = 0; i < 90; ++i) {
        n.say(i % 2 == 0 ? 1'200 : 1'300);
        n.w.run(10 * liveness::kMillisecond);
        changes += n.mtu() != before ? 1 : 0;
        before = n.mtu();
    }
    CHECK(changes <= 5);
    CHECK(changes >= 2);
}

}  // namespace dr::keepalive::test
