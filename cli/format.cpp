// Formats and parses quantities: bytes, rates, durations, times.
#include "cli/format.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace dr::cli {

std::string with_unit(double value) {
    constexpr std::array<const char*, 5> kUnits{"", "k", "M", "G", "T"};
    std::size_t unit = 0;
    // 999.5 would be shown as 1000 by the rounding below.
    while (value >= 999.5 && unit + 1 < kUnits.size()) {
        value /= 1000.0;
        ++unit;
    }
    if (unit == 0) {
        return fmt::format("{:.0f}", value);
    }
    const int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return fmt::format("{:.{}f}{}", value, decimals, kUnits[unit]);
}

std::string bytes_text(std::uint64_t bytes) {
    constexpr std::array<const char*, 4> kUnits{"KiB", "MiB", "GiB", "TiB"};
    if (bytes < 1024) {
        return fmt::format("{} B", bytes);
    }
    double value = static_cast<double>(bytes) / 1024.0;
    std::size_t unit = 0;
    while (value >= 1024.0 && unit + 1 < kUnits.size()) {
        value /= 1024.0;
        ++unit;
    }
    return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::optional<std::chrono::milliseconds> parse_duration(const std::string& text) {
    double number = 0;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data(), end, number);
    const std::string unit(rest, end);
    const double scale = unit == "ms"                  ? 1.0
                         : unit == "s" || unit.empty() ? 1e3
                         : unit == "m"                 ? 6e4
                         : unit == "h"                 ? 3.6e6
                         : unit == "d"                 ? 8.64e7
                                                       : 0.0;
    if (error != std::errc{} || scale == 0.0 || !std::isfinite(number) || number < 0 ||
        number * scale > 1e12) {
        return std::nullopt;
    }
    return std::chrono::milliseconds(std::llround(number * scale));
}

std::optional<std::uint32_t> parse_tunnel_id(const std::string& text) {
    const bool hex = text.starts_with("0x") || text.starts_with("0X");
    const char* begin = text.data() + (hex ? 2 : 0);
    const char* end = text.data() + text.size();
    std::uint32_t id = 0;
    const auto [rest, error] = std::from_chars(begin, end, id, hex ? 16 : 10);
    if (error != std::errc{} || rest != end || begin == end) {
        return std::nullopt;
    }
    return id;
}

std::string encapsulation_text(dr::v1::Encapsulation encapsulation) {
    return encapsulation == dr::v1::ENCAPSULATION_UNSPECIFIED
               ? "-"
               : dr::v1::Encapsulation_Name(encapsulation);
}

std::string encapsulation_text(dr::v1::Encapsulation configured, dr::v1::Encapsulation now) {
    if (now == configured || now == dr::v1::ENCAPSULATION_UNSPECIFIED) {
        return encapsulation_text(configured);
    }
    return encapsulation_text(configured) + ", now " + encapsulation_text(now);
}

std::string remote_text(const dr::v1::Tunnel& tunnel) {
    if (tunnel.remote().empty()) {
        return tunnel.has_remote_port() ? fmt::format("learned:{}", tunnel.remote_port())
                                        : "learned";
    }
    if (!tunnel.has_remote_port()) {
        return tunnel.remote();
    }
    const bool ipv6 = tunnel.remote().find(':') != std::string::npos;
    return ipv6 ? fmt::format("[{}]:{}", tunnel.remote(), tunnel.remote_port())
                : fmt::format("{}:{}", tunnel.remote(), tunnel.remote_port());
}

std::string classes_text(const dr::v1::Policy& policy) {
    std::string text;
    for (const auto& one : policy.classes()) {
        text += (text.empty() ? "" : "; ") + one.name() + ":";
        bool first = true;
        for (const auto& tier : one.tiers()) {
            text += first ? "" : " then";
            first = false;
            for (const auto& line : tier.lines()) {
                text += fmt::format(" {}*{}", line.line(), line.weight() == 0 ? 1 : line.weight());
            }
        }
    }
    return text;
}

}  // namespace dr::cli
