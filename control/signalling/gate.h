// Limits the use of signalling by one certificate, before anything is done for a request.
//
// A certificate has at most one stream: a newer stream supersedes it. Streams begun and handshakes
// are counted by token buckets, which a UR that lost its connection stays far below. The log lines
// that quote the UR are limited in the same way.
//
// Threads: any.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "control/daemon/connections.h"

namespace dr::control {

// A token bucket: a burst, and a rate a second.
class TokenBucket {
  public:
    using Clock = std::chrono::steady_clock;
    struct Rate {
        double burst;
        double per_second;
    };
    // Takes a token. False: there is none.
    bool take(Rate rate, Clock::time_point now);
    // All tokens are there.
    [[nodiscard]] bool full(Rate rate, Clock::time_point now) const;

  private:
    [[nodiscard]] double level(Rate rate, Clock::time_point now) const;
    double used_ = 0;
    Clock::time_point at_{};
};

class SignallingSession;

class Gate {
  public:
    using Clock = TokenBucket::Clock;
    struct Limits {
        TokenBucket::Rate streams{10, 2};
        TokenBucket::Rate handshakes{6, 1};
        TokenBucket::Rate words{5, 1.0 / 60};
    };
    Gate() : Gate(Limits{}) {}
    // Names a certificate: SHA-256 of its text.
    using Key = Connections::Owner;
    static Key key_of(std::string_view certificate);

    explicit Gate(Limits limits) : limits_(limits) {}
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;

    // A peer has proved that it has the certificate (PEM). False: too often recently.
    bool handshake(std::string_view certificate, Clock::time_point now = Clock::now());
    // The certificate's owner begins a stream. False: too many recently; end its connections.
    bool stream(std::string_view certificate, Clock::time_point now = Clock::now());
    // A stream was refused within the last second.
    bool flooding(std::string_view certificate, Clock::time_point now = Clock::now());
    // The session is the certificate's stream from now on. Returns the previous session, if it
    // still exists.
    std::shared_ptr<SignallingSession> supersede(std::string_view certificate,
                                                 const std::shared_ptr<SignallingSession>& session);

    // The UR has sent a text for the log. nullopt: too many recently. Otherwise the number left out
    // since the last logged one.
    std::optional<std::uint64_t> words(const Key& certificate,
                                       Clock::time_point now = Clock::now());

    // Certificates that are remembered.
    [[nodiscard]] std::size_t size();

  private:
    struct Entry {
        TokenBucket streams;
        TokenBucket handshakes;
        TokenBucket words;
        std::weak_ptr<SignallingSession> session;
        Clock::time_point flooded{};
        Clock::time_point said{};
        std::uint64_t refused = 0;   // since `said`
        std::uint64_t unlogged = 0;  // words
    };
    Entry& entry(const Key& certificate, Clock::time_point now);
    void forget_idle(Clock::time_point now);
    static void say(Entry& entry, std::string_view certificate, const char* what,
                    Clock::time_point now);

    const Limits limits_;
    std::mutex mutex_;  // all below
    std::map<Key, Entry> entries_;
    std::size_t look_at_ = 1024;  // entries, at which those that say nothing are forgotten
};

}  // namespace dr::control
