// ICMP errors about packets of tunnels, as urd reads them.
#include <catch2/catch.hpp>
#include <cstring>
#include <functional>

#include "dataplane/wire/checksum.h"
#include "ur/path_hint.h"

using namespace dr;
using namespace dr::ur;

namespace {

using Bytes = std::vector<std::uint8_t>;

void put16(Bytes& at, std::size_t offset, unsigned value) {
    at[offset] = static_cast<std::uint8_t>(value >> 8);
    at[offset + 1] = static_cast<std::uint8_t>(value);
}

void sign(Bytes& message) {
    put16(message, 2, 0);
    const Be16 sum = wire::checksum(message.data(), message.size());
    std::memcpy(message.data() + 2, &sum, 2);
}

// About a packet of 1500 bytes from .2 to .1, ports 30001 and 4754, key 0x01000008.
Bytes message(bool v6, bool udp, unsigned mtu) {
    const std::size_t ip = v6 ? 40 : 20;
    Bytes out(8 + ip + (udp ? 8 : 0) + 8);
    out[0] = v6 ? 2 : 3;
    out[1] = v6 ? 0 : 4;
    put16(out, 6, mtu);
    std::uint8_t* quoted = out.data() + 8;
    quoted[0] = v6 ? 0x60 : 0x45;
    put16(out, 8 + (v6 ? 4 : 2), v6 ? 1460 : 1500);
    quoted[v6 ? 6 : 9] = udp ? 17 : 47;
    quoted[v6 ? 23 : 15] = 2;
    quoted[v6 ? 39 : 19] = 1;
    if (udp) {
        put16(out, 8 + ip, 30'001);
        put16(out, 8 + ip + 2, 4754);
    }
    const std::size_t gre = 8 + ip + (udp ? 8 : 0);
    put16(out, gre, 0x2000);
    put16(out, gre + 4, 0x0100);
    put16(out, gre + 6, 0x0008);
    if (!v6) sign(out);
    return out;
}

ur_tunnel tunnel(bool v6, bool udp) {
    ur_tunnel out{};
    out.id = 0x01000008;
    out.family = v6 ? 6 : 4;
    out.udp = udp ? 1 : 0;
    out.keepalive = 1;
    out.local_port = 30'001;
    out.remote_port = 4754;
    reinterpret_cast<std::uint8_t*>(out.local.word)[v6 ? 15 : 3] = 2;
    reinterpret_cast<std::uint8_t*>(out.remote.word)[v6 ? 15 : 3] = 1;
    return out;
}

}  // namespace

TEST_CASE("an ICMP error that quotes a tunnel's packet is about that tunnel") {
    for (const bool v6 : {false, true}) {
        for (const bool udp : {false, true}) {
            CAPTURE(v6, udp);
            const auto hint = read_path_hint(v6 ? 6 : 4, message(v6, udp, 1'400));
            REQUIRE(hint);
            CHECK(hint->mtu == 1'400);
            CHECK(is_about(*hint, tunnel(v6, udp)));
            CHECK_FALSE(is_about(*hint, tunnel(v6, !udp)));
            CHECK_FALSE(is_about(*hint, tunnel(!v6, udp)));
            ur_tunnel other = tunnel(v6, udp);
            other.id ^= 1U << 24;
            CHECK_FALSE(is_about(*hint, other));
            other = tunnel(v6, udp);
            other.remote.word[0] ^= 1U;
            CHECK_FALSE(is_about(*hint, other));
            other = tunnel(v6, udp);
            other.keepalive = 0;
            CHECK_FALSE(is_about(*hint, other));
            other = tunnel(v6, udp);
            other.local_port = 30'002;
            CHECK(is_about(*hint, other) == !udp);
            other.entropy = 1;
            CHECK(is_about(*hint, other));
        }
    }
}

TEST_CASE("an ICMP error that is not sound, or about something else, is nothing") {
    CHECK(read_path_hint(4, message(false, true, 0))->mtu == 0);
    struct Lie {
        const char* what;
        std::function<void(Bytes&)> tell;
    };
    const std::vector<Lie> lies{
        {"another type", [](Bytes& m) { m[0] = 11; }},
        {"another code", [](Bytes& m) { m[1] = 3; }},
        {"an MTU that the packet does not exceed", [](Bytes& m) { put16(m, 6, 1'500); }},
        {"TCP", [](Bytes& m) { m[17] = 6; }},
        {"IP options", [](Bytes& m) { m[8] = 0x46; }},
        {"other GRE flags", [](Bytes& m) { put16(m, 36, 0x3000); }},
        {"cut before the key", [](Bytes& m) { m.resize(m.size() - 1); }},
        {"nothing quoted", [](Bytes& m) { m.resize(8); }},
    };
    for (const Lie& lie : lies) {
        CAPTURE(lie.what);
        Bytes m = message(false, true, 1'400);
        lie.tell(m);
        sign(m);
        CHECK_FALSE(read_path_hint(4, m));
    }
    Bytes wrong = message(false, true, 1'400);
    wrong[3] ^= 1U;
    CHECK_FALSE(read_path_hint(4, wrong));
    CHECK_FALSE(read_path_hint(4, {}));
    CHECK_FALSE(read_path_hint(6, message(false, true, 1'400)));
}
