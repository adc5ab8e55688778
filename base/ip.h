// IPv4 and IPv6 addresses and prefixes, and their text.
//
// Any thread; no I/O.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dr {

// Network byte order; IPv4 in the first 4 bytes, the rest 0. Ordered by family, then numerically.
struct IpAddress {
    std::uint8_t family{};  // 4 or 6; 0: none
    std::array<std::uint8_t, 16> bytes{};

    [[nodiscard]] constexpr unsigned bits() const { return family == 4 ? 32 : 128; }
    [[nodiscard]] bool is_link_local() const;  // IPv6's, fe80::/10
    friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;
};

struct IpPrefix {
    IpAddress address;  // host bits zero once parse_prefix() has accepted it
    std::uint8_t length{};

    [[nodiscard]] IpAddress last() const;  // the highest address inside
    [[nodiscard]] bool contains(const IpAddress& a) const;
    [[nodiscard]] bool contains(const IpPrefix& p) const;
    [[nodiscard]] bool overlaps(const IpPrefix& p) const;
    friend constexpr auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
};

// "192.0.2.1", "2001:db8::1"; no zone, no brackets.
std::optional<IpAddress> parse_address(std::string_view text);

// CIDR with host bits zero. On failure `error`, where given, says what was wrong and, if known,
// what would be right.
std::optional<IpPrefix> parse_prefix(std::string_view text, std::string* error = nullptr);

// As parse_prefix(); a bare address is a prefix of full length.
std::optional<IpPrefix> parse_prefix_or_address(std::string_view text, std::string* error);

// As parse_prefix(), but keeps host bits: the form of an interface address, "192.0.2.1/24".
std::optional<IpPrefix> parse_interface_address(std::string_view text,
                                                std::string* error = nullptr);

// Canonical text (RFC 5952 for IPv6); "none" for family 0.
std::string to_string(const IpAddress& address);
std::string to_string(const IpPrefix& prefix);

}  // namespace dr
