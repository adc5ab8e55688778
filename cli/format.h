// Formats quantities for tables, and parses them from the command line.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "dr/v1/resource.pb.h"

namespace dr::cli {

// Three or four significant digits with k, M, G, T: 0, 12, 999, 1.23k, 45.6M. For rates.
[[nodiscard]] std::string with_unit(double value);

// Bytes with KiB, MiB, GiB: "512 B", "1.5 MiB".
[[nodiscard]] std::string bytes_text(std::uint64_t bytes);

// "500ms", "10s", "2m", "1h", "3d", "1.5" (seconds). Nothing when it is none of these, or negative.
[[nodiscard]] std::optional<std::chrono::milliseconds> parse_duration(const std::string& text);

// A GRE key: decimal or 0x hexadecimal, 32 bit.
[[nodiscard]] std::optional<std::uint32_t> parse_tunnel_id(const std::string& text);

// "GRE", "GRE_UDP", "AUTO".
[[nodiscard]] std::string encapsulation_text(dr::v1::Encapsulation encapsulation);
// The configured encapsulation, and the one in use if it differs: "AUTO, now GRE".
[[nodiscard]] std::string encapsulation_text(dr::v1::Encapsulation configured,
                                             dr::v1::Encapsulation now);

// "198.51.100.7", or with the fixed port "198.51.100.7:4754", "[2001:db8::7]:4754";
// "learned" when it is not configured.
[[nodiscard]] std::string remote_text(const dr::v1::Tunnel& tunnel);

// "all: a*3 b*1 then c*1; voice: b*1": classes, their tiers, lines with weights.
[[nodiscard]] std::string classes_text(const dr::v1::Policy& policy);

// The first `shown` of a list, "a,b" and how many more: "a,b (+3)".
template <class List>
std::string list_text(const List& items, int shown) {
    std::string text;
    int i = 0;
    for (const auto& item : items) {
        if (i == shown) {
            return text + " (+" + std::to_string(static_cast<int>(items.size()) - shown) + ")";
        }
        text += (i++ == 0 ? "" : ",") + item;
    }
    return text;
}

}  // namespace dr::cli
