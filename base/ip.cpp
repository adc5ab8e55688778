// Parses, masks, compares and prints IP addresses and prefixes.
#include "base/ip.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "base/printable.h"

namespace dr {
namespace {

// How many bits of byte `i` belong to the network.
unsigned network_bits(unsigned i, unsigned length) {
    return length > i * 8 ? std::min(8U, length - i * 8) : 0U;
}

IpAddress masked(const IpAddress& a, unsigned length) {
    IpAddress out = a;
    for (unsigned i = 0; i < 16; ++i)
        out.bytes[i] =
            static_cast<std::uint8_t>(out.bytes[i] & (0xff00U >> network_bits(i, length)));
    return out;
}

std::optional<unsigned> parse_length(std::string_view text, unsigned most) {
    if (text.size() > 1 && text.front() == '0') return std::nullopt;
    unsigned length = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), length);
    if (error != std::errc{} || end != text.data() + text.size() || length > most)
        return std::nullopt;
    return length;
}

std::nullopt_t refused(std::string* error, const std::string& why) {
    if (error != nullptr) *error = why;
    return std::nullopt;
}

}  // namespace

bool IpAddress::is_link_local() const {
    return family == 6 && bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
}

IpAddress IpPrefix::last() const {
    IpAddress out = address;
    for (unsigned i = 0; i < address.bits() / 8; ++i)
        out.bytes[i] = static_cast<std::uint8_t>(out.bytes[i] | (0xffU >> network_bits(i, length)));
    return out;
}

bool IpPrefix::contains(const IpAddress& a) const {
    if (a.family != address.family) return false;
    const unsigned whole = length / 8U;
    if (std::memcmp(address.bytes.data(), a.bytes.data(), whole) != 0) return false;
    const unsigned bits = length % 8U;
    const unsigned differ = address.bytes[whole % 16] ^ a.bytes[whole % 16];
    return bits == 0 || (differ & 0xffU & (0xff00U >> bits)) == 0;
}

bool IpPrefix::contains(const IpPrefix& p) const {
    return p.length >= length && contains(p.address);
}

bool IpPrefix::overlaps(const IpPrefix& p) const {
    return contains(p) || p.contains(*this);
}

std::optional<IpAddress> parse_address(std::string_view text) {
    std::array<char, INET6_ADDRSTRLEN> terminated{};
    if (text.size() >= terminated.size() || text.find('\0') != std::string_view::npos)
        return std::nullopt;
    text.copy(terminated.data(), text.size());
    IpAddress a;
    a.family = text.find(':') == std::string_view::npos ? 4 : 6;
    if (inet_pton(a.family == 4 ? AF_INET : AF_INET6, terminated.data(), a.bytes.data()) != 1)
        return std::nullopt;
    return a;
}

std::optional<IpPrefix> parse_interface_address(std::string_view text, std::string* error) {
    const std::size_t slash = text.find('/');
    if (slash == std::string_view::npos)
        return refused(error, fmt::format("not a prefix: {}; write ADDRESS/LENGTH", quoted(text)));
    const auto address = parse_address(text.substr(0, slash));
    if (!address)
        return refused(error, fmt::format("not a prefix: {}; {} is no IPv4 or IPv6 address",
                                          quoted(text), quoted(text.substr(0, slash))));
    const auto length = parse_length(text.substr(slash + 1), address->bits());
    if (!length)
        return refused(error, fmt::format("not a prefix: {}; the length is 0 to {}", quoted(text),
                                          address->bits()));
    return IpPrefix{*address, static_cast<std::uint8_t>(*length)};
}

std::optional<IpPrefix> parse_prefix(std::string_view text, std::string* error) {
    const auto given = parse_interface_address(text, error);
    if (!given) return std::nullopt;
    const IpPrefix prefix{masked(given->address, given->length), given->length};
    if (prefix.address != given->address)
        return refused(error, fmt::format("host bits set: {}; the network is {}", shown(text),
                                          to_string(prefix)));
    return prefix;
}

std::optional<IpPrefix> parse_prefix_or_address(std::string_view text, std::string* error) {
    if (text.find('/') != std::string_view::npos) return parse_prefix(text, error);
    const auto address = parse_address(text);
    if (!address)
        return refused(error, fmt::format("{} is neither an address nor a prefix", quoted(text)));
    return IpPrefix{*address, static_cast<std::uint8_t>(address->bits())};
}

std::string to_string(const IpAddress& address) {
    if (address.family == 0) return "none";
    std::array<char, INET6_ADDRSTRLEN> text{};
    inet_ntop(address.family == 4 ? AF_INET : AF_INET6, address.bytes.data(), text.data(),
              text.size());
    return text.data();
}

std::string to_string(const IpPrefix& prefix) {
    return to_string(prefix.address) + "/" + std::to_string(prefix.length);
}

}  // namespace dr
