// Lists in messages. (fmt::join draws a false stringop-overflow warning from GCC 12.)
#pragma once

#include <fmt/format.h>

#include <string>

namespace dr {

template <typename Range>
std::string join(const Range& range) {
    std::string text;
    for (const auto& element : range)
        text += (text.empty() ? "" : ", ") + fmt::format("{}", element);
    return text;
}

}  // namespace dr
