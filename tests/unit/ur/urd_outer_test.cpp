// Outer packets of tunnel protocol messages, as urd makes them and both ends read them.
#include <catch2/catch.hpp>

#include "ur/outer.h"

using dr::wire::Endpoint;
using dr::wire::read_outer;

namespace {

Endpoint end(const char* address, std::uint16_t port) {
    return dr::ur::to_endpoint(dr::parse_address(address).value(), port);
}

const std::vector<std::uint8_t> kMessage(88, 0x5a);

struct Ends {
    Endpoint from, to;
};
std::vector<Ends> all_outers() {
    return {{end("192.0.2.1", 4754), end("198.51.100.1", 4754)},
            {end("192.0.2.1", 4754), end("198.51.100.1", 0)},
            {end("2001:db8::1", 50000), end("2001:db8::2", 4754)},
            {end("2001:db8::1", 50000), end("2001:db8::2", 0)}};
}

}  // namespace

TEST_CASE("an outer packet reads back, over both families and in both encapsulations") {
    for (const auto& ends : all_outers()) {
        const auto packet = dr::ur::make_outer(ends.from, ends.to, 0x01000002, kMessage);
        const auto read = read_outer(packet);
        REQUIRE(read);
        CHECK(read->key == 0x01000002);
        CHECK(read->source.address == ends.from.address);
        CHECK(dr::ur::to_address(read->destination) == dr::ur::to_address(ends.to));
        CHECK(read->source.port == (ends.to.port == 0 ? 0 : ends.from.port));
        CHECK(std::equal(read->message.begin(), read->message.end(), kMessage.begin(),
                         kMessage.end()));
    }
}

TEST_CASE("padding of the link behind an outer packet is no part of the message") {
    for (const auto& ends : all_outers()) {
        auto packet = dr::ur::make_outer(ends.from, ends.to, 1, kMessage);
        packet.resize(packet.size() + 7, 0xff);
        const auto read = read_outer(packet);
        REQUIRE(read);
        CHECK(read->message.size() == kMessage.size());
    }
}

TEST_CASE("an outer packet that is cut anywhere before its message ends is refused") {
    for (const auto& ends : all_outers()) {
        const auto packet = dr::ur::make_outer(ends.from, ends.to, 1, kMessage);
        for (std::size_t size = 0; size < packet.size(); ++size)
            CHECK_FALSE(read_outer(std::span(packet).first(size)));
    }
}

TEST_CASE("fragments, other protocols, other GRE types and bad checksums are refused") {
    const Ends ends = all_outers()[0];
    const auto packet = dr::ur::make_outer(ends.from, ends.to, 1, kMessage, true);
    struct Change {
        const char* what;
        std::size_t at;
        std::uint8_t value;
    };
    for (const Change change : {Change{"IPv4 options", 0, 0x46},
                                {"version 5", 0, 0x55},
                                {"TTL without its checksum", 8, 63},
                                {"UDP port 0", 21, 0},
                                {"UDP length", 24, 0xff},
                                {"UDP checksum", 26, 0x12},
                                {"GRE flags", 28, 0x30},
                                {"GRE type", 31, 0x00}}) {
        auto wrong = packet;
        wrong[change.at] = change.value;
        if (change.at == 21) wrong[20] = 0;
        INFO(change.what);
        CHECK_FALSE(read_outer(wrong));
    }
}

TEST_CASE("a UDP checksum that is right is accepted, and is what messages have") {
    const Ends ends = all_outers()[0];
    auto packet = dr::ur::make_outer(ends.from, ends.to, 1, kMessage, true);
    REQUIRE((packet[26] == 0 && packet[27] == 0));
    CHECK(read_outer(packet));
    // Sum of pseudo header and datagram, by hand.
    std::uint32_t sum = 17 + static_cast<std::uint32_t>(packet.size() - 20);
    for (std::size_t i = 12; i < packet.size(); i += 2)
        sum += static_cast<std::uint32_t>(packet[i] << 8 | packet[i + 1]);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    packet[26] = static_cast<std::uint8_t>(~sum >> 8);
    packet[27] = static_cast<std::uint8_t>(~sum);
    CHECK(read_outer(packet));
    CHECK(packet == dr::ur::make_outer(ends.from, ends.to, 1, kMessage));
    packet[40] ^= 1;
    CHECK_FALSE(read_outer(packet));
}
