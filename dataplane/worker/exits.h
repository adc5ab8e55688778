// The exits of the pipeline as an enum and a table; declared once, in exits.def.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "dataplane/southbound/counters.h"

namespace dr {

enum class Exit : std::uint8_t {
#define X(identifier, name, help) identifier,
#include "dataplane/worker/exits.def"
#undef X
};

inline constexpr std::array kExits{
#define X(identifier, name, help) southbound::NamedExit{name, help},
#include "dataplane/worker/exits.def"
#undef X
};
inline constexpr std::size_t kExitCount = kExits.size();
static_assert(kExitCount <= 128, "the counters block has room for this many");
static_assert(std::ranges::all_of(kExits,
                                  [](const southbound::NamedExit& e) {
                                      return e.name.size() < 32 && e.help.size() < 96;
                                  }),
              "counters.h, ExitName: a name and its help fit with their zero");

// Whether a packet that takes this exit is gone.
constexpr bool is_drop(Exit exit) {
    return exit >= Exit::DropTooShort;
}
static_assert(
    [] {
        for (std::size_t e = 0; e < kExitCount; ++e)
            if (kExits[e].name.starts_with("drop.") != is_drop(static_cast<Exit>(e))) return false;
        return true;
    }(),
    "drops are declared last");

}  // namespace dr
