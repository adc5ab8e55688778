// Watches: how they end, and how much they show.
#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/cli/cli_world.h"

TEST_CASE_METHOD(Fixture, "a watch ends with 0 after --count, and with 2 when the server ends it") {
    const std::string block =
        "COUNTER        VALUE  PER SECOND\ndrop.no_route     20          10\n";
    const auto counted = run({"stats", "watch", "--count", "1"});
    CHECK(counted.code == 0);
    CHECK(counted.out == block);
    const auto ended = run({"stats", "watch"});
    CHECK(ended.code == 2);
    CHECK(ended.out == block);
    CHECK(ended.err.find(" ended the watch\n") != std::string::npos);
}

TEST_CASE_METHOD(Fixture, "a watch of tunnels says when there are more than it watches") {
    const auto result = run({"tunnel", "watch", "--count", "2"});
    CHECK(result.code == 0);
    CHECK(result.err.find("only the first 1000 are watched") != std::string::npos);
    CHECK(result.err.find("watched") == result.err.rfind("watched"));
    CHECK(run({"tunnel", "watch", "--count", "2", "--limit", "5"}).err.empty());
}

TEST_CASE_METHOD(Fixture, "a tunnel that is among those watched again is shown again") {
    const auto result = run({"tunnel", "watch", "--changes", "--limit", "2", "-o", "json"});
    std::vector<int> ids;
    std::istringstream lines(result.out);
    for (std::string line; std::getline(lines, line);) {
        ids.push_back(nlohmann::json::parse(line)["tunnel"]["id"]);
    }
    CHECK(ids == std::vector<int>{1, 2, 2});
}

TEST_CASE_METHOD(Fixture, "10,000 tunnels can be watched at once") {
    const auto result =
        run({"tunnel", "watch", "--changes", "--count", "1", "--limit", "10000", "-o", "json"});
    CHECK(result.code == 0);
    CHECK(std::count(result.out.begin(), result.out.end(), '\n') == 10'000);
    CHECK(tunnels.message_bytes < (16U << 20));  // what drd sends at most
}
