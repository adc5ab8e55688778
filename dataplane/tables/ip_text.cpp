// Addresses and prefixes as text.
#include <arpa/inet.h>

#include <charconv>
#include <cstring>

#include "dataplane/tables/rib.h"

namespace dr {

bool parse_address(const std::string& text, IpAddress* out) {
    IpAddress a;
    if (inet_pton(AF_INET, text.c_str(), a.bytes.data()) == 1) {
        a.family = 4;
    } else if (inet_pton(AF_INET6, text.c_str(), a.bytes.data()) == 1) {
        a.family = 6;
    } else {
        return false;
    }
    *out = a;
    return true;
}

bool parse_interface_address(const std::string& text, IpPrefix* out) {
    const std::size_t slash = text.find('/');
    if (slash == std::string::npos) return false;
    IpPrefix p;
    if (!parse_address(text.substr(0, slash), &p.address)) return false;
    const char* end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + slash + 1, end, p.length);
    if (error != std::errc{} || rest != end || p.length > (p.address.family == 4 ? 32 : 128))
        return false;
    *out = p;
    return true;
}

bool parse_prefix(const std::string& text, IpPrefix* out) {
    IpPrefix p;
    if (!parse_interface_address(text, &p)) return false;
    const unsigned bytes = p.address.family == 4 ? 4 : 16;
    for (unsigned i = 0; i < bytes; ++i) {
        const unsigned bits = p.length > 8 * i ? p.length - 8 * i : 0;
        if (bits < 8 && (p.address.bytes[i] & (0xffU >> bits)) != 0) return false;
    }
    *out = p;
    return true;
}

bool covers(const IpPrefix& prefix, const IpAddress& address) {
    if (prefix.address.family != address.family) return false;
    const unsigned whole = prefix.length / 8U;
    if (std::memcmp(prefix.address.bytes.data(), address.bytes.data(), whole) != 0) return false;
    const unsigned bits = prefix.length % 8U;
    const unsigned differ = prefix.address.bytes[whole % 16] ^ address.bytes[whole % 16];
    return bits == 0 || (differ & 0xffU & (0xff00U >> bits)) == 0;
}

bool is_link_local(const IpAddress& address) {
    return address.family == 6 && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
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
