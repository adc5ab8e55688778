// drcli apply: what is read, what is sent, what is told of each object.
#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/unit/cli/cli_world.h"

namespace {

// One of the objects that `-o json` prints a line each.
std::vector<nlohmann::json> json_lines(const std::string& text) {
    std::vector<nlohmann::json> objects;
    for (std::size_t begin = 0; begin < text.size();) {
        const auto end = text.find('\n', begin);
        objects.push_back(nlohmann::json::parse(text.substr(begin, end - begin)));
        begin = end + 1;
    }
    return objects;
}

}  // namespace

TEST_CASE_METHOD(Fixture, "a value that no field takes is refused in the file's own terms") {
    const auto error = [&](const std::string& object) {
        return run({"apply", "-f", "-"}, object).err;
    };
    CHECK(error(R"({"subscriber": {"name": "s", "tunnels": [{"encapsulation": "gre"}]}})") ==
          "line 1: subscriber/s: subscriber.tunnels[0].encapsulation: \"gre\" is none of GRE, "
          "GRE_UDP, AUTO\n");
    CHECK(error(R"({"policy": {"name": "p", "waitToRestoreS": -5}})") ==
          "line 1: policy/p: policy.waitToRestoreS: -5 is no whole number of 0 to "
          "4294967295\n");
    CHECK(error(R"({"pool": {"name": "p", "announce": "maybe"}})") ==
          "line 1: pool/p: pool.announce: \"maybe\" is neither true nor false\n");
}

TEST_CASE_METHOD(Fixture, "a file that is no JSON is told of once, and so is UTF-16") {
    std::string csv;
    for (int i = 0; i < 50'000; ++i) csv += fmt::format("site-{},203.0.113.0/29\n", i);
    const auto result = run({"apply", "-f", "-"}, csv);
    CHECK(result.code == 2);
    CHECK(std::count(result.err.begin(), result.err.end(), '\n') == 1);
    CHECK(result.err.find("none of its first 10 lines begins a JSON object") != std::string::npos);
    const auto wide = run({"apply", "-f", "-"}, std::string("\xff\xfe{\0", 4));
    CHECK(wide.code == 2);
    CHECK(wide.err == "drcli: error: standard input: is UTF-16; it must be UTF-8\n");
    CHECK(run({"apply", "-f", "-"}, "\xef\xbb\xbf" + pool("a")).code == 0);
    // A few lines of rubbish before an object are its neighbours, each told of.
    const auto few = run({"apply", "-f", "-"}, "one\ntwo\n" + pool("a"));
    CHECK(few.out == "3 objects: 1 created, 0 updated, 0 unchanged, 2 refused\n");
}

TEST_CASE_METHOD(Fixture,
                 "an object is applied as get prints it, and its revision is not looked at") {
    const auto shown = run({"pool", "get", "tokyo-v4", "-o", "json"}).out;
    CHECK(run({"apply", "-f", "-"}, shown).code == 0);
    CHECK(resources.last.pool().prefix() == "203.0.113.0/24");
    CHECK(resources.last.pool().revision() == 0);
    CHECK(run({"apply", "--check-revision", "-f", "-"}, "[" + shown + "]").code == 0);
    CHECK(resources.last.pool().revision() == 7);
}

TEST_CASE_METHOD(Fixture, "a warning stands beside the object, which is applied") {
    const auto result = run({"apply", "-f", "-"}, pool("odd"));
    CHECK(result.code == 0);
    CHECK(result.err == "line 1: pool/odd: warning: pool.prefix: hardly meant\n");
    CHECK(result.out == "1 object: 1 created, 0 updated, 0 unchanged, 0 refused\n");
}

TEST_CASE_METHOD(Fixture, "apply names each refused object by line, and applies the others") {
    const auto result =
        run({"apply", "-f", "-"}, pool("a") + "\n\n" + pool("bad") +
                                      "\n{\"pool\": {\"x\": 1}}\nnonsense\n" + pool("b") + "\n");
    CHECK(result.code == 1);
    CHECK(result.err ==
          "line 3: pool/bad: pool.prefix: host bits set\n"
          "line 4: pool/: pool.x: unknown field\n"
          "line 5: not a JSON object: it must begin with {\n");
    CHECK(result.out == "5 objects: 2 created, 0 updated, 0 unchanged, 3 refused\n");
}

TEST_CASE_METHOD(Fixture,
                 "apply of an array names elements, and prints JSON in the input's order") {
    const auto result = run(
        {"apply", "-f", "-", "-o", "json"},
        "[" + pool("a") + ", 5,\n  {\n  \"pool\":\n  {\"name\": \"bad\"}},\n" + pool("b") + "]");
    CHECK(result.code == 1);
    CHECK(result.err ==
          "element 2 (line 1): not a JSON object: it must begin with {\n"
          "element 3 (line 2): pool/bad: pool.prefix: host bits set\n");
    const auto objects = json_lines(result.out);
    REQUIRE(objects.size() == 4);
    CHECK(objects[0]["outcome"] == "CREATED");
    CHECK(objects[0]["resource"] == "pool/a");
    CHECK(objects[1]["outcome"] == "REFUSED");
    CHECK(objects[1]["element"] == 2);
    CHECK(objects[2]["line"] == 2);
    CHECK(objects[2]["violations"][0]["field"] == "pool.prefix");
    CHECK(objects[3]["revision"] == 3);
}

TEST_CASE_METHOD(Fixture, "apply sends many objects in messages of at most 1000") {
    std::string input;
    for (int i = 0; i < 2500; ++i) {
        input += pool(fmt::format("p{}", i)) + "\n";
    }
    const auto result = run({"apply", "-f", "-"}, input);
    CHECK(result.code == 0);
    CHECK(result.err.empty());
    CHECK(result.out == "2500 objects: 2500 created, 0 updated, 0 unchanged, 0 refused\n");
    CHECK(resources.largest_message == 1000);
}

TEST_CASE_METHOD(Fixture, "an atomic apply with a line that cannot be read applies nothing") {
    const auto result =
        run({"apply", "--atomic", "-f", "-", "-o", "json"}, pool("a") + "\nnonsense\n" + pool("b"));
    CHECK(result.code == 1);
    const auto objects = json_lines(result.out);
    REQUIRE(objects.size() == 3);
    for (const auto& object : objects) {
        CHECK(object["outcome"] == "REFUSED");
    }
    CHECK(objects[0]["resource"] == "pool/a");
    CHECK(objects[0]["violations"] == objects[2]["violations"]);
    CHECK(objects[0]["violations"][0]["field"] == "resource");
    CHECK(run({"apply", "--atomic", "-f", "-"}, pool("a")).code == 0);
}

TEST_CASE_METHOD(Fixture, "Ctrl-C after the last object is not told as nothing applied") {
    resources.interrupts = true;
    for (const bool atomic : {true, false}) {
        std::vector<std::string> arguments{"apply", "-f", "-"};
        if (atomic) {
            arguments.emplace_back("--atomic");
        }
        const auto result = run(arguments, pool("a") + "\n" + pool("b"));
        CHECK(result.code == 0);
        CHECK(result.err.empty());
        CHECK(result.out == "2 objects: 2 created, 0 updated, 0 unchanged, 0 refused\n");
    }
}

TEST_CASE_METHOD(Fixture, "apply of a group refuses objects of other kinds by line") {
    const auto result = run({"pool", "apply", "-f", "-"},
                            pool("a") + "\n{\"policy\": {\"name\": \"p\"}}\n" + pool("b"));
    CHECK(result.code == 1);
    CHECK(result.err ==
          "line 2: policy/p: policy: drcli pool apply takes pool objects only; drcli apply takes "
          "every kind\n");
    CHECK(result.out == "3 objects: 2 created, 0 updated, 0 unchanged, 1 refused\n");
}

TEST_CASE_METHOD(Fixture, "a directory is no file to apply") {
    const auto result = run({"apply", "-f", "/"}, "");
    CHECK(result.code == 2);
    CHECK(result.out.empty());
    CHECK(result.err == "drcli: error: /: cannot be read: Is a directory\n");
}

TEST_CASE_METHOD(Fixture, "an empty file applies nothing, successfully") {
    const auto result = run({"apply", "-f", "-"}, "\n");
    CHECK(result.code == 0);
    CHECK(result.out == "0 objects: 0 created, 0 updated, 0 unchanged, 0 refused\n");
}
