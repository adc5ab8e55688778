// A connection to a DR out of a given device, with the loopback device for a line.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstddef>
#include <cstring>
#include <string>
#include <thread>

#include "ur/signalling/relay.h"

using dr::ur::LineRelay;

namespace {

// A TCP socket on a free port of 127.0.0.1 that listens.
struct Server {
    int socket = ::socket(AF_INET, SOCK_STREAM, 0);
    std::string address;

    Server() {
        sockaddr_in own{};
        own.sin_family = AF_INET;
        own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&own), sizeof own) == 0);
        REQUIRE(::listen(socket, 4) == 0);
        socklen_t size = sizeof own;
        REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&own), &size) == 0);
        address = "127.0.0.1:" + std::to_string(ntohs(own.sin_port));
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server() { ::close(socket); }
};

// As gRPC does; -1 when it cannot.
int connect_to(const std::string& target) {
    const std::string name = target.substr(target.find(':') + 1);
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::memcpy(to.sun_path + 1, name.data(), name.size());
    const int out = ::socket(AF_UNIX, SOCK_STREAM, 0);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (::connect(out, reinterpret_cast<const sockaddr*>(&to), length) == 0) return out;
    ::close(out);
    return -1;
}

std::string read_all(int from) {
    std::string out;
    char bytes[4096];
    for (ssize_t n = 0; (n = ::read(from, bytes, sizeof bytes)) > 0;)
        out.append(bytes, static_cast<std::size_t>(n));
    return out;
}

bool write_all(int to, const std::string& bytes) {
    for (std::size_t at = 0; at < bytes.size();) {
        const ssize_t n = ::send(to, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
        if (n <= 0) return false;
        at += static_cast<std::size_t>(n);
    }
    return true;
}

std::string read_exactly(int from, std::size_t size) {
    std::string out(size, '\0');
    std::size_t at = 0;
    while (at < size) {
        const ssize_t n = ::read(from, out.data() + at, size - at);
        if (n <= 0) break;
        at += static_cast<std::size_t>(n);
    }
    out.resize(at);
    return out;
}

std::string pattern(std::size_t size, char seed) {
    std::string out(size, '\0');
    for (std::size_t i = 0; i < size; ++i)
        out[i] = static_cast<char>(seed + static_cast<char>(i % 61));
    return out;
}

}  // namespace

TEST_CASE("what is sent to a DR out of a device arrives whole, both ways at once") {
    const Server server;
    const LineRelay relay("lo", server.address);
    const int local = connect_to(relay.target());
    REQUIRE(local >= 0);
    const int remote = ::accept(server.socket, nullptr, nullptr);
    REQUIRE(remote >= 0);
    // Far more than sockets and the relay hold.
    const std::string up = pattern(4 << 20, 'a');
    const std::string down = pattern(3 << 20, 'A');
    std::thread sends_up([&] { write_all(local, up); });
    std::thread sends_down([&] { write_all(remote, down); });
    std::string came_up;
    std::thread reads_up([&] { came_up = read_exactly(remote, up.size()); });
    const std::string came_down = read_exactly(local, down.size());
    reads_up.join();
    sends_up.join();
    sends_down.join();
    CHECK(came_up == up);
    CHECK(came_down == down);
    CHECK(relay.fault().empty());
    ::close(remote);
    CHECK(read_all(local).empty());  // and ends
    ::close(local);
}

TEST_CASE("when gRPC lets go of a connection out of a device, the DR sees it end") {
    const Server server;
    const LineRelay relay("lo", server.address);
    const int local = connect_to(relay.target());
    const int remote = ::accept(server.socket, nullptr, nullptr);
    REQUIRE(remote >= 0);
    REQUIRE(write_all(local, "bye"));
    ::close(local);
    CHECK(read_all(remote) == "bye");
    ::close(remote);
}

TEST_CASE("a DR that cannot be reached out of a device is said, with the device and why") {
    std::string port;
    {
        const Server gone;
        port = gone.address;
    }
    const LineRelay refused("lo", port);
    const int one = connect_to(refused.target());
    CHECK(read_all(one).empty());
    CHECK(refused.fault() == "over lo: Connection refused");
    ::close(one);

    const LineRelay missing("no-such-line", port);
    const int two = connect_to(missing.target());
    CHECK(read_all(two).empty());
    CHECK(missing.fault() == "over no-such-line: No such device");
    ::close(two);

    const LineRelay nowhere("lo", "no-such-name.invalid:1");
    const int three = connect_to(nowhere.target());
    CHECK(read_all(three).empty());
    CHECK(nowhere.fault().find("over lo: no-such-name.invalid: ") == 0);
    ::close(three);
}

TEST_CASE("no other process gets to a DR through a relay, nor in this one's way") {
    const Server server;
    const LineRelay relay("lo", server.address);
    const pid_t other = ::fork();
    if (other == 0) {
        const int socket = connect_to(relay.target());
        char byte = 0;
        ::_exit(socket >= 0 && ::read(socket, &byte, 1) == 0 ? 0 : 1);
    }
    int status = -1;
    REQUIRE(::waitpid(other, &status, 0) == other);
    CHECK(status == 0);
    const int local = connect_to(relay.target());
    REQUIRE(local >= 0);
    const int remote = ::accept(server.socket, nullptr, nullptr);
    REQUIRE(write_all(remote, "x"));
    CHECK(read_exactly(local, 1) == "x");
    ::close(remote);
    ::close(local);
    // And no second connection of this one: a relay is of one stream.
    CHECK(connect_to(relay.target()) < 0);
}
