// drcli asks a server: objects, lists, refusals, waiting.
#include <fmt/format.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/cli/cli_world.h"

TEST_CASE_METHOD(Fixture, "an object is shown for people and for scripts") {
    CHECK(run({"pool", "get", "tokyo-v4"}).out ==
          "Name:      tokyo-v4\n"
          "Prefix:    203.0.113.0/24\n"
          "Announce:  no\n"
          "Revision:  7\n");
    const auto json = run({"pool", "get", "tokyo-v4", "-o", "json"});
    CHECK(json.code == 0);
    CHECK(nlohmann::json::parse(json.out)["revision"] == 7);
    CHECK(run({"-o", "json", "pool", "get", "tokyo-v4"}).out == json.out);
}

TEST_CASE_METHOD(Fixture, "what the server refuses ends with 1 and its sentence") {
    const auto missing = run({"pool", "get", "list"});
    CHECK(missing.code == 1);
    CHECK(missing.err == "drcli: error: no pool is named list\n");
    CHECK(run({"pool", "get", "bad_name"}).err ==
          "drcli: error: 1 field is wrong\n  name: must be lower case\n");
    const auto aborted = run({"pool", "delete", "x", "--revision", "6"});
    CHECK(aborted.code == 1);
    CHECK(aborted.err ==
          "drcli: error: the stored revision is another one: read the object again\n");
    CHECK(run({"pool", "delete", "x", "--revision", "7"}).out == "pool/x deleted\n");
}

TEST_CASE_METHOD(Fixture, "a server without a service, or without a data plane, says so") {
    const auto unknown = run({"policy", "list"});
    CHECK(unknown.code == 1);
    CHECK(unknown.err == "drcli: error: the server does not know this request\n");
    const auto away = run({"stats", "drops"});
    CHECK(away.code == 1);
    CHECK(away.err == "drcli: error: the data plane is away\n");
}

TEST_CASE("no connection ends with 2 and the reason") {
    const auto result = run_at("unix:/nonexistent/drd.sock", {"pool", "list"});
    CHECK(result.code == 2);
    CHECK(result.err ==
          "drcli: error: cannot connect to unix:/nonexistent/drd.sock: "
          "No such file or directory (is drd running?)\n");
    CHECK(run_at("192.0.2.1:1", {"pool", "list"}).code == 2);
    CHECK(run_at("unix:/nonexistent", {"system", "wait", "--timeout", "0s"}).code == 2);
}

TEST_CASE_METHOD(Fixture, "a list fetches the pages that it needs, and no more") {
    CHECK(nlohmann::json::parse(run({"pool", "list", "-o", "json", "--all"}).out).size() == 2500);
    CHECK(pools.list_calls == 3);
    const auto some = run({"pool", "list", "-o", "json", "--limit", "1200"});
    CHECK(nlohmann::json::parse(some.out).size() == 1200);
    CHECK(pools.list_calls == 5);
    CHECK(some.err.empty());
}

TEST_CASE_METHOD(Fixture,
                 "a list without a limit shows the first thousand, and says that it does") {
    const auto result = run({"pool", "list", "-o", "json"});
    CHECK(nlohmann::json::parse(result.out).size() == 1000);
    CHECK(pools.list_calls == 1);
    CHECK(result.err.find("only the first 1000 are shown") != std::string::npos);
    CHECK(run({"pool", "list", "--limit", "0"}).code == 2);
    CHECK(run({"pool", "list", "--limit", "5", "--all"}).code == 2);
}

TEST_CASE_METHOD(Fixture, "an enrollment that is refused leaves the files as they were") {
    const auto file = std::filesystem::temp_directory_path() / fmt::format("enroll-{}", getpid());
    CHECK(run({"subscriber", "enroll", "site-1", "--out", file.string()}).code != 0);
    CHECK_FALSE(std::filesystem::exists(file));
    std::ofstream(file) << "the present ones";
    CHECK(run({"subscriber", "enroll", "site-1", "--out", file.string()}).code != 0);
    CHECK(std::filesystem::file_size(file) == 16);
    std::filesystem::remove(file);
}

TEST_CASE_METHOD(Fixture, "waiting ends when all that is stored is installed, or at the timeout") {
    const auto done = run({"system", "wait"});
    CHECK(done.code == 0);
    CHECK(done.out.find("IN_SYNC") != std::string::npos);
    CHECK(done.out.find("CAPACITY") == std::string::npos);  // its tables are for `status`
    CHECK(system.calls == 3);
    system.behind_for = 1000000;
    const auto late = run({"system", "wait", "--timeout", "120ms"});
    CHECK(late.code == 1);
    CHECK(late.err ==
          "drcli: error: not in sync after 120 ms: data plane IN_SYNC, revision 5 stored, 4 "
          "installed\n");
}
