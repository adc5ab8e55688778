// Text from outside, as it may stand in a log or on a terminal: names in files and messages, text
// that a peer sends about itself, texts of other programs.
//
// Control characters (C0, DEL, C1), bytes that are not UTF-8, and characters that reorder or hide
// their neighbours (bidirectional controls, zero-width characters, line separators, tags) become
// escapes of printable ASCII: \x1b for a byte, \u202e for a character. Everything else stays as it
// is, a backslash too, so printable text does not change, however often it passes here.
//
// Header only; allocates only the result; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace dr {

namespace printable_detail {

// The character that begins at `text[at]`, and its length in bytes; length 0: not UTF-8 (RFC 3629:
// no surrogates, nothing longer than it must be, nothing beyond U+10FFFF).
struct Character {
    std::uint32_t code{};
    std::size_t length{};
};

inline Character character_at(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) {
        return at + i < text.size() ? static_cast<std::uint8_t>(text[at + i]) : std::uint8_t{0};
    };
    const std::uint8_t first = byte(0);
    if (first < 0x80) return {first, 1};
    const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
    if (length == 0 || first > 0xf4) return {};
    std::uint32_t code = first & (0x7fU >> length);
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xc0) != 0x80) return {};
        code = code << 6 | (byte(i) & 0x3fU);
    }
    const std::uint32_t least = length == 2 ? 0x80U : length == 3 ? 0x800U : 0x10000U;
    if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return {};
    return {code, length};
}

inline bool misleads(std::uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffb) ||
           (c >= 0xe0000 && c <= 0xe0fff);
}

}  // namespace printable_detail

inline std::string printable(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    const auto escape = [&out](const char* format, std::uint32_t value) {
        char buffer[16];
        const int n = std::snprintf(buffer, sizeof buffer, format, value);
        out.append(buffer, static_cast<std::size_t>(n));
    };
    for (std::size_t at = 0; at < text.size();) {
        const auto c = printable_detail::character_at(text, at);
        if (c.length == 0) {
            escape("\\x%02x", static_cast<std::uint8_t>(text[at++]));
            continue;
        }
        if (!printable_detail::misleads(c.code))
            out.append(text, at, c.length);
        else if (c.code < 0x80)
            escape("\\x%02x", c.code);
        else
            escape(c.code > 0xffff ? "\\U%08x" : "\\u%04x", c.code);
        at += c.length;
    }
    return out;
}

inline constexpr std::size_t kShownBytes = 64;

// As printable(). If the text has more than `most` bytes: its beginning and "…". The cost does not
// depend on the length of the text.
inline std::string shown(std::string_view text, std::size_t most = kShownBytes) {
    std::size_t end = 0;
    while (end < text.size()) {
        const auto c = printable_detail::character_at(text, end);
        const std::size_t step = c.length == 0 ? 1 : c.length;
        if (end + step > most) return printable(text.substr(0, end)) + "…";
        end += step;
    }
    return printable(text);
}

// As shown(), in quotation marks that no text can end: a mark inside is \x22.
inline std::string quoted(std::string_view text, std::size_t most = kShownBytes) {
    std::string out = "\"";
    for (const char c : shown(text, most)) {
        if (c == '"')
            out += "\\x22";
        else
            out += c;
    }
    return out + '"';
}

// As printable(), but keeps the line feeds: for messages of several lines whose parts were made
// printable when they were put together, or come from a server.
inline std::string printable_lines(std::string_view text) {
    std::string out;
    for (;;) {
        const std::size_t end = text.find('\n');
        out += printable(text.substr(0, end));
        if (end == std::string_view::npos) return out;
        out += '\n';
        text.remove_prefix(end + 1);
    }
}

}  // namespace dr
