// IPv4 and IPv6 addresses and prefixes as the API spells them.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace dr::control {

// Network byte order; IPv4 in the first 4 bytes, the rest 0. Ordered by family, then numerically.
struct Address {
    std::uint8_t family = 0;  // 4 or 6
    std::array<std::uint8_t, 16> bytes{};

    [[nodiscard]] unsigned bits() const { return family == 4 ? 32 : 128; }
    auto operator<=>(const Address&) const = default;
};

struct Prefix {
    Address address;  // host bits zero once parse_prefix() has accepted it
    std::uint8_t length = 0;

    // The highest address inside.
    [[nodiscard]] Address last() const;
    [[nodiscard]] bool contains(const Address& a) const;
    [[nodiscard]] bool contains(const Prefix& p) const;
    [[nodiscard]] bool overlaps(const Prefix& p) const;
    auto operator<=>(const Prefix&) const = default;
};

// "192.0.2.1", "2001:db8::1"; no zone, no brackets.
std::optional<Address> parse_address(std::string_view text);

// CIDR with host bits zero. On failure nothing is returned and `error` says what was wrong and,
// where that can be known, what would be right.
std::optional<Prefix> parse_prefix(std::string_view text, std::string& error);

// As parse_prefix(); a bare address is a prefix of full length.
std::optional<Prefix> parse_prefix_or_address(std::string_view text, std::string& error);

// Canonical text (RFC 5952 for IPv6).
std::string to_string(const Address& a);
std::string to_string(const Prefix& p);

// Why `a` cannot be the end of a tunnel or a site's address ("multicast", "loopback", …); empty
// when it is a plain unicast address.
std::string_view not_unicast(const Address& a);

// The block that no site can own and that `p` overlaps ("fe80::/10, link-local"); empty: none.
std::string reserved_block(const Prefix& p);

}  // namespace dr::control
