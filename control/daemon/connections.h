// The connections that a listener has let in: how many each source may have, and how many bytes
// each may send.
//
// A peer's bytes are cheap to send and costly to read: a stream of HTTP/2 takes 15 bytes on the
// wire, and 25 KB here. gRPC's own limits apply once the peer has acknowledged them, which it may
// never do, and they do not count streams that are reset. So this class bounds two things that a
// peer cannot hide: the bytes that a connection has received, as the kernel counts them, and the
// connections of a source. A caller that finds that a peer asks too much ends its connection by
// cut().
//
// gRPC owns the descriptors and may close them at any time. The kernel's socket cookie tells a
// connection from a later one with the same descriptor number.
//
// Threads: any; look() by one.
#pragma once

#include <netinet/in.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/file_descriptor.h"

namespace dr::control {

// The kernel's name of a socket, which is never used again; 0: `fd` is not a socket.
std::uint64_t socket_cookie(int fd);
// Ends the connection of the socket with this cookie, if `fd` is still its descriptor. False: it is
// not.
bool shut_socket(int fd, std::uint64_t cookie);

class Connections {
  public:
    using Clock = std::chrono::steady_clock;
    struct Limits {
        std::size_t of_source = 0;  // connections at a time; of IPv6 a source is a /64
        // Whether the members below apply.
        bool watched = true;
        // Bytes that a connection may send at once, and then in a second. TLS counts.
        std::uint64_t burst = 256 << 10;
        std::uint64_t per_second = 16 << 10;
        // Connections at a time that are not known(); the oldest is ended for the next one. 0: any
        // number.
        std::size_t of_unknown = 0;
        // Limits until a connection is known(): bytes in all, and time.
        std::uint64_t unknown = 16 << 10;
        std::chrono::milliseconds unknown_time{10'000};
    };

    // `server`: what messages call it.
    explicit Connections(Limits limits, const char* server = "signalling");
    Connections(const Connections&) = delete;
    Connections& operator=(const Connections&) = delete;

    // Notes a connection that was accepted; `fd` stays the caller's. False: its source has as many
    // as it may, so the caller closes it.
    bool add(int fd, Clock::time_point now = Clock::now());
    // The owner of a connection: names the certificate that its peer has shown.
    using Owner = std::array<std::uint8_t, 32>;
    // The peer (in gRPC's words: "ipv4:192.0.2.1:4711", "ipv6:%5B2001:db8::1%5D:4711") has begun a
    // stream. `name`: its subscriber; empty: the peer may not have a stream, so it stays unknown.
    void known(std::string_view peer, const Owner& owner, std::string_view name);
    // Ends the peer's connection. False: it is not there.
    bool cut(std::string_view peer);
    // Ends all connections of the owner that have begun a stream. Returns how many there were.
    // Several certificates may have one name; one certificate's use does not affect the others.
    std::size_t cut_all(const Owner& owner);

    // Readable when a connection has sent something since the last look(). Edges: one that is
    // looked at late costs nothing meanwhile.
    [[nodiscard]] int readable() const { return events_.get(); }
    // Ends the connections that have sent too much; now and then forgets those that are closed.
    void look(Clock::time_point now = Clock::now());

    [[nodiscard]] std::size_t size();

  private:
    using Address = std::array<std::uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d
    struct End {
        Address address{};
        std::uint16_t port = 0;
        auto operator<=>(const End&) const = default;
    };
    struct Open {
        int fd = -1;
        std::uint64_t cookie = 0;
        std::optional<Owner> owner;
        std::string name;         // empty: not known yet
        std::uint64_t bytes = 0;  // received by the last look
        double level = 0;         // of its budget, in bytes
        Clock::time_point since;
        Clock::time_point looked;
    };
    using Table = std::multimap<End, Open>;
    static bool peer_of(int fd, End& end);
    static bool parse(std::string_view peer, End& end);
    static Address source_of(const End& end);
    void forget_closed_of(const Address& source);
    Table::iterator drop(Table::iterator at);
    // Ends the oldest unknown connections until there is room for one more.
    void make_room(Clock::time_point now);
    // Ends and forgets the connection if it exceeds its limits.
    void judge(Table::iterator at, Clock::time_point now);
    void sweep(Clock::time_point now);
    void say(const std::string& text, Clock::time_point now);

    const Limits limits_;
    const char* const server_;
    const FileDescriptor events_;  // epoll, by cookie
    std::mutex mutex_;             // all below
    Table open_;
    std::unordered_map<std::uint64_t, Table::iterator> by_cookie_;
    std::map<Address, std::size_t> sources_;
    std::size_t unknown_ = 0;
    std::deque<std::uint64_t> arrivals_;  // cookies, the oldest first; some are known or gone
    Clock::time_point swept_{};
    Clock::time_point said_{};
    std::uint64_t unsaid_ = 0;
};

}  // namespace dr::control
