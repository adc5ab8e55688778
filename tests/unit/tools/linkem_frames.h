// Frames for the tests of the link emulator, and checks of their checksums, without its own code.
#pragma once

#include <arpa/inet.h>

#include <cstdint>
#include <string>
#include <vector>

namespace dr::linkem {

using FrameBytes = std::vector<std::uint8_t>;

inline void put16(FrameBytes& f, std::size_t at, unsigned value) {
    f[at] = static_cast<std::uint8_t>(value >> 8);
    f[at + 1] = static_cast<std::uint8_t>(value);
}

inline unsigned get16(const FrameBytes& f, std::size_t at) {
    return static_cast<unsigned>(f[at]) << 8 | f[at + 1];
}

// The folded sum over [begin, end) plus `sum`; 0xffff where a checksum field inside is right.
inline unsigned folded(const FrameBytes& f, std::size_t begin, std::size_t end, unsigned sum = 0) {
    for (std::size_t i = begin; i < end; ++i) sum += (i - begin) % 2 == 0 ? f[i] * 256U : f[i];
    while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

inline bool ip_checksum_right(const FrameBytes& f) {
    return folded(f, 14, 34) == 0xffff;
}

// Of UDP, TCP or ICMPv6 directly above the IP header.
inline bool transport_checksum_right(const FrameBytes& f) {
    const bool four = f[12] == 0x08;
    const std::size_t begin = four ? 34 : 54;
    const std::size_t addresses = four ? 26 : 22;
    const unsigned pseudo = static_cast<unsigned>(f.size() - begin) + f[four ? 23 : 20];
    return folded(f, begin, f.size(), folded(f, addresses, begin, pseudo)) == 0xffff;
}

inline void put_address(FrameBytes& f, std::size_t at, const std::string& text) {
    inet_pton(text.find(':') == std::string::npos ? AF_INET : AF_INET6, text.c_str(), &f[at]);
}

// An IP packet with `payload` above it, padded to `ip_bytes` when that is more.
inline FrameBytes ip_frame(const std::string& from, const std::string& to, std::uint8_t protocol,
                           const FrameBytes& payload, std::size_t ip_bytes = 0, bool df = true) {
    const bool four = from.find(':') == std::string::npos;
    const std::size_t header = four ? 20 : 40;
    FrameBytes f(14 + std::max(header + payload.size(), ip_bytes));
    f[0] = f[6] = 2;
    f[5] = 0xbb;
    f[11] = 0xaa;
    put16(f, 12, four ? 0x0800 : 0x86dd);
    if (four) {
        f[14] = 0x45;
        put16(f, 16, static_cast<unsigned>(f.size() - 14));
        put16(f, 20, df ? 0x4000 : 0);
        f[22] = 64;
        f[23] = protocol;
        put_address(f, 26, from);
        put_address(f, 30, to);
        put16(f, 24, ~folded(f, 14, 34));
    } else {
        f[14] = 0x60;
        put16(f, 18, static_cast<unsigned>(f.size() - 54));
        f[20] = protocol;
        f[21] = 64;
        put_address(f, 22, from);
        put_address(f, 38, to);
    }
    std::copy(payload.begin(), payload.end(), f.begin() + static_cast<std::ptrdiff_t>(14 + header));
    return f;
}

inline FrameBytes gre(unsigned protocol_type) {
    FrameBytes payload{0x20, 0, 0, 0, 1, 0, 0, 1, 'd', 'a', 't', 'a'};
    put16(payload, 2, protocol_type);
    return payload;
}

// UDP, with its checksum right, or zero.
inline FrameBytes udp_frame(const std::string& from, unsigned from_port, const std::string& to,
                            unsigned to_port, const FrameBytes& data, bool checksum = true,
                            std::size_t ip_bytes = 0, bool df = true) {
    FrameBytes udp(8);
    put16(udp, 0, from_port);
    put16(udp, 2, to_port);
    udp.insert(udp.end(), data.begin(), data.end());
    auto f = ip_frame(from, to, 17, udp, ip_bytes, df);
    const std::size_t begin = f[12] == 0x08 ? 34 : 54;
    put16(f, begin + 4, static_cast<unsigned>(f.size() - begin));
    if (checksum) {
        const std::size_t addresses = begin == 34 ? 26 : 22;
        const unsigned pseudo = static_cast<unsigned>(f.size() - begin) + 17;
        put16(f, begin + 6, ~folded(f, begin, f.size(), folded(f, addresses, begin, pseudo)));
    }
    return f;
}

}  // namespace dr::linkem
