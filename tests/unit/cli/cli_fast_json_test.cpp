// The fast reader of JSON accepts nothing that the library refuses, and reads the same.
#include <google/protobuf/util/json_util.h>

#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

#include "cli/fast_json.h"
#include "dr/v1/resource.pb.h"

using dr::cli::read_plain_json;

namespace {

const std::vector<std::string> kObjects{
    R"({"pool": {"name": "tokyo-v4", "prefix": "203.0.113.0/24", "announce": true}})",
    R"({"pool": {"name": "", "announce": false, "revision": 12}})",
    R"({"policy": {"name": "default", "waitToRestoreS": 0, "classes": [{"name": "all",
        "tiers": [{"lines": [{"line": "a", "weight": 3}, {"line": "b"}]}, {"lines": []}]}]}})",
    R"({"subscriber": {"name": "site-42", "prefixes": ["203.0.113.8/29", "2001:db8::/56"],
        "policy": "default", "hash_seed": 4294967295, "tunnels": [{"line": "a",
        "encapsulation": "GRE_UDP", "local": "192.0.2.1", "remotePort": 0, "id": 16777257}, {}]}})",
    R"({"subscriber":{}})",
};

// Whether the two agree, when the fast one has an answer at all.
bool agree(const std::string& text) {
    dr::v1::Resource fast;
    if (!read_plain_json(text, fast)) return true;
    dr::v1::Resource slow;
    return google::protobuf::util::JsonStringToMessage(text, &slow).ok() &&
           slow.SerializeAsString() == fast.SerializeAsString();
}

}  // namespace

TEST_CASE("plain objects are read without the library, and alike") {
    for (const auto& text : kObjects) {
        INFO(text);
        dr::v1::Resource fast;
        CHECK(read_plain_json(text, fast));
        CHECK(agree(text));
    }
}

TEST_CASE("what is not plain is left to the library") {
    for (const char* text : {R"({"pool": {"name": "\u0061"}})",
                             R"({"pool": {"name": null}})",
                             R"({"pool": {"name": "ü"}})",
                             R"({"pool": {"revision": "1"}})",
                             R"({"pool": {"name": "a", "name": "b"}})",
                             R"({"pool": {}, "policy": {}})",
                             R"({"pool": {"nothing": 1}})",
                             R"({"pool": {"announce": 1}})",
                             R"({"pool": {}} x)",
                             R"({"pool": {},})",
                             R"({"pool": {"revision": 1.0}})",
                             R"({"pool": {"revision": 01}})",
                             R"({"subscriber": {"hashSeed": 4294967296}})",
                             R"({"subscriber": {"hashSeed": -1}})",
                             R"({"subscriber": {"tunnels": [{"encapsulation": 1}]}})",
                             R"({"subscriber": {"tunnels": [{"encapsulation": "NONE"}]}})",
                             R"({"subscriber": {"prefixes": "203.0.113.8/29"}})",
                             R"({"subscriber": {"prefixes": ["203.0.113.8/29",]}})",
                             "",
                             "{",
                             "[]",
                             "{'pool': {}}"}) {
        INFO(text);
        dr::v1::Resource resource;
        CHECK_FALSE(read_plain_json(text, resource));
    }
}

TEST_CASE("whatever is changed in an object, the two readers never disagree") {
    std::minstd_rand random(20'261'123);
    const std::string alphabet = "{}[]\",:\\ 0123456789.-eEtrufalsn/_abXY\n\x01\x7f\xc3";
    int read = 0;
    for (int round = 0; round < 20'000; ++round) {
        std::string text = kObjects[random() % kObjects.size()];
        for (auto changes = 1 + random() % 3; changes > 0; --changes) {
            const std::size_t at = random() % text.size();
            const char c = alphabet[random() % alphabet.size()];
            if (const auto how = random() % 3; how == 0)
                text[at] = c;
            else if (how == 1)
                text.insert(at, 1, c);
            else
                text.erase(at, 1 + random() % 4);
        }
        dr::v1::Resource resource;
        read += read_plain_json(text, resource) ? 1 : 0;
        INFO(text);
        REQUIRE(agree(text));
    }
    CHECK(read > 1000);
}
