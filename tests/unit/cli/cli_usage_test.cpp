// The command line itself: help, wrong words, completion.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/unit/cli/cli_world.h"

TEST_CASE("a wrong command line ends with 2 and says where to look") {
    const auto result = run_at("", {"pool", "lst"});
    CHECK(result.code == 2);
    CHECK(result.err ==
          "drcli: error: \"lst\" is no command; there are: list, get, apply, delete\n"
          "Try: drcli pool --help\n");
    CHECK(run_at("", {"tunnel", "apply"}).err.find("a part of its subscriber") !=
          std::string::npos);
    CHECK(run_at("", {"tunnel", "--help"}).out.find("a part of its subscriber") !=
          std::string::npos);
    CHECK(run_at("", {}).code == 2);
    CHECK(run_at("", {"apply"}).code == 2);
    CHECK(run_at("", {"pool", "list", "-o", "xml"}).code == 2);
    CHECK(run_at("", {"tunnel", "watch", "--interval", "50ms"}).code == 2);
    CHECK(run_at("", {"apply", "-f", "/nonexistent"}).code == 2);
    CHECK(run_at("", {"--help"}).code == 0);
    CHECK(run_at("", {"--version"}).out == "drcli " DR_VERSION "\n");
}

TEST_CASE("an error is in the product's words, in the order in which they were typed") {
    const auto error = [](const std::vector<std::string>& words) {
        const auto result = run_at("", words);
        CHECK(result.code == 2);
        return result.err.substr(0, result.err.find('\n'));
    };
    CHECK(error({"subscriber", "list", "--polcy", "x"}) ==
          "drcli: error: \"--polcy\" is no option of drcli subscriber list; is --policy meant?");
    CHECK(error({"pool", "get", "a", "b"}) == "drcli: error: \"b\" is one word too many");
    CHECK(error({"tunnel", "list", "--state", "FOO"}) ==
          "drcli: error: --state: \"FOO\" is none of ADMIN_DOWN, DOWN, INIT, PENDING, STATIC, UP");
    CHECK(error({"tunnel", "list", "--limit", "-1"}).find("must be 1 or more, not -1") !=
          std::string::npos);
}

TEST_CASE("help and version are commands too, and help shows what an object looks like") {
    CHECK(run_at("", {"version"}).out == "drcli " DR_VERSION "\n");
    CHECK(run_at("", {"help"}).out == run_at("", {"--help"}).out);
    CHECK(run_at("", {"help", "pool", "list"}).out == run_at("", {"pool", "list", "--help"}).out);
    CHECK(run_at("", {"-o", "json", "--server=unix:/x", "help", "pool", "list"}).out ==
          run_at("", {"pool", "list", "--help"}).out);
    CHECK(run_at("", {"help", "pol"}).code == 2);
    for (const char* kind : {"pool", "policy", "subscriber"})
        for (const auto& words : {std::vector<std::string>{kind, "--help"},
                                  {kind, "apply", "--help"},
                                  {"apply", "--help"},
                                  {"help", kind}}) {
            const auto text = run_at("", words).out;
            CHECK(text.find(fmt::format("  {{\"{}\": {{\"name\": ", kind)) != std::string::npos);
        }
}

TEST_CASE("the completion scripts know every command") {
    const auto bash = run_at("", {"completion", "bash"});
    CHECK(bash.code == 0);
    for (const char* line :
         {"\"drcli pool\") words=\"list get apply delete\"",
          "\"drcli subscriber ur-config\") words=\"\"", "\"drcli system drain\") words=\"on off\"",
          "objects=\"policy\" ;;", "--file|--out|--tls-ca|--tls-cert|--tls-key|-f) "}) {
        CAPTURE(line);
        CHECK(bash.out.find(line) != std::string::npos);
    }
    CHECK(run_at("", {"completion", "zsh"}).out.starts_with("#compdef drcli\n"));
    CHECK(run_at("", {"completion", "fish"}).code == 2);
}
