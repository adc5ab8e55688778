// Loss, round trip and jitter over seconds and minutes.
#include "dataplane/liveness/quality.h"

#include <algorithm>
#include <cstdlib>

namespace dr::liveness {

namespace {

void add_to(std::uint16_t& sum, std::uint32_t value) {
    sum =
        static_cast<std::uint16_t>(std::min<std::uint32_t>(0xffff, sum + std::min(value, 0xffffU)));
}

std::uint16_t loss(std::uint16_t expected, std::uint16_t got) {
    if (expected == 0) return 0xffff;
    const unsigned lost = expected > got ? expected - got : 0U;
    return static_cast<std::uint16_t>(lost * 1000 / expected);
}

Quality quality_of(const Sample& s) {
    Quality q;
    if (s.rtt_count != 0) {
        q.rtt_min_us = s.rtt_min_us;
        q.rtt_avg_us = s.rtt_sum_us / s.rtt_count;
        q.rtt_max_us = s.rtt_max_us;
    }
    q.loss_rx_permille = loss(s.rx_expected, s.rx_got);
    q.loss_tx_permille = loss(s.tx_sent, s.tx_got);
    q.messages = s.rx_got;
    return q;
}

template <typename Samples>
Quality total(const Samples& samples, const Sample& first) {
    Sample sum = first;
    for (const Sample& s : samples) sum.add(s);
    return quality_of(sum);
}

}  // namespace

void Sample::add(const Sample& other) {
    add_to(rx_expected, other.rx_expected);
    add_to(rx_got, other.rx_got);
    add_to(tx_sent, other.tx_sent);
    add_to(tx_got, other.tx_got);
    rtt_sum_us += std::min(other.rtt_sum_us, 0xffffffff - rtt_sum_us);
    rtt_min_us = std::min(rtt_min_us, other.rtt_min_us);
    rtt_max_us = std::max(rtt_max_us, other.rtt_max_us);
    add_to(rtt_count, other.rtt_count);
}

void History::rtt(std::uint32_t us) {
    current_.rtt_sum_us += std::min(us, 0xffffffff - current_.rtt_sum_us);
    current_.rtt_min_us = std::min(current_.rtt_min_us, us);
    current_.rtt_max_us = std::max(current_.rtt_max_us, us);
    add_to(current_.rtt_count, 1);
}

void History::received(std::uint32_t expected, std::uint32_t got) {
    add_to(current_.rx_expected, expected);
    add_to(current_.rx_got, got);
}

void History::reported(std::uint32_t sent, std::uint32_t got) {
    add_to(current_.tx_sent, sent);
    add_to(current_.tx_got, got);
}

void History::close_second() {
    seconds_[second_ % kSeconds] = current_;
    current_ = {};
    if (second_ % 10 == 9) {
        Sample sum;
        for (const Sample& s : seconds_) sum.add(s);
        tens_[second_ / 10 % kTens] = sum;
    }
    ++second_;
}

bool History::advance(Time now, Sample* closed) {
    const Time now_second = now / kSecond;
    if (now_second == second_) return false;
    if (closed != nullptr) *closed = current_;
    // After a long rest all that is kept is empty, whatever its place.
    if (now_second > second_ + Time{kTens} * 10 + 10) {
        seconds_ = {};
        tens_ = {};
        current_ = {};
        second_ = now_second;
        return true;
    }
    while (second_ < now_second) close_second();
    return true;
}

Quality History::second() const {
    return quality_of(seconds_[(second_ + kSeconds - 1) % kSeconds]);
}

Quality History::ten_seconds() const {
    return total(seconds_, {});
}

Quality History::minute() const {
    return total(tens_, {});
}

void Losses::add(std::uint32_t sent, std::uint32_t got) {
    constexpr std::uint32_t kMost = 0xffff;  // of a second; the sums stay below 64 times that
    sent = std::min(sent, kMost);
    got = std::min(got, kMost);
    sent_ += sent * 256;
    // A late message was counted as lost before.
    lost_ = got > sent ? lost_ - std::min(lost_, (got - sent) * 256) : lost_ + (sent - got) * 256;
}

void Losses::forget(Time seconds) {
    for (Time n = std::min<Time>(seconds, 1024); n != 0 && sent_ != 0; --n) {
        sent_ -= sent_ / 64;
        lost_ -= lost_ / 64;
        if (sent_ < 64) *this = {};
    }
}

std::uint32_t Losses::permille() const {
    if (sent_ == 0 || lost_ < 3 * 256) return 0;
    return static_cast<std::uint32_t>(
        std::min<std::uint64_t>(std::uint64_t{lost_} * 1000 / sent_, 1000));
}

void Smoothed::rtt(std::uint32_t us) {
    if (srtt == 0) {
        srtt = p95 = min_rtt = us;
        return;
    }
    srtt = static_cast<std::uint32_t>((std::uint64_t{srtt} * 7 + us) / 8);
    // Steps of 95 up and 5 down balance where 5 % of the samples are above.
    const std::uint32_t step = std::max(1U, srtt / 1600);
    p95 = us > p95 ? std::min(us, p95 + 95 * step) : std::max(us, p95 - std::min(p95, 5 * step));
    min_rtt = us < min_rtt ? us : min_rtt + (us - min_rtt) / 64;
}

void Smoothed::transit(std::int64_t sent_us, std::int64_t received_us) {
    const std::int64_t d = std::min<std::int64_t>(std::abs(received_us - sent_us), 60'000'000);
    const std::int64_t next = jitter + (d - static_cast<std::int64_t>(jitter)) / 16;
    jitter = static_cast<std::uint32_t>(next);
}

}  // namespace dr::liveness
