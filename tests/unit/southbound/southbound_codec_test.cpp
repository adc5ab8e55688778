#include <catch2/catch.hpp>
#include <cstddef>

#include "dataplane/southbound/codec.h"
#include "dataplane/writer/tunnel_row.h"
#include "tests/unit/southbound/southbound_records.h"

namespace dr::southbound::test {
namespace {

template <typename View>
std::string fault(const Body& body) {
    View view;
    std::string why;
    return decode(Bytes(body), &view, &why) ? "" : why;
}

SubscriberSpec good_subscriber() {
    return {5,
            {"203.0.113.8/29", "2001:db8:5000:100::/56"},
            {{"a", 0x01000029}, {"b", 42, "2001:db8:b::7", "2001:db8:ff::1", Encapsulation::Gre}}};
}

TEST_CASE("a well-formed record of each kind is accepted") {
    CHECK(fault<SubscriberView>(encode(good_subscriber())).empty());
    CHECK(fault<PolicyView>(encode(policy(1, {{{"a", 3}, {"b", 1}}, {{"c", 1}}}))).empty());
    CHECK(fault<PoolView>(encode(PoolSpec{1, "203.0.113.0/24"})).empty());
}

TEST_CASE("a record cut at any length, or with a byte more, is refused") {
    const std::vector<Body> bodies{encode(good_subscriber()),
                                   encode(policy(1, {{{"a", 3}, {"b", 1}}})),
                                   encode(PoolSpec{1, "203.0.113.0/24"})};
    for (std::size_t kind = 0; kind < bodies.size(); ++kind) {
        for (std::size_t length = 0; length <= bodies[kind].size() + 1; ++length) {
            if (length == bodies[kind].size()) continue;
            Body cut = bodies[kind];
            cut.resize(length);
            // The copy has no byte to spare, so that a sanitizer sees a read beyond it.
            const Body exact(cut.begin(), cut.end());
            const std::string why = kind == 0   ? fault<SubscriberView>(exact)
                                    : kind == 1 ? fault<PolicyView>(exact)
                                                : fault<PoolView>(exact);
            CHECK_FALSE(why.empty());
        }
    }
}

TEST_CASE("counts that promise more than there is are refused") {
    Body body = encode(good_subscriber());
    SubscriberRecord head;
    std::memcpy(&head, body.data(), sizeof head);
    head.prefixes = 65535;
    head.tunnels = 65535;
    std::memcpy(body.data(), &head, sizeof head);
    CHECK_FALSE(fault<SubscriberView>(body).empty());

    Body lines = encode(policy(1, {{{"a", 1}}}));
    Body classes = lines;
    const std::uint32_t many = 0xffffffff;
    std::memcpy(lines.data() + offsetof(PolicyRecord, lines), &many, 2);
    CHECK_FALSE(fault<PolicyView>(lines).empty());
    std::memcpy(classes.data() + offsetof(PolicyRecord, classes), &many, 2);
    CHECK_FALSE(fault<PolicyView>(classes).empty());
}

TEST_CASE("prefixes with host bits, wrong lengths or families are refused by name") {
    const auto with = [](std::uint8_t family, std::uint8_t length, std::uint8_t last) {
        Body body;
        append(&body, SubscriberRecord{5, 1, 7, 1, 0});
        PrefixRecord record{family, length, 0, {203, 0, 113, 8}};
        record.address[15] = last;
        append(&body, record);
        return fault<SubscriberView>(body);
    };
    CHECK(with(4, 29, 0).empty());
    CHECK_THAT(with(4, 28, 0), Catch::Contains("28"));
    CHECK_THAT(with(4, 33, 0), Catch::Contains("at most 32"));
    CHECK_THAT(with(6, 129, 0), Catch::Contains("at most 128"));
    CHECK_THAT(with(5, 29, 0), Catch::Contains("4 or 6"));
    CHECK_FALSE(with(4, 29, 1).empty());
}

TEST_CASE("a tunnel is refused for each field that is out of bounds") {
    const auto with = [](auto&& change) {
        SubscriberSpec spec = good_subscriber();
        change(spec.tunnels[0]);
        return fault<SubscriberView>(encode(spec));
    };
    CHECK(with([](TunnelSpec&) {}).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.id = 0x05000000; }).empty());
    CHECK_FALSE(
        with([](TunnelSpec& t) { t.encapsulation = static_cast<Encapsulation>(4); }).empty());
    CHECK(with([](TunnelSpec& t) { t.encapsulation = Encapsulation::Automatic; }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.mtu = 1279; }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.mtu = 9001; }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.line = ""; }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.line = std::string(32, 'x'); }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.line = "b"; }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.id = 0x0700002a; }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.remote = "224.0.0.1"; }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) { t.remote = "0.0.0.0"; }).empty());
    CHECK_FALSE(with([](TunnelSpec& t) {
                    t.encapsulation = Encapsulation::Gre;
                    t.remote_port = 9;
                }).empty());
}

TEST_CASE("classes and tiers that do not ascend from 0 without gaps are refused") {
    const auto with = [](std::vector<LineRecord> lines) {
        Body body;
        const auto classes = static_cast<std::uint16_t>(lines.back().class_number + 1);
        append(&body, PolicyRecord{1, static_cast<std::uint16_t>(lines.size()), 60, 0, classes});
        body.resize(body.size() + classes * sizeof(ClassRecord));
        for (const LineRecord& line : lines) append(&body, line);
        return fault<PolicyView>(body);
    };
    const auto a = line_name("a");
    const auto b = line_name("b");
    CHECK(with({{a, 0, 0, 1, 0}, {b, 0, 1, 1, 1}, {a, 1, 0, 1, 0}}).empty());
    CHECK_FALSE(with({{a, 1, 0, 1, 0}}).empty());
    CHECK_FALSE(with({{a, 0, 1, 1, 0}}).empty());
    CHECK_FALSE(with({{a, 0, 0, 1, 0}, {b, 0, 2, 1, 1}}).empty());
    CHECK_FALSE(with({{a, 0, 0, 1, 0}, {b, 1, 1, 1, 1}}).empty());
    CHECK_FALSE(with({{a, 0, 0, 0, 0}}).empty());
    CHECK_FALSE(with({{a, 0, 0, 1, 0}, {a, 0, 0, 1, 0}}).empty());
    CHECK_FALSE(with({{a, 8, 0, 1, 0}}).empty());
}

TEST_CASE("a line has one number in a policy, below 16, and shares it with no other") {
    const auto numbered = [](std::uint8_t a, std::uint8_t b, std::uint8_t again) {
        Body body;
        append(&body, PolicyRecord{1, 3, 60, 0, 2});
        append(&body, ClassRecord{});
        append(&body, ClassRecord{});
        append(&body, LineRecord{line_name("a"), 0, 0, 1, a});
        append(&body, LineRecord{line_name("b"), 0, 0, 1, b});
        append(&body, LineRecord{line_name("a"), 1, 0, 1, again});
        return fault<PolicyView>(body);
    };
    CHECK(numbered(15, 3, 15).empty());
    CHECK_THAT(numbered(16, 3, 16), Catch::Contains("number 16, at most 15"));
    CHECK_THAT(numbered(3, 3, 3), Catch::Contains("the same number, 3"));
    CHECK_THAT(numbered(1, 3, 2), Catch::Contains("the numbers 1 and 2"));
}

TEST_CASE("limits of a class that cannot be are refused") {
    const auto with = [](const ClassRecord& limits) {
        PolicySpec spec = policy(1, {{{"a", 1}}});
        spec.limits[0] = limits;
        return fault<PolicyView>(encode(spec));
    };
    CHECK(with({999, 60'000, 60'000, 1, 0}).empty());
    CHECK_THAT(with({1000, 0, 0, 0, 0}), Catch::Contains("at most 999 of a thousand"));
    CHECK_THAT(with({0, 0, 0, 2, 0}), Catch::Contains("strict must be 0 or 1"));
    CHECK_FALSE(with({0, 0, 0, 0, 1}).empty());
    Body missing = encode(policy(1, {{{"a", 1}}}));
    missing.insert(missing.end(), sizeof(ClassRecord), 0);
    missing[offsetof(PolicyRecord, classes)] = 2;
    CHECK_FALSE(fault<PolicyView>(missing).empty());
}

TEST_CASE("a policy has at most 16 different lines") {
    TierSpec tier;
    for (int i = 0; i < 16; ++i) tier.emplace_back("line" + std::to_string(i), std::uint8_t{1});
    CHECK(fault<PolicyView>(encode(policy(1, {tier}))).empty());
    tier.emplace_back("line16", std::uint8_t{1});
    CHECK_THAT(fault<PolicyView>(encode(policy(1, {tier}))), Catch::Contains("at most 16"));
}

// RFC 1071: the sum over a header including its checksum is all ones.
std::uint32_t ones_sum(const std::uint8_t* data, std::size_t length) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < length; i += 2)
        sum += static_cast<std::uint32_t>(data[i] << 8 | data[i + 1]);
    return (sum & 0xffffU) + (sum >> 16);
}

TEST_CASE("a tunnel row carries the ready-made outer header of each encapsulation") {
    TunnelRow row;
    SECTION("GRE-in-UDP over IPv4 with entropy") {
        build_tunnel_row(tunnel_record({"a", 0x01000029}), {77}, &row);
        const std::array<std::uint8_t, 56> expected{
            0x45,           0,    0,    0,    0, 0,   0x40, 0,   64, 17, row.header[10],
            row.header[11], 192,  0,    2,    1, 198, 51,   100, 7,  //
            0xc0,           0x00, 0x12, 0x92, 0, 0,   0,    0,       //
            0x20,           0,    0,    0,    1, 0,   0,    0x29};
        CHECK(row.header == expected);
        CHECK(ones_sum(row.header.data(), 20) == 0xffff);
        CHECK(row.flags == (TunnelRow::kUdp | TunnelRow::kEntropy | TunnelRow::kAnyPort));
        CHECK(row.header_length() == 36);
    }
    SECTION("GRE-in-UDP over IPv4 to a fixed port") {
        build_tunnel_row(
            tunnel_record({"a", 41, "198.51.100.7", "192.0.2.1", Encapsulation::GreUdp, 40000}),
            {77}, &row);
        CHECK(row.header[20] == 0x12);
        CHECK(row.header[21] == 0x92);
        CHECK((row.header[22] << 8 | row.header[23]) == 40000);
        CHECK(row.flags == TunnelRow::kUdp);
    }
    SECTION("GRE over IPv6") {
        build_tunnel_row(
            tunnel_record({"b", 42, "2001:db8:b::7", "2001:db8:ff::1", Encapsulation::Gre}), {77},
            &row);
        CHECK(row.header[0] == 0x60);
        CHECK(row.header[6] == 47);
        CHECK(row.header[7] == 64);
        CHECK(row.header[40] == 0x20);
        CHECK(row.flags == TunnelRow::kIpv6);
        CHECK(row.header_length() == 48);
    }
    CHECK(row.subscriber == 77);
    CHECK((tunnel_id(row).slot() == 41 || tunnel_id(row).slot() == 42));
    CHECK((remote_address(row) == address("198.51.100.7") ||
           remote_address(row) == address("2001:db8:b::7")));
}

}  // namespace
}  // namespace dr::southbound::test
