// Text files from outside: in UTF-8, with a byte order mark or without.
#pragma once

#include <string_view>

namespace dr {

inline std::string_view without_mark(std::string_view text) {
    constexpr std::string_view kMark = "\xef\xbb\xbf";
    return text.starts_with(kMark) ? text.substr(kMark.size()) : text;
}

// With a mark, or because each other byte of its ASCII is 0.
inline bool is_utf16(std::string_view text) {
    return text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") ||
           (text.size() >= 2 && (text[0] == '\0') != (text[1] == '\0'));
}

}  // namespace dr
