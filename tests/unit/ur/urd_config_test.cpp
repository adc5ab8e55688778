// The site's configuration: what is read, and that each mistake is named with its place.
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "ur/config_file.h"
#include "ur/site.h"

namespace {

using dr::ur::Config;
using dr::ur::ConfigError;
using nlohmann::json;

json good() {
    return json::parse(R"({
      "subscriber": "site-42", "prefixes": ["203.0.113.8/29", "2001:db8:5000:100::/56"],
      "policy": {"name": "default", "revision": "7", "classes": [
        {"name": "voice", "tiers": [{"lines": [{"line": "b"}]}, {"lines": [{"line": "a"}]}]},
        {"name": "all", "tiers": [{"lines": [{"line": "a", "weight": 3}, {"line": "b"}]}]}]},
      "hashSeed": 99,
      "tunnels": [
        {"line": "a", "device": "eth1", "encapsulation": "GRE_UDP", "local": "198.51.100.7",
         "remote": "192.0.2.1", "id": "16777257", "localPort": 4754, "mtu": 1400},
        {"line": "b", "device": "eth2", "encapsulation": "GRE", "remote": "2001:db8:ff::1",
         "id": 41}]})");
}

// All messages, one a line.
std::string errors_of(const json& value) {
    try {
        Config config = dr::ur::parse_config(value.dump());
        dr::ur::assign_devices(config, {});
    } catch (const ConfigError& e) {
        return e.what();
    }
    return {};
}

struct Mistake {
    const char* pointer;
    json value;
    const char* message;
};

}  // namespace

TEST_CASE("a file as drcli writes it is read field by field") {
    const Config config = dr::ur::parse_config(good().dump());
    CHECK(config.subscriber == "site-42");
    CHECK(config.prefixes.size() == 2);
    CHECK(config.seed == 99);
    CHECK(config.tunnels[0].id == 16777257);
    CHECK(config.tunnels[0].udp);
    CHECK(config.tunnels[0].local_port == 4754);
    CHECK_FALSE(config.tunnels[1].udp);
    CHECK(config.tunnels[1].local.family == 0);
    CHECK(config.tunnels[1].mtu == 1452);
    CHECK(config.mtu() == 1400);
}

TEST_CASE("AUTO is read, and without keepalives is GRE-in-UDP") {
    json value = good();
    value["tunnels"][0]["encapsulation"] = "AUTO";
    const Config config = dr::ur::parse_config(value.dump());
    CHECK(config.tunnels[0].udp);
    CHECK(config.tunnels[0].automatic);
    CHECK_FALSE(config.tunnels[1].automatic);
}

TEST_CASE("line numbers follow the first appearance over classes and tiers") {
    const Config config = dr::ur::parse_config(good().dump());
    CHECK(config.lines == std::vector<std::string>{"b", "a"});
    CHECK(config.tunnels[0].slot == 1);
    CHECK(config.classes[1].tiers[0][0].line == 1);
    CHECK(config.classes[1].tiers[0][0].weight == 3);
    CHECK(config.classes[1].tiers[0][1].weight == 1);
}

TEST_CASE("field names as in the .proto and enum numbers are read too") {
    json value = good();
    value["hash_seed"] = value["hashSeed"];
    value.erase("hashSeed");
    value["tunnels"][0]["encapsulation"] = 2;
    CHECK(errors_of(value).empty());
    CHECK(dr::ur::parse_config(value.dump()).seed == 99);
}

TEST_CASE("a mistake is named with its JSON path and with what would be right") {
    const std::vector<Mistake> mistakes{
        {"/prefixes/0", "203.0.113.9/29", "prefixes[0]: \"203.0.113.9/29\" is not a prefix"},
        {"/prefixes/0", 7, "prefixes[0]: 7 is no text in quotes"},
        {"/prefixes/1", "203.0.113.0/24", "prefixes[1]: 203.0.113.0/24 overlaps 203.0.113.8/29"},
        {"/prefixes", json::array(), "prefixes: 0 of them; must be 1 to 64"},
        {"/policy", nullptr, "policy.classes: 0 of them; must be 1 to 8"},
        {"/policy/classes", json::array(), "policy.classes: 0 of them; must be 1 to 8"},
        {"/policy/classes/0/tiers/0/lines/0/weight", 256,
         "policy.classes[0].tiers[0].lines[0].weight: is 256; must be at most 255"},
        {"/policy/classes/0/tiers/1/lines/0/line", "b",
         "policy.classes[0].tiers[1].lines[0].line: \"b\" stands twice"},
        {"/tunnels/0/encapsulation", "VXLAN",
         "tunnels[0].encapsulation: \"VXLAN\" is none of GRE, GRE_UDP, AUTO"},
        {"/tunnels/0/remote", "example.net",
         "tunnels[0].remote: \"example.net\" is not an address"},
        {"/tunnels/0/remote", nullptr, "tunnels[0].remote: is missing"},
        {"/tunnels/0/remote", "203.0.113.10", "tunnels[0].remote: 203.0.113.10 is inside"},
        {"/tunnels/0/local", "2001:db8::1", "tunnels[0].local: 2001:db8::1 is not of the family"},
        {"/tunnels/0/id", 0, "tunnels[0].id: is missing"},
        {"/tunnels/0/id", -1, "tunnels[0].id: -1 is no whole number of 0 to 4294967295"},
        {"/tunnels/0/id", json::object(), "tunnels[0].id: is an object; must be one value"},
        {"/tunnels/0/id", json::array({7}), "tunnels[0].id: is a list; must be one value"},
        {"/tunnels/0/encapsulation", 9, "tunnels[0].encapsulation: is 9; must be GRE"},
        {"/tunnels/0/a: b", 1, "tunnels[0].a: b: unknown field"},
        {"/tunnels/0/id", "12x", "tunnels[0].id: \"12x\" is no whole number"},
        {"/tunnels/0/mtu", 1279, "tunnels[0].mtu: is 1279; must be 1280 to 9000"},
        {"/tunnels/1/localPort", 4754, "tunnels[1].localPort: is for GRE_UDP and AUTO only"},
        {"/tunnels/1/line", "a", "tunnels[1].line: \"a\" has a tunnel already"},
        {"/tunnels/1/device", nullptr, "tunnels[1].device: is missing"},
        {"/tunnels", json::object(), "tunnels[0].line: is missing"},
        {"/tunnels/0/colour", "red", "tunnels[0].colour: unknown field"},
        {"/extra", 1, "extra: unknown field"},
    };
    for (const auto& mistake : mistakes) {
        json value = good();
        value[json::json_pointer(mistake.pointer)] = mistake.value;
        INFO(mistake.pointer << " = " << mistake.value.dump());
        CHECK_THAT(errors_of(value), Catch::Contains(mistake.message));
    }
}

TEST_CASE("a file with a byte order mark is read, and one in UTF-16 or beyond 1 MiB is refused") {
    CHECK(dr::ur::parse_config("\xef\xbb\xbf" + good().dump()).seed == 99);
    CHECK_THROWS_WITH(dr::ur::parse_config("\xff\xfe{"), Catch::Contains("is UTF-16"));
    CHECK_THROWS_WITH(dr::ur::parse_config(std::string((1 << 20) + 1, ' ')),
                      Catch::Contains("more than 1 MiB"));
}

TEST_CASE("a syntax error has its place") {
    std::string text = good().dump(2);
    text.erase(text.find(',', text.find("hashSeed")), 1);
    const auto line =
        1 +
        std::count(text.begin(),
                   text.begin() + static_cast<long>(text.find("\"policy\"", text.find("hashSeed"))),
                   '\n');
    CHECK_THROWS_WITH(dr::ur::parse_config(text), Catch::Contains("line " + std::to_string(line)));
    CHECK_THROWS_WITH(dr::ur::parse_config("{"), Catch::Contains("at the end"));
}

TEST_CASE("all mistakes of a file are named at once") {
    json value = good();
    value["tunnels"][0]["mtu"] = 1;
    value["tunnels"][1]["id"] = 0;
    CHECK_THAT(errors_of(value),
               Catch::Contains("tunnels[0].mtu") && Catch::Contains("tunnels[1].id"));
}

TEST_CASE("what is not JSON, and what is no object, is refused") {
    CHECK_THROWS_AS(dr::ur::parse_config("{"), ConfigError);
    CHECK_THROWS_AS(dr::ur::parse_config("[]"), ConfigError);
    CHECK_THROWS_AS(dr::ur::parse_config(""), ConfigError);
    CHECK_THROWS_AS(dr::ur::parse_config("1e999"), ConfigError);
}

TEST_CASE("a value deeper than the stack is refused, and not printed") {
    const std::size_t depth = 200'000;
    const std::string deep = std::string(depth, '[') + "true" + std::string(depth, ']');
    const std::string text = good().dump();
    for (const std::string place : {"16777257", "GRE_UDP", "203.0.113.8/29"}) {
        std::string file = text;
        file.replace(file.find('"' + place + '"'), place.size() + 2, deep);
        CHECK_THROWS_WITH(
            dr::ur::parse_config(file),
            Catch::Contains("is a list; must be one value") || Catch::Contains("true is no text"));
    }
}

TEST_CASE("two tunnels may have one id only when their DRs differ") {
    json value = good();
    value["tunnels"][1]["id"] = 16777257;
    CHECK(errors_of(value).empty());
    value["tunnels"][1]["remote"] = "192.0.2.1";
    CHECK_THAT(errors_of(value), Catch::Contains("tunnels[1].id: 16777257 is also the id"));
}

TEST_CASE("the command line sets and overrides devices, and only of lines that exist") {
    json value = good();
    value["tunnels"][1].erase("device");
    Config config = dr::ur::parse_config(value.dump());
    dr::ur::assign_devices(config, {{"a", "ppp0"}, {"b", "wan1"}});
    CHECK(config.tunnels[0].device == "ppp0");
    CHECK(config.tunnels[1].device == "wan1");
    CHECK_THROWS_WITH(dr::ur::assign_devices(config, {{"c", "wan2"}}),
                      Catch::Contains("--line c=wan2: no tunnel has this line"));
}

TEST_CASE(
    "the programs' view of a site: masks, tunnels by line number, buckets of eligible lines") {
    const Config config = dr::ur::parse_config(good().dump());
    auto site = std::make_unique<ur_site>();
    dr::ur::fill_site(config, *site);
    CHECK(site->rules[0].prefixes4 == 1);
    CHECK(site->rules[0].prefix4[0].mask.word[0] == __builtin_bswap32(0xfffffff8U));
    CHECK(site->rules[0].prefix6[0].mask.word[1] == __builtin_bswap32(0xffffff00U));
    CHECK(site->slots == 2);
    CHECK(site->tunnel[1].copy[0].id == 16777257);
    CHECK(site->bucket[1][0] == UR_NO_SLOT);
    dr::ur::publish_buckets(dr::ur::plan_buckets(config, dr::ur::everywhere(0b11)), *site);
    unsigned share[2]{};
    for (const auto slot : site->bucket[1]) ++share[slot];
    CHECK(share[1] == 192);
    CHECK(share[0] == 64);
}

TEST_CASE("what is said of a file does not grow with the file") {
    const std::string long_one(2 << 20, '[');
    for (const auto& text :
         {long_one, "{\"" + long_one + "\": 1}", "{\"hash_seed\": \"" + long_one + "\"}"}) {
        try {
            dr::ur::parse_config(text);
            FAIL("it is taken");
        } catch (const dr::ur::ConfigError& e) {
            CHECK(std::string(e.what()).size() < 4000);
        }
    }
}
