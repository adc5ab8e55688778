#include "control/model/text.h"

#include <algorithm>

namespace dr::control {
namespace {

// How many bytes the character at `at` takes; 0: there is none, or one that controls a terminal
// (C0, DEL, C1, and the marks that turn the direction of writing).
std::size_t character(std::string_view text, std::size_t at) {
    const auto byte = [&](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const unsigned first = byte(at);
    if (first < 0x80) return first >= 0x20 && first != 0x7f ? 1 : 0;
    const std::size_t size = first >= 0xf0 && first < 0xf5 ? 4
                             : first >= 0xe0               ? 3
                             : first >= 0xc2               ? 2
                                                           : 0;
    if (first >= 0xf5) return 0;
    unsigned value = first & (0xffU >> (size + 1));
    for (std::size_t i = 1; i < size; ++i) {
        if ((byte(at + i) & 0xc0U) != 0x80) return 0;
        value = value << 6U | (byte(at + i) & 0x3fU);
    }
    constexpr unsigned kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
    const bool good = size != 0 && value >= kLeast[size] && value <= 0x10ffff &&
                      (value < 0xd800 || value > 0xdfff);
    const bool controls = (value >= 0x80 && value < 0xa0) || (value >= 0x200e && value <= 0x200f) ||
                          (value >= 0x2028 && value <= 0x202e) ||
                          (value >= 0x2066 && value <= 0x2069);
    return good && !controls ? size : 0;
}

}  // namespace

std::string shown(std::string_view text, std::size_t most) {
    std::string out;
    out.reserve(std::min(text.size(), most) + 3);
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t size = character(text, at);
        const std::size_t step = std::max<std::size_t>(1, size);
        if (at + step > most) return out + "…";
        if (size == 0)
            out.push_back('?');
        else
            out.append(text, at, size);
        at += step;
    }
    return out;
}

}  // namespace dr::control
