// Network-order integers as types of their own, so that a forgotten byte swap does not compile.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>

namespace dr {

static_assert(std::endian::native == std::endian::little, "the tables and the wire code assume it");

// An integer stored in network byte order, at any address. Convert with from() and host(); `raw` is
// for copying between two network-order fields only.
template <typename T, T (*Swap)(T)>
struct [[gnu::packed]] Big {
    T raw{};
    static constexpr Big from(T host) { return Big{Swap(host)}; }
    [[nodiscard]] constexpr T host() const { return Swap(raw); }
    friend constexpr bool operator==(Big, Big) = default;
};

namespace detail {
constexpr std::uint16_t swap16(std::uint16_t v) {
    return __builtin_bswap16(v);
}
constexpr std::uint32_t swap32(std::uint32_t v) {
    return __builtin_bswap32(v);
}
constexpr std::uint64_t swap64(std::uint64_t v) {
    return __builtin_bswap64(v);
}
}  // namespace detail

using Be16 = Big<std::uint16_t, detail::swap16>;
using Be32 = Big<std::uint32_t, detail::swap32>;
using Be64 = Big<std::uint64_t, detail::swap64>;

}  // namespace dr
