// Measurement of a path: round trip, jitter, loss in each direction, over 1, 10 and 60 s.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/liveness/engine.h"

namespace dr::liveness {

// A sum over some time. Counts saturate.
struct Sample {
    std::uint16_t rx_expected = 0;
    std::uint16_t rx_got = 0;
    std::uint16_t tx_sent = 0;
    std::uint16_t tx_got = 0;
    std::uint32_t rtt_sum_us = 0;
    std::uint32_t rtt_min_us = 0xffffffff;
    std::uint32_t rtt_max_us = 0;
    std::uint16_t rtt_count = 0;

    void add(const Sample& other);
};

// History of one tunnel: the last 10 full seconds and the last 6 full tens of seconds.
class History {
  public:
    // So many bytes at the start are all that a message touches.
    static constexpr std::size_t kCurrent = sizeof(Sample) + sizeof(Time);

    void rtt(std::uint32_t us);
    // Of the peer's messages: how many its counter says, and how many came.
    void received(std::uint32_t expected, std::uint32_t got);
    // Of ours: the same, as the peer reports.
    void reported(std::uint32_t sent, std::uint32_t got);
    // Closes the seconds that are over. To be called at least now and then, and before reading;
    // true when a second was closed. The first of them, the only one that may not be empty, is
    // copied to `closed`.
    bool advance(Time now, Sample* closed = nullptr);
    // The number of the current second.
    [[nodiscard]] Time current_second() const { return second_; }

    [[nodiscard]] Quality second() const;
    [[nodiscard]] Quality ten_seconds() const;
    [[nodiscard]] Quality minute() const;

  private:
    static constexpr unsigned kSeconds = 10;
    static constexpr unsigned kTens = 6;
    void close_second();

    Sample current_;
    Time second_ = 0;  // number of the current one
    std::array<Sample, kSeconds> seconds_;
    std::array<Sample, kTens> tens_;
};

// Loss in one direction over about a minute: sums of which 1/64 is forgotten each second. A class's
// limit of some permille needs hundreds of messages to be judged by; a second has ten.
class Losses {
  public:
    void add(std::uint32_t sent, std::uint32_t got);
    void forget(Time seconds);
    // 0 while fewer than three messages are missing.
    [[nodiscard]] std::uint32_t permille() const;

  private:
    // Of messages: 1/256.
    std::uint32_t sent_ = 0;
    std::uint32_t lost_ = 0;
};

// Smoothed figures (microseconds).
struct Smoothed {
    std::uint32_t srtt = 0;     // RFC 6298 §2, gain 1/8
    std::uint32_t p95 = 0;      // of the round trip
    std::uint32_t jitter = 0;   // RFC 3550 §6.4.1
    std::uint32_t min_rtt = 0;  // drifts up by 1/64 of the distance a sample

    void rtt(std::uint32_t us);
    // Two messages: their distance when sent and when received.
    void transit(std::int64_t sent_us, std::int64_t received_us);
};

}  // namespace dr::liveness
