#include <catch2/catch.hpp>
#include <cstring>
#include <vector>

#include "cli/object_scanner.h"

namespace {

using dr::cli::ObjectScanner;
using dr::cli::ScannedObject;

// All objects of a text, which the reader hands out in pieces of `piece` bytes.
std::vector<ScannedObject> scan(const std::string& text, std::size_t piece = 4096) {
    std::size_t at = 0;
    ObjectScanner scanner([&](std::span<char> buffer) {
        const auto count = std::min({buffer.size(), piece, text.size() - at});
        std::memcpy(buffer.data(), text.data() + at, count);
        at += count;
        return count;
    });
    std::vector<ScannedObject> objects;
    ScannedObject object;
    while (scanner.next(object)) {
        objects.push_back(object);
    }
    return objects;
}

std::vector<std::uint64_t> lines_of(const std::vector<ScannedObject>& objects) {
    std::vector<std::uint64_t> lines;
    for (const auto& object : objects) {
        lines.push_back(object.line);
    }
    return lines;
}

using Lines = std::vector<std::uint64_t>;

}  // namespace

TEST_CASE("objects on lines of their own are found with their line numbers") {
    const auto objects = scan("{\"a\": 1}\n\n  \r\n{\"b\": \"}{\"}\r\n{\"c\": [1, {}]}");
    REQUIRE(objects.size() == 3);
    CHECK(lines_of(objects) == Lines{1, 4, 5});
    CHECK(objects[0].text == "{\"a\": 1}");
    CHECK(objects[1].error.empty());
    CHECK(objects[2].text == "{\"c\": [1, {}]}");
}

TEST_CASE("the pieces in which the input arrives make no difference") {
    const std::string text = "[{\"a\": \"\\\"}\"},\n {\"b\": {}}]";
    for (std::size_t piece = 1; piece < text.size(); ++piece) {
        const auto objects = scan(text, piece);
        REQUIRE(objects.size() == 2);
        CHECK(objects[0].text == "{\"a\": \"\\\"}\"}");
        CHECK(objects[1].text == "{\"b\": {}}");
        CHECK(objects[1].line == 2);
    }
}

TEST_CASE("an empty input has no objects") {
    CHECK(scan("").empty());
    CHECK(scan(" \n\n").empty());
    CHECK(scan("[]").empty());
    CHECK(scan(" [ \n ] \n").empty());
}

TEST_CASE("a byte order mark is passed over") {
    const auto objects = scan("\xef\xbb\xbf{\"a\": 1}\n");
    REQUIRE(objects.size() == 1);
    CHECK(objects[0].text == "{\"a\": 1}");
}

TEST_CASE("a broken line is refused alone") {
    const auto bad = GENERATE(as<std::string>{}, "not json", "{\"a\": {\"b\": 1}", "{\"a\": \"x}",
                              "{\"a\": 1}}", "{\"a\": ]}", "{} {}", "[1]", "\"{}\"", "}");
    CAPTURE(bad);
    const auto objects = scan("{\"first\": 1}\n" + bad + "\n{\"last\": 1}\n");
    REQUIRE(objects.size() == 3);
    CHECK(objects[0].error.empty());
    CHECK_FALSE(objects[1].error.empty());
    CHECK(objects[1].line == 2);
    CHECK(objects[2].error.empty());
    CHECK(objects[2].text == "{\"last\": 1}");
}

TEST_CASE("an object may go on in indented lines") {
    const auto objects =
        scan("{\"a\": {\"b\": [{},\n   {\"c\": 1}]\n}}\n{\"d\": 1}\n{\n  \"e\": 1\n}\n");
    REQUIRE(objects.size() == 3);
    CHECK(lines_of(objects) == Lines{1, 4, 5});
    for (const auto& object : objects) {
        CHECK(object.error.empty());
    }
}

TEST_CASE("an object that is not closed at the end of the file is refused") {
    const auto objects = scan("{\"a\": 1}\n{\"b\": ");
    REQUIRE(objects.size() == 2);
    CHECK(objects[1].error == "the object is not closed");
    CHECK(objects[1].line == 2);
}

TEST_CASE("the elements of an array are found however it is laid out") {
    const auto text = GENERATE(as<std::string>{}, "[{\"a\":1},{\"b\":2}]",
                               "[\n  {\n    \"a\": 1\n  },\n  {\n    \"b\": 2\n  }\n]\n",
                               "[{\n\"a\":\n1}\n,\n{\"b\"\n: 2}\n]", "[{\"a\":\n[{}]},{\"b\":2},]");
    CAPTURE(text);
    const auto objects = scan(text);
    REQUIRE(objects.size() == 2);
    CHECK(objects[0].error.empty());
    CHECK(objects[1].error.empty());
    CHECK(objects[1].number == 2);
}

TEST_CASE("a broken element of an array is refused alone") {
    const auto bad = GENERATE(as<std::string>{}, "5", "\"a, ]\"", "[1", "{\"a\": ]}",
                              "{\"a\": \"x}", "{\"a\": {\"b\": 1}", "x");
    CAPTURE(bad);
    const auto objects = scan("[\n{\"first\": 1},\n" + bad + ",\n{\"last\": 1}\n]\n");
    REQUIRE(objects.size() == 3);
    CHECK(objects[0].error.empty());
    CHECK_FALSE(objects[1].error.empty());
    CHECK(objects[1].line == 3);
    CHECK(objects[2].error.empty());
    CHECK(objects[2].text == "{\"last\": 1}");
}

TEST_CASE("an array that is not closed, and text after an array, are errors") {
    auto objects = scan("[{\"a\": 1}");
    REQUIRE(objects.size() == 2);
    CHECK(objects[0].error.empty());
    CHECK(objects[1].error == "the array is not closed");
    objects = scan("[{\"a\": 1}]\n{\"b\": 1}");
    REQUIRE(objects.size() == 2);
    CHECK(objects[1].error == "there is more after the array's closing bracket");
    CHECK(objects[1].line == 2);
}

TEST_CASE("objects without a comma between them are told, and the next one is kept") {
    const auto objects = scan("[{\"a\": 1}\n {\"b\": 1}]");
    REQUIRE(objects.size() == 2);
    CHECK_FALSE(objects[0].error.empty());
    CHECK(objects[1].error.empty());
}

TEST_CASE("an object longer than the limit is refused, and the next one is read") {
    const std::string filler(ObjectScanner::kMaxObjectBytes + 100, 'x');
    const auto objects = scan("{\"a\": \"" + filler + "\"}\n{\"b\": 1}\n", 60000);
    REQUIRE(objects.size() == 2);
    CHECK(objects[0].error == "longer than 1048576 bytes");
    CHECK(objects[0].text.size() == ObjectScanner::kMaxObjectBytes);
    CHECK(objects[1].error.empty());
}
