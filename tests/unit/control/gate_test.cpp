// What one certificate, one connection and one source may ask for.
#include "control/signalling/gate.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <thread>
#include <vector>

#include "base/printable.h"
#include "control/daemon/connections.h"
#include "tests/unit/control/support.h"

namespace dr::control::test {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

// A listening socket on loopback, and who connects to it.
struct Loopback {
    FileDescriptor listening{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    sockaddr_in address{};

    Loopback() {
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        REQUIRE(::bind(listening.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
        REQUIRE(::listen(listening.get(), 64) == 0);
        REQUIRE(::getsockname(listening.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
    }
};

struct Pair {
    FileDescriptor theirs{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    FileDescriptor ours;
    std::string peer;  // as gRPC names it

    explicit Pair(Loopback& at, const char* source = "127.0.0.1") {
        sockaddr_in from{};
        from.sin_family = AF_INET;
        REQUIRE(::inet_pton(AF_INET, source, &from.sin_addr) == 1);
        socklen_t size = sizeof from;
        REQUIRE(::bind(theirs.get(), reinterpret_cast<sockaddr*>(&from), size) == 0);
        REQUIRE(::connect(theirs.get(), reinterpret_cast<sockaddr*>(&at.address), size) == 0);
        ours = FileDescriptor(::accept4(at.listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
        REQUIRE(::getsockname(theirs.get(), reinterpret_cast<sockaddr*>(&from), &size) == 0);
        peer = fmt::format("ipv4:{}:{}", source, ntohs(from.sin_port));
    }
    void send(std::size_t bytes) const {
        const std::string data(bytes, 'x');
        REQUIRE(::send(theirs.get(), data.data(), bytes, 0) == static_cast<ssize_t>(bytes));
    }
    [[nodiscard]] bool ended() const {
        char byte = 0;
        return ::recv(theirs.get(), &byte, 1, MSG_DONTWAIT) == 0;
    }
};

Connections::Owner of(const char* certificate) {
    return Gate::key_of(certificate);
}

Connections::Limits small() {
    return {.of_source = 3,
            .burst = 20'000,
            .per_second = 1'000,
            .unknown = 4'000,
            .unknown_time = 10s};
}

}  // namespace

TEST_CASE("a certificate begins as many streams as its bucket holds, and then as it fills again") {
    Gate gate({{3, 2}, {2, 1}});
    const auto now = Gate::Clock::now();
    for (int i = 0; i < 3; ++i) CHECK(gate.stream("A", now));
    CHECK_FALSE(gate.flooding("A", now));
    CHECK_FALSE(gate.stream("A", now));
    CHECK(gate.flooding("A", now));
    // Another one has a bucket of its own.
    CHECK(gate.stream("B", now));
    CHECK_FALSE(gate.flooding("B", now));
    CHECK(gate.stream("A", now + 500ms));
    CHECK_FALSE(gate.stream("A", now + 500ms));
    CHECK_FALSE(gate.flooding("A", now + 1600ms));
}

TEST_CASE("handshakes are counted apart from streams") {
    Gate gate({{1, 1}, {2, 1}});
    const auto now = Gate::Clock::now();
    CHECK(gate.handshake("A", now));
    CHECK(gate.handshake("A", now));
    CHECK_FALSE(gate.handshake("A", now));
    CHECK(gate.stream("A", now));
    CHECK(gate.handshake("A", now + 1s));
}

TEST_CASE(
    "a certificate's owner is quoted in the log as often as its bucket holds, and what was left "
    "out is counted") {
    Gate gate({.words = {2, 1}});
    const auto now = Gate::Clock::now();
    CHECK(gate.words(of("A"), now) == 0U);
    CHECK(gate.words(of("A"), now) == 0U);
    for (int i = 0; i < 5; ++i) CHECK_FALSE(gate.words(of("A"), now));
    CHECK(gate.words(of("B"), now) == 0U);
    CHECK(gate.words(of("A"), now + 1s) == 5U);
    CHECK_FALSE(gate.words(of("A"), now + 1s));
}

TEST_CASE("what is quoted cannot end its quotation, and is cut where a character ends") {
    CHECK(quoted("port \"ix0\"\n") == "\"port \\x22ix0\\x22\\x0a\"");
    CHECK(quoted("\u00e9\u00e9", 3) == "\"\u00e9…\"");
}

TEST_CASE("certificates that ask for nothing are forgotten, so that many cost no memory") {
    Gate gate;
    auto now = Gate::Clock::now();
    for (int i = 0; i < 20'000; ++i, now += 10ms) gate.stream(std::to_string(i), now);
    CHECK(gate.size() < 2500);
}

TEST_CASE("a connection is ended when it has sent more than its budget, and no other one") {
    Loopback loopback;
    Connections connections(small());
    const auto now = Connections::Clock::now();
    const Pair loud(loopback);
    const Pair quiet(loopback);
    for (const auto* pair : {&loud, &quiet}) {
        REQUIRE(connections.add(pair->ours.get(), now));
        connections.known(pair->peer, of("A"), "site");
    }
    quiet.send(15'000);
    loud.send(15'000);
    connections.look(now);
    CHECK_FALSE(loud.ended());
    loud.send(15'000);
    CHECK(eventually([&] {
        connections.look(now);
        return loud.ended();
    }));
    // What was sent long ago counts no longer.
    quiet.send(15'000);
    connections.look(now + 20s);
    CHECK_FALSE(quiet.ended());
    CHECK(connections.size() == 1);
}

TEST_CASE("a connection that has begun no stream may send little, and not for long") {
    Loopback loopback;
    Connections connections(small());
    const auto now = Connections::Clock::now();
    const Pair loud(loopback);
    const Pair idle(loopback);
    const Pair known(loopback);
    for (const auto* pair : {&loud, &idle, &known}) REQUIRE(connections.add(pair->ours.get(), now));
    connections.known(known.peer, of("A"), "site");
    loud.send(5'000);
    known.send(5'000);
    connections.look(now);
    CHECK(loud.ended());
    connections.look(now + 9s);
    CHECK_FALSE(idle.ended());
    connections.look(now + 12s);
    CHECK(idle.ended());
    CHECK_FALSE(known.ended());
}

TEST_CASE(
    "all connections of a certificate are ended together, those of its name's others are not, and "
    "one by its peer's address") {
    Loopback loopback;
    Connections connections(small());
    const Pair a(loopback);
    const Pair b(loopback);
    const Pair c(loopback);
    const Pair other(loopback, "127.0.0.2");
    for (const auto* pair : {&a, &b, &c, &other}) REQUIRE(connections.add(pair->ours.get()));
    connections.known(a.peer, of("A"), "site-1");
    connections.known(b.peer, of("A"), "site-1");
    connections.known(c.peer, of("C"), "site-2");
    connections.known(other.peer, of("B"), "site-1");
    CHECK(connections.cut_all(of("A")) == 2);
    CHECK((a.ended() && b.ended() && !c.ended()));
    CHECK_FALSE(other.ended());
    CHECK_FALSE(connections.cut("ipv4:127.0.0.1:1"));
    CHECK_FALSE(connections.cut("unix:"));
    CHECK(connections.cut(c.peer));
    CHECK(c.ended());
}

TEST_CASE("strangers who hold connections open keep nobody out: the oldest of them makes room") {
    Loopback loopback;
    auto limits = small();
    limits.of_source = 100;
    limits.of_unknown = 3;
    Connections connections(limits);
    const Pair known(loopback);
    REQUIRE(connections.add(known.ours.get()));
    connections.known(known.peer, of("A"), "site");
    const std::array<Pair, 4> strangers{Pair(loopback, "127.0.0.2"), Pair(loopback, "127.0.0.3"),
                                        Pair(loopback, "127.0.0.4"), Pair(loopback, "127.0.0.5")};
    for (const auto& pair : strangers) REQUIRE(connections.add(pair.ours.get()));
    CHECK(eventually([&] { return strangers[0].ended(); }));
    CHECK_FALSE(known.ended());
    // The next one comes, says who it is, and takes the place of none of the known.
    const Pair site(loopback);
    REQUIRE(connections.add(site.ours.get()));
    CHECK(eventually([&] { return strangers[1].ended(); }));
    connections.known(site.peer, of("B"), "other");
    const Pair next(loopback);
    REQUIRE(connections.add(next.ours.get()));
    CHECK_FALSE(strangers[2].ended());
    CHECK_FALSE(strangers[3].ended());
    CHECK_FALSE(site.ended());
    CHECK_FALSE(next.ended());
    CHECK(connections.size() == 5);
}

TEST_CASE("a source has as many connections as it may, those that are closed not counted") {
    Loopback loopback;
    Connections connections(small());
    std::vector<Pair> pairs;
    for (int i = 0; i < 3; ++i) REQUIRE(connections.add(pairs.emplace_back(loopback).ours.get()));
    const Pair more(loopback);
    CHECK_FALSE(connections.add(more.ours.get()));
    const Pair elsewhere(loopback, "127.0.0.2");
    CHECK(connections.add(elsewhere.ours.get()));
    pairs.pop_back();
    CHECK(connections.add(more.ours.get()));
}

TEST_CASE("a number that another connection has got by now is not taken for the one before") {
    Loopback loopback;
    Connections connections(small());
    std::string peer;
    int number = -1;
    {
        const Pair gone(loopback);
        REQUIRE(connections.add(gone.ours.get()));
        peer = gone.peer;
        number = gone.ours.get();
    }
    const Pair first(loopback);
    const Pair second(loopback);
    CHECK((first.ours.get() == number || second.ours.get() == number ||
           first.theirs.get() == number));
    CHECK_FALSE(connections.cut(peer));
    CHECK_FALSE(first.ended());
    CHECK_FALSE(second.ended());
}

TEST_CASE("what somebody else has named is shown cut, and without what controls a terminal") {
    CHECK(shown("site-1") == "site-1");
    CHECK(shown("\x1b[2J\x07\x7f") == "\\x1b[2J\\x07\\x7f");
    CHECK(shown("caf\u00e9") == "caf\u00e9");
    CHECK(shown("\u202e\u0085") == "\\u202e\\u0085");
    CHECK(shown("\xc3(\xff") == "\\xc3(\\xff");
    CHECK(shown(std::string(64, 'x')) == std::string(64, 'x'));
    CHECK(shown(std::string(1 << 20, 'x')) == std::string(64, 'x') + "…");
    CHECK(shown(std::string(63, 'x') + "\u00e9") == std::string(63, 'x') + "…");
    CHECK(shown("").empty());
}

}  // namespace dr::control::test
