// The commands of the control socket: one JSON object in, one out. README.md describes them.
#pragma once

#include <string>

#include "tests/linkem/link.h"

namespace dr::linkem {

// The answer to one line, without its newline: {"ok": true, ...}, or {"ok": false, "error": "..."}
// with nothing changed.
std::string execute(Link& link, const std::string& line, Nanoseconds now);

}  // namespace dr::linkem
