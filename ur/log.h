// urd's log: lines on standard error. What they hold comes from DRs, files and the kernel; nothing
// of it reaches a terminal raw (base/printable.h). Any thread.
#pragma once

#include <cstdarg>
#include <cstdio>
#include <string>

#include "base/printable.h"

namespace dr::ur {

// One line, "urd: " and what printf() would make of it, cut after 1,000 bytes.
[[gnu::format(printf, 1, 2)]] inline void say(const char* format, ...) {
    char text[1000];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    std::fputs(("urd: " + printable(text) + "\n").c_str(), stderr);
}

}  // namespace dr::ur
