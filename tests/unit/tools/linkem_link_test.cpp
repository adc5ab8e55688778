#include "tests/linkem/link.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "tests/linkem/commands.h"
#include "tests/unit/tools/linkem_frames.h"

using namespace dr::linkem;
using nlohmann::json;

namespace {

constexpr Nanoseconds kMs = 1'000'000;
const std::string kUr = "198.51.100.2", kDr = "192.0.2.1", kNat = "203.0.113.5";

struct Wire {
    FramePool pool{64};
    std::vector<std::pair<Side, FrameBytes>> out;
    Link link{7, pool, [this](Side to, FrameHandle frame) {
                  const auto bytes = frame->bytes();
                  out.emplace_back(to, FrameBytes(bytes.begin(), bytes.end()));
              }};

    void input(Side from, const FrameBytes& bytes, Nanoseconds now = 0) {
        auto frame = pool.take();
        REQUIRE(frame);
        std::copy(bytes.begin(), bytes.end(), frame->data.begin());
        frame->size = static_cast<std::uint16_t>(bytes.size());
        link.input(from, std::move(frame), now);
    }

    // What one frame becomes on a line without delay; empty when it is dropped.
    FrameBytes through(Side from, const FrameBytes& bytes) {
        out.clear();
        input(from, bytes);
        link.release(0);
        REQUIRE(out.size() <= 1);
        if (out.empty()) return {};
        CHECK(out[0].first == other(from));
        return out[0].second;
    }

    json command(const json& c) { return json::parse(execute(link, c.dump(), 0)); }
    json set(const json& impairments, const char* direction = "ab") {
        return command({{"cmd", "set"}, {"direction", direction}, {"impairments", impairments}});
    }
    json nat(json settings) {
        return command({{"cmd", "nat"}, {"nats", json::array({std::move(settings)})}});
    }
};

}  // namespace

TEST_CASE("frames leave in the order of their times, and release tells when the next is due") {
    Wire wire;
    REQUIRE(wire.set({{"delay", 10}})["ok"] == true);
    const auto one = udp_frame(kUr, 1, kDr, 2, {1}), two = udp_frame(kUr, 1, kDr, 2, {2});
    wire.input(Side::A, one, 0);
    wire.input(Side::A, two, 3 * kMs);
    CHECK(wire.link.release(9 * kMs) == 10 * kMs);
    CHECK(wire.out.empty());
    CHECK(wire.link.release(10 * kMs) == 13 * kMs);
    CHECK(wire.link.release(14 * kMs) == std::nullopt);
    REQUIRE(wire.out.size() == 2);
    CHECK(wire.out[0].second == one);
    CHECK(wire.out[1].second == two);
    const auto late_us = [&](bool reset) {
        return wire.command(
            {{"cmd", "counters"}, {"reset_lateness", reset}})["lateness"]["greatest_us"];
    };
    CHECK(late_us(false) == 1000);
    CHECK(late_us(true) == 1000);
    CHECK(late_us(false) == 0);
    CHECK(wire.pool.available() == 64);
}

TEST_CASE("an impairment of one direction leaves the other alone") {
    Wire wire;
    wire.set({{"cut", true}}, "ba");
    const auto frame = udp_frame(kUr, 1, kDr, 2, {1});
    CHECK(wire.through(Side::A, frame) == frame);
    CHECK(wire.through(Side::B, frame).empty());
    CHECK(wire.link.from(Side::B).counters[Counter::drop_cut] == 1);
}

TEST_CASE("a duplicated packet comes out twice") {
    Wire wire;
    wire.set({{"duplicate", 1}});
    const auto frame = udp_frame(kUr, 1, kDr, 2, {1});
    wire.input(Side::A, frame);
    wire.link.release(0);
    REQUIRE(wire.out.size() == 2);
    CHECK(wire.out[0].second == frame);
    CHECK(wire.out[1].second == frame);
}

TEST_CASE("keepalives and data are told apart in every tunnel, and neither is the rest") {
    using Kind = Packet::Kind;
    const auto kind = [](const FrameBytes& f) { return parse(f).kind; };
    for (const auto& [from, to] :
         {std::pair{kUr, kDr}, std::pair<std::string, std::string>{"2001:db8::1", "2001:db8::2"}}) {
        CHECK(kind(ip_frame(from, to, 47, gre(0x88b5))) == Kind::Keepalive);
        CHECK(kind(ip_frame(from, to, 47, gre(0x0800))) == Kind::Data);
        CHECK(kind(udp_frame(from, 50000, to, 4754, gre(0x88b5))) == Kind::Keepalive);
        CHECK(kind(udp_frame(from, 4754, to, 50000, gre(0x88b5))) == Kind::Keepalive);
        CHECK(kind(udp_frame(from, 4754, to, 4754, gre(0x86dd))) == Kind::Data);
        CHECK(kind(udp_frame(from, 50000, to, 53, gre(0x88b5))) == Kind::Other);
        CHECK(kind(ip_frame(from, to, 6, FrameBytes(20))) == Kind::Other);
    }
    CHECK(kind(ip_frame("fe80::1", "ff02::1", 58, {135, 0, 0, 0})) == Kind::Upkeep);
    FrameBytes arp(42);
    put16(arp, 12, 0x0806);
    CHECK(kind(arp) == Kind::Upkeep);
}

TEST_CASE("an MTU hole with ICMP answers the sender with the MTU and a quote of the packet") {
    Wire wire;
    wire.set({{"mtu", {{"bytes", 1400}}}});
    SECTION("IPv4") {
        const auto big = udp_frame(kUr, 1, kDr, 2, {1}, true, 1500);
        wire.input(Side::A, big);
        REQUIRE(wire.out.size() == 1);
        const auto& [side, answer] = wire.out[0];
        CHECK(side == Side::A);
        CHECK(FrameBytes(answer.begin(), answer.begin() + 6) ==
              FrameBytes(big.begin() + 6, big.begin() + 12));
        CHECK(ip_checksum_right(answer));
        CHECK(folded(answer, 34, answer.size()) == 0xffff);
        CHECK(answer.size() == 14 + 576);
        CHECK(answer[34] == 3);
        CHECK(answer[35] == 4);
        CHECK(get16(answer, 40) == 1400);
        CHECK(std::equal(answer.begin() + 42, answer.end(), big.begin() + 14));
    }
    SECTION("IPv6") {
        wire.input(Side::A, udp_frame("2001:db8::1", 1, "2001:db8::2", 2, {1}, true, 1500));
        REQUIRE(wire.out.size() == 1);
        const auto& answer = wire.out[0].second;
        CHECK(answer[54] == 2);
        CHECK(get16(answer, 60) == 1400);
        CHECK(answer.size() == 14 + 1280);
        CHECK(transport_checksum_right(answer));
    }
    SECTION("but not a multicast packet, nor an ICMP error") {
        wire.input(Side::A, udp_frame(kUr, 1, "224.0.0.5", 2, {1}, true, 1500));
        wire.input(Side::A, ip_frame(kUr, kDr, 1, {3, 4}, 1500));
        CHECK(wire.out.empty());
        CHECK(wire.link.from(Side::A).counters[Counter::drop_mtu] == 2);
    }
    SECTION("and not when it is silent") {
        wire.set({{"mtu", {{"bytes", 1400}, {"icmp", false}}}});
        wire.input(Side::A, udp_frame(kUr, 1, kDr, 2, {1}, true, 1500));
        CHECK(wire.out.empty());
    }
}

TEST_CASE("an IPv4 packet without DF is split to fit, and its pieces make it whole again") {
    Wire wire;
    wire.set({{"mtu", {{"bytes", 600}}}});
    auto big = udp_frame(kUr, 1, kDr, 2, {1, 2, 3}, true, 1500, false);
    for (std::size_t i = 60; i < big.size(); ++i) big[i] = static_cast<std::uint8_t>(i * 7);
    wire.input(Side::A, big);
    wire.link.release(0);
    REQUIRE(wire.out.size() == 3);
    FrameBytes payload;
    for (std::size_t k = 0; k < 3; ++k) {
        const auto& part = wire.out[k].second;
        CHECK(part.size() <= 614);
        CHECK(ip_checksum_right(part));
        CHECK(get16(part, 16) == part.size() - 14);
        CHECK(get16(part, 20) == ((k < 2 ? 0x2000U : 0U) | payload.size() / 8));
        payload.insert(payload.end(), part.begin() + 34, part.end());
    }
    CHECK(payload == FrameBytes(big.begin() + 34, big.end()));
}

TEST_CASE("a NAT maps addresses and ports out and back, and keeps every checksum right") {
    Wire wire;
    const bool checksum = GENERATE(true, false);
    REQUIRE(wire.nat({{"inside", kUr}, {"outside", kNat}, {"first_port", 20000}})["ok"] == true);
    const auto sent = udp_frame(kUr, 4754, kDr, 4754, gre(0x0800), checksum);
    CHECK(wire.through(Side::B, sent) == udp_frame(kNat, 20000, kDr, 4754, gre(0x0800), checksum));
    CHECK(wire.through(Side::A, udp_frame(kDr, 4754, kNat, 20000, gre(0x0800), checksum)) ==
          udp_frame(kDr, 4754, kUr, 4754, gre(0x0800), checksum));
    CHECK(wire.link.from(Side::A).counters[Counter::translated] == 1);
}

TEST_CASE("a NAT of IPv6 maps addresses and ports, checksum zero and not") {
    Wire wire;
    const bool checksum = GENERATE(true, false);
    wire.nat({{"inside", "2001:db8::2"}, {"outside", "2001:db8:9::9"}, {"first_port", 30000}});
    CHECK(wire.through(Side::B, udp_frame("2001:db8::2", 50001, "2001:db8:1::1", 4754, gre(0x86dd),
                                          checksum)) ==
          udp_frame("2001:db8:9::9", 30000, "2001:db8:1::1", 4754, gre(0x86dd), checksum));
}

TEST_CASE("a NAT lets in only what it has a mapping for") {
    Wire wire;
    wire.nat({{"inside", kUr}, {"outside", kNat}});
    CHECK(wire.through(Side::A, udp_frame(kDr, 4754, kNat, 20000, {1})).empty());
    CHECK(wire.through(Side::A, udp_frame(kDr, 4754, kUr, 4754, {1})).empty());
    CHECK(wire.link.from(Side::A).counters[Counter::drop_nat_unmapped] == 2);
}

TEST_CASE("after a rebinding the old port and address lead nowhere, and new ones are used") {
    Wire wire;
    wire.nat({{"inside", kUr}, {"outside", kNat}, {"first_port", 20000}});
    const auto sent = udp_frame(kUr, 4754, kDr, 4754, gre(0x88b5));
    wire.through(Side::B, sent);
    SECTION("port only") {
        REQUIRE(wire.command({{"cmd", "rebind"}})["nat"]["mappings"] == 0);
        CHECK(wire.through(Side::A, udp_frame(kDr, 4754, kNat, 20000, {1})).empty());
        CHECK(wire.through(Side::B, sent) == udp_frame(kNat, 20001, kDr, 4754, gre(0x88b5)));
    }
    SECTION("to an address and port of choice") {
        wire.command({{"cmd", "rebind"}, {"outside", "203.0.113.6"}, {"first_port", 31000}});
        CHECK(wire.through(Side::B, sent) ==
              udp_frame("203.0.113.6", 31000, kDr, 4754, gre(0x88b5)));
        CHECK(wire.through(Side::A, udp_frame(kDr, 4754, kNat, 20000, {1})).empty());
        CHECK(wire.through(Side::A, ip_frame(kDr, kNat, 47, gre(0x0800))).empty());
    }
}

TEST_CASE("a packet in flight meets the mapping of its arrival") {
    Wire wire;
    wire.nat({{"inside", kUr}, {"outside", kNat}, {"first_port", 20000}});
    wire.through(Side::B, udp_frame(kUr, 4754, kDr, 4754, {1}));
    wire.set({{"delay", 20}});
    wire.out.clear();
    wire.input(Side::A, udp_frame(kDr, 4754, kNat, 20000, {1}));
    wire.command({{"cmd", "rebind"}});
    wire.link.release(20 * kMs);
    CHECK(wire.out.empty());
    CHECK(wire.link.from(Side::A).counters[Counter::drop_nat_unmapped] == 1);
}

TEST_CASE("a symmetric NAT has a port for each remote, and takes answers from it only") {
    Wire wire;
    wire.nat({{"inside", kUr}, {"outside", kNat}, {"first_port", 20000}, {"symmetric", true}});
    CHECK(get16(wire.through(Side::B, udp_frame(kUr, 9, kDr, 4754, {1})), 34) == 20000);
    CHECK(get16(wire.through(Side::B, udp_frame(kUr, 9, "192.0.2.9", 4754, {1})), 34) == 20001);
    CHECK(get16(wire.through(Side::B, udp_frame(kUr, 9, kDr, 4754, {1})), 34) == 20000);
    CHECK_FALSE(wire.through(Side::A, udp_frame(kDr, 4754, kNat, 20000, {1})).empty());
    CHECK(wire.through(Side::A, udp_frame("192.0.2.9", 4754, kNat, 20000, {1})).empty());
}

TEST_CASE("native GRE has its addresses translated, or is refused") {
    Wire wire;
    wire.nat({{"inside", kUr}, {"outside", kNat}});
    CHECK(wire.through(Side::B, ip_frame(kUr, kDr, 47, gre(0x0800))) ==
          ip_frame(kNat, kDr, 47, gre(0x0800)));
    CHECK(wire.through(Side::A, ip_frame(kDr, kNat, 47, gre(0x0800))) ==
          ip_frame(kDr, kUr, 47, gre(0x0800)));
    wire.nat({{"inside", kUr}, {"outside", kNat}, {"gre", false}});
    CHECK(wire.through(Side::B, ip_frame(kUr, kDr, 47, gre(0x0800))).empty());
    CHECK(wire.link.from(Side::B).counters[Counter::drop_nat_refused] == 1);
}

TEST_CASE("an ICMP error about a translated packet reaches the inside with what it knows") {
    Wire wire;
    wire.nat({{"inside", kUr}, {"outside", kNat}, {"first_port", 20000}});
    const auto inside = udp_frame(kUr, 4754, kDr, 4754, gre(0x0800));
    const auto outside = wire.through(Side::B, inside);
    FrameBytes error{3, 4, 0, 0, 0, 0, 0x05, 0x78};
    error.insert(error.end(), outside.begin() + 14, outside.end());
    put16(error, 2, ~folded(error, 0, error.size()));
    const auto got = wire.through(Side::A, ip_frame("192.0.2.77", kNat, 1, error));
    REQUIRE_FALSE(got.empty());
    CHECK(ip_checksum_right(got));
    CHECK(folded(got, 34, got.size()) == 0xffff);
    CHECK(FrameBytes(got.begin() + 30, got.begin() + 34) ==
          FrameBytes(inside.begin() + 26, inside.begin() + 30));
    CHECK(FrameBytes(got.begin() + 42, got.end()) == FrameBytes(inside.begin() + 14, inside.end()));
}

TEST_CASE("a copy for which no buffer is free is counted, and all buffers come back") {
    Wire wire;
    const auto frame = udp_frame(kUr, 1, kDr, 2, {1});
    wire.set({{"delay", 10}});
    for (int i = 0; i < 63; ++i) wire.input(Side::A, frame);
    wire.set({{"duplicate", 1}});
    wire.input(Side::A, frame);
    CHECK(wire.link.in_flight(Side::A) == 64);
    CHECK(wire.link.from(Side::A).counters[Counter::drop_buffers] == 1);
    wire.link.release(10 * kMs);
    CHECK(wire.pool.available() == 64);
}

TEST_CASE("a command that is wrong says what, and changes nothing") {
    Wire wire;
    wire.set({{"loss", 0.1}});
    const auto before = wire.command({{"cmd", "get"}});
    const std::vector<std::pair<json, std::string>> wrong{
        {{{"loss", 0.5}, {"lost", 1}}, "\"lost\""},
        {{{"loss", 1.5}}, "loss"},
        {{{"delay", {{"kind", "gamma"}}}}, "lognormal"},
        {{{"delay", {{"kind", "uniform"}, {"min_ms", 5}, {"max_ms", 1}}}}, "max_ms"},
        {{{"delay", {{"kind", "trace"}, {"file", "/nonexistent"}}}}, "/nonexistent"},
        {{{"rate", {{"bit_s", 1e6}}}}, "queue_bytes"},
        {{{"mtu", 1400}}, "object"},
        {{{"cut", "both"}}, "cut"},
    };
    for (const auto& [impairments, words] : wrong) {
        const auto answer = wire.set(impairments);
        CHECK(answer["ok"] == false);
        CHECK_THAT(answer["error"].get<std::string>(), Catch::Contains(words));
    }
    CHECK(wire.command({{"cmd", "stop"}})["ok"] == false);
    CHECK(json::parse(execute(wire.link, "{", 0))["ok"] == false);
    CHECK(wire.nat({{"inside", "198.51.100"}})["ok"] == false);
    CHECK(wire.command({{"cmd", "rebind"}})["ok"] == false);
    CHECK(wire.command({{"cmd", "get"}}) == before);
}

TEST_CASE("settings come back as they were set, and null sets one back") {
    Wire wire;
    const json all{{"delay", {{"kind", "normal"}, {"mean_ms", 20.0}, {"sigma_ms", 2.5}}},
                   {"jitter_ms", 1.5},
                   {"keep_order", false},
                   {"reorder", {{"probability", 0.1}, {"hold_ms", 3.0}}},
                   {"loss", 0.25},
                   {"gilbert_elliott",
                    {{"enter", 0.1}, {"leave", 0.5}, {"loss_good", 0.0}, {"loss_bad", 0.9}}},
                   {"rate", {{"bit_s", 8000000}, {"queue_bytes", 64000}}},
                   {"mtu", {{"bytes", 1400}, {"icmp", false}, {"ignore_df", true}}},
                   {"cut", true},
                   {"black_hole", "data"},
                   {"duplicate", 0.125}};
    REQUIRE(wire.set(all)["ok"] == true);
    CHECK(wire.command({{"cmd", "get"}})["ab"] == all);
    CHECK(wire.command({{"cmd", "get"}})["ba"] == json::object());
    for (const auto& [name, value] : all.items()) {
        REQUIRE(wire.set({{name, nullptr}})["ok"] == true);
        CHECK_FALSE(wire.command({{"cmd", "get"}})["ab"].contains(name));
    }
}
