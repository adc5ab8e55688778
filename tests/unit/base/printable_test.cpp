// Text from outside on a terminal.
#include "base/printable.h"

#include <catch2/catch.hpp>

using dr::printable;
using dr::printable_lines;

TEST_CASE("printable text stays as it is, in any script, and a backslash too") {
    for (const char* text :
         {"", "site-1", "a b\\x1b c", "Zürich, 東京, Ελλάδα, 🛰", "\u00a0\uffee"})
        CHECK(printable(text) == text);
}

TEST_CASE("control characters become visible escapes") {
    CHECK(printable("\x1b[2J") == "\\x1b[2J");
    CHECK(printable(std::string_view("a\0b\n\r\t\x7f", 7)) == "a\\x00b\\x0a\\x0d\\x09\\x7f");
    CHECK(printable("\u0085\u009b31m") == "\\u0085\\u009b31m");
}

TEST_CASE("characters that reorder or hide others become visible escapes") {
    CHECK(printable("\u202egnp.exe") == "\\u202egnp.exe");
    CHECK(printable("\u2066\u2069\u200f\u200b\ufeff\u2028\u061c") ==
          "\\u2066\\u2069\\u200f\\u200b\\ufeff\\u2028\\u061c");
    CHECK(printable("\U000e0041") == "\\U000e0041");
}

TEST_CASE("bytes that are not UTF-8 become visible escapes, one by one") {
    CHECK(printable("\x9b"
                    "31m") == "\\x9b31m");                           // C1 as a byte
    CHECK(printable("\xc0\xaf") == "\\xc0\\xaf");                    // longer than it must be
    CHECK(printable("\xe0\x80\xaf") == "\\xe0\\x80\\xaf");           // likewise
    CHECK(printable("\xed\xa0\x80") == "\\xed\\xa0\\x80");           // a surrogate
    CHECK(printable("\xf4\x90\x80\x80") == "\\xf4\\x90\\x80\\x80");  // beyond U+10FFFF
    CHECK(printable("x\xe2\x80") == "x\\xe2\\x80");                  // cut
    CHECK(printable("\xff\xfe") == "\\xff\\xfe");
}

TEST_CASE("no byte sequence of three leaves anything that a terminal acts upon") {
    for (unsigned a = 0; a < 256; ++a)
        for (unsigned b = 0; b < 256; ++b) {
            const std::string text{static_cast<char>(a), static_cast<char>(b), '\x1b'};
            const std::string shown = printable(text);
            for (const char c : shown) REQUIRE((c >= ' ' || static_cast<unsigned char>(c) >= 0x80));
            REQUIRE(printable(shown) == shown);
        }
}

TEST_CASE("of several lines only the line feeds are kept") {
    CHECK(printable_lines("a\n\x1b b\r\n") == "a\n\\x1b b\\x0d\n");
}
