// The published test vectors (proto/tunnel_vectors.json) against the code. The vectors come from an
// implementation of proto/TUNNEL.md's text that shares nothing with the code.
#include <arpa/inet.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "dataplane/tables/bucket_map.h"
#include "dataplane/wire/flow_key.h"

using namespace dr;

namespace {

const nlohmann::json& published() {
    static const nlohmann::json file = [] {
        std::ifstream in(TUNNEL_VECTORS);
        REQUIRE(in.good());
        return nlohmann::json::parse(in);
    }();
    return file;
}

std::vector<std::uint8_t> from_hex(const std::string& hex) {
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
        bytes.push_back(static_cast<std::uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
    return bytes;
}

std::uint64_t flow_end(const std::string& address, std::uint16_t port) {
    std::array<std::uint8_t, 16> bytes{};
    if (inet_pton(AF_INET, address.c_str(), bytes.data()) == 1)
        return dr_flow_end4(wire::load32(bytes.data()), port);
    REQUIRE(inet_pton(AF_INET6, address.c_str(), bytes.data()) == 1);
    return dr_flow_end6(wire::load64(bytes.data()), wire::load64(bytes.data() + 8), port);
}

std::uint32_t packet_hash(const std::vector<std::uint8_t>& packet, std::uint32_t seed) {
    const auto length = static_cast<unsigned>(packet.size());
    if (packet[0] >> 4 == 4)
        return wire::flow_hash4(packet.data(), length, wire::upper4(packet.data()), seed);
    return wire::flow_hash6(packet.data(), length, wire::upper6(packet.data(), length), seed);
}

BucketMap three_to_one() {
    return make_bucket_map({{{0, 3}, {1, 1}}}, 3);
}

}  // namespace

TEST_CASE("at least 24 vectors are published, of both families") {
    unsigned v4 = 0, v6 = 0;
    for (const auto& v : published()["vectors"])
        (v["packet"].get<std::string>()[0] == '4' ? v4 : v6) += 1;
    CHECK(v4 >= 12);
    CHECK(v6 >= 12);
}

TEST_CASE("the hash of each published flow is the published one") {
    for (const auto& v : published()["vectors"]) {
        CAPTURE(v["what"].get<std::string>());
        const auto& flow = v["flow"];
        const std::uint32_t hash = dr_flow_hash(
            flow_end(flow["source"], flow["sourcePort"]),
            flow_end(flow["destination"], flow["destinationPort"]), flow["protocol"], v["seed"]);
        CHECK(hash == v["hash"].get<std::uint32_t>());
        CHECK(dr_flow_bucket(hash) == v["bucket"].get<std::uint32_t>());
        CHECK(dr_flow_source_port(hash) == v["sourcePort"].get<std::uint16_t>());
        CHECK(dr_flow_label(hash) == v["flowLabel"].get<std::uint32_t>());
        CHECK(three_to_one().line[dr_flow_bucket(hash)] == v["line"].get<std::uint8_t>());
    }
}

TEST_CASE("the flow found in each published packet is the published one") {
    for (const auto& v : published()["vectors"]) {
        CAPTURE(v["what"].get<std::string>());
        CHECK(packet_hash(from_hex(v["packet"]), v["seed"]) == v["hash"].get<std::uint32_t>());
    }
}

TEST_CASE("each published bucket map is the one that is computed") {
    for (const auto& m : published()["maps"]) {
        std::vector<WeightedLine> tier;
        for (const std::uint8_t weight : m["weights"])
            tier.push_back({static_cast<std::uint8_t>(tier.size()), weight});
        std::uint16_t eligible = 0;
        for (const unsigned line : m["eligible"])
            eligible = static_cast<std::uint16_t>(eligible | 1U << line);
        const BucketMap map = make_bucket_map({tier}, eligible);
        std::string text;
        for (const std::uint8_t line : map.line) text += "0123456789abcdef"[line & 15U];
        CHECK(text == m["map"].get<std::string>());
    }
}

TEST_CASE("the default seed of a name is the published one") {
    for (const auto& [name, seed] : published()["seeds"].items())
        CHECK(dr_flow_default_seed(name.data(), static_cast<dr_u32>(name.size())) ==
              seed.get<std::uint32_t>());
}

TEST_CASE("both directions of a flow have one hash, and seeds and protocols tell flows apart") {
    std::mt19937_64 random(5);
    unsigned by_seed = 0, by_protocol = 0;
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t a = random() >> 16, b = random() >> 16;
        const auto seed = static_cast<std::uint32_t>(random());
        REQUIRE(dr_flow_hash(a, b, 6, seed) == dr_flow_hash(b, a, 6, seed));
        by_seed += dr_flow_hash(a, b, 6, seed) == dr_flow_hash(a, b, 6, seed + 1) ? 1U : 0U;
        by_protocol += dr_flow_hash(a, b, 6, seed) == dr_flow_hash(a, b, 17, seed) ? 1U : 0U;
    }
    CHECK(by_seed <= 1);
    CHECK(by_protocol <= 1);
}

TEST_CASE("flows between neighbouring addresses and ports spread evenly over the buckets") {
    std::array<unsigned, DR_BUCKETS> count{};
    constexpr unsigned kFlows = 256 * 400;
    for (std::uint32_t i = 0; i < kFlows; ++i)
        ++count[dr_flow_bucket(
            dr_flow_hash(dr_flow_end4(0xcb007109U, static_cast<dr_u16>(40'000 + i % 64)),
                         dr_flow_end4(0xc6336400U + i / 64, 443), 6, 42))];
    // Chi-square with 255 degrees of freedom: mean 255, standard deviation 22.6.
    double chi_square = 0;
    for (const unsigned n : count) chi_square += (n - 400.0) * (n - 400.0) / 400.0;
    CHECK(chi_square < 255 + 6 * 22.6);
    CHECK(chi_square > 255 - 6 * 22.6);
}
