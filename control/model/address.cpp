#include "control/model/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/printable.h"
#include "base/unicast.h"

namespace dr::control {
namespace {

Address masked(const Address& a, unsigned length) {
    Address out = a;
    for (unsigned i = 0; i < 16; ++i) {
        const unsigned keep = length > i * 8 ? std::min(8U, length - i * 8) : 0;
        out.bytes[i] = static_cast<std::uint8_t>(out.bytes[i] & (0xff00U >> keep));
    }
    return out;
}

bool within(const Address& a, Address network, unsigned length) {
    return a.family == network.family && masked(a, length) == network;
}

std::optional<unsigned> parse_length(std::string_view text, unsigned most) {
    if (text.size() > 1 && text.front() == '0') return std::nullopt;
    unsigned length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (error != std::errc{} || end != text.data() + text.size() || length > most)
        return std::nullopt;
    return length;
}

}  // namespace

Address Prefix::last() const {
    Address out = address;
    const unsigned bytes = address.bits() / 8;
    for (unsigned i = 0; i < bytes; ++i) {
        const unsigned keep = length > i * 8 ? std::min(8U, length - i * 8) : 0U;
        out.bytes[i] = static_cast<std::uint8_t>(out.bytes[i] | (0xffU >> keep));
    }
    return out;
}

bool Prefix::contains(const Address& a) const {
    return within(a, address, length);
}

bool Prefix::contains(const Prefix& p) const {
    return p.length >= length && contains(p.address);
}

bool Prefix::overlaps(const Prefix& p) const {
    return contains(p) || p.contains(*this);
}

std::optional<Address> parse_address(std::string_view text) {
    const std::string terminated(text);
    Address a;
    a.family = text.find(':') == std::string_view::npos ? 4 : 6;
    const int family = a.family == 4 ? AF_INET : AF_INET6;
    if (text.size() != terminated.find('\0') && terminated.find('\0') != std::string::npos)
        return std::nullopt;
    if (::inet_pton(family, terminated.c_str(), a.bytes.data()) != 1) return std::nullopt;
    return a;
}

std::optional<Prefix> parse_prefix(std::string_view text, std::string& error) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos) {
        error = fmt::format("not a prefix: \"{}\"; write ADDRESS/LENGTH", shown(text));
        return std::nullopt;
    }
    const auto address = parse_address(text.substr(0, slash));
    if (!address) {
        error = fmt::format("not a prefix: \"{}\"; \"{}\" is no IPv4 or IPv6 address", shown(text),
                            shown(text.substr(0, slash)));
        return std::nullopt;
    }
    const auto length = parse_length(text.substr(slash + 1), address->bits());
    if (!length) {
        error = fmt::format("not a prefix: \"{}\"; the length is 0 to {}", shown(text),
                            address->bits());
        return std::nullopt;
    }
    const Prefix prefix{masked(*address, *length), static_cast<std::uint8_t>(*length)};
    if (prefix.address != *address) {
        error = fmt::format("host bits set: {}; the network is {}", shown(text), to_string(prefix));
        return std::nullopt;
    }
    return prefix;
}

std::optional<Prefix> parse_prefix_or_address(std::string_view text, std::string& error) {
    if (text.find('/') != std::string_view::npos) return parse_prefix(text, error);
    const auto address = parse_address(text);
    if (!address) {
        error = fmt::format("\"{}\" is neither an address nor a prefix", shown(text));
        return std::nullopt;
    }
    return Prefix{*address, static_cast<std::uint8_t>(address->bits())};
}

std::string to_string(const Address& a) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    ::inet_ntop(a.family == 4 ? AF_INET : AF_INET6, a.bytes.data(), text.data(), text.size());
    return text.data();
}

std::string to_string(const Prefix& p) {
    return fmt::format("{}/{}", to_string(p.address), p.length);
}

std::string reserved_block(const Prefix& p) {
    return std::string(dr::reserved_block(p.address.family, p.address.bytes, p.length));
}

std::string_view not_unicast(const Address& a) {
    return dr::not_unicast(a.family, a.bytes);
}

}  // namespace dr::control
