// Addresses that no site and no tunnel can have (RFC 6890): drd and urd judge by the same rules, so
// urd does not refuse what drd accepts. Documentation prefixes and private ones are not special
// here.
//
// Header only; any thread; no I/O.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/ip.h"

namespace dr {

// The shortest prefix of a site. A shorter one is a mistake, or would route the Internet to the
// site.
inline constexpr unsigned kShortestPrefix4 = 8;
inline constexpr unsigned kShortestPrefix6 = 16;

namespace unicast_detail {

struct Block {
    IpPrefix prefix;
    std::string_view text;
};

inline constexpr std::array<Block, 11> kBlocks{{
    {{{4, {0}}, 8}, "0.0.0.0/8, this network"},
    {{{4, {127}}, 8}, "127.0.0.0/8, loopback"},
    {{{4, {169, 254}}, 16}, "169.254.0.0/16, link-local"},
    {{{4, {224}}, 4}, "224.0.0.0/4, multicast"},
    {{{4, {240}}, 4}, "240.0.0.0/4, reserved"},
    {{{6, {0}}, 128}, "::/128, the unspecified address"},
    {{{6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}, 128}, "::1/128, loopback"},
    {{{6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}}, 96}, "::ffff:0:0/96, IPv4-mapped"},
    {{{6, {0xfe, 0x80}}, 10}, "fe80::/10, link-local"},
    {{{6, {0xff}}, 8}, "ff00::/8, multicast"},
    {{{6, {0}}, 8}, "::/8, reserved"},
}};

}  // namespace unicast_detail

// A block that no site can own and that the prefix overlaps, with its name ("fe80::/10,
// link-local"); empty: none.
inline std::string_view reserved_block(const IpPrefix& prefix) {
    for (const auto& block : unicast_detail::kBlocks)
        if (block.prefix.overlaps(prefix)) return block.text;
    return {};
}

// Why the address cannot be the end of a tunnel or a site's ("multicast"); empty: it can.
inline std::string_view not_unicast(const IpAddress& a) {
    const std::string_view block = reserved_block({a, static_cast<std::uint8_t>(a.bits())});
    if (block.empty()) return {};
    if (a.family == 4 && a.bytes[0] == 0) return "of 0.0.0.0/8";
    if (a.family == 4 && a.bytes[0] >= 240) return "broadcast or reserved";
    if (a.family == 6 && a.bytes[10] == 0xff && a.bytes[0] == 0) return "an IPv4-mapped address";
    return block.substr(block.find(", ") + 2);
}

}  // namespace dr
