// Token buckets and stream counts of each certificate.
#include "control/signalling/gate.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/printable.h"
#include "pki/x509.h"

namespace dr::control {
namespace {

constexpr std::chrono::minutes kSayAgain{1};
constexpr std::chrono::seconds kFlooding{1};

}  // namespace

double TokenBucket::level(Rate rate, Clock::time_point now) const {
    const std::chrono::duration<double> passed = now - at_;
    return std::max(0.0, used_ - std::max(0.0, passed.count()) * rate.per_second);
}

bool TokenBucket::take(Rate rate, Clock::time_point now) {
    used_ = level(rate, now);
    at_ = now;
    if (used_ + 1 > rate.burst) return false;
    used_ += 1;
    return true;
}

bool TokenBucket::full(Rate rate, Clock::time_point now) const {
    return level(rate, now) <= 0;
}

Gate::Key Gate::key_of(std::string_view certificate) {
    Key key{};
    unsigned size = key.size();
    EVP_Digest(certificate.data(), certificate.size(), key.data(), &size, EVP_sha256(), nullptr);
    return key;
}

// With the lock held.
Gate::Entry& Gate::entry(const Key& certificate, Clock::time_point now) {
    if (entries_.size() >= look_at_) forget_idle(now);
    return entries_[certificate];
}

// With the lock held. Looks again when there are twice as many as stay.
void Gate::forget_idle(Clock::time_point now) {
    std::erase_if(entries_, [&](const auto& item) {
        const Entry& e = item.second;
        return e.session.expired() && e.streams.full(limits_.streams, now) &&
               e.handshakes.full(limits_.handshakes, now) && e.words.full(limits_.words, now);
    });
    look_at_ = std::max<std::size_t>(1024, 2 * entries_.size());
}

bool Gate::handshake(std::string_view certificate, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    Entry& e = entry(key_of(certificate), now);
    if (e.handshakes.take(limits_.handshakes, now)) return true;
    say(e, certificate, "connects too often, and is refused", now);
    return false;
}

bool Gate::stream(std::string_view certificate, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    Entry& e = entry(key_of(certificate), now);
    if (e.streams.take(limits_.streams, now)) return true;
    say(e, certificate, "begins too many streams, and its connections are ended", now);
    e.flooded = now;
    return false;
}

bool Gate::flooding(std::string_view certificate, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(key_of(certificate));
    return found != entries_.end() && found->second.flooded != Clock::time_point{} &&
           now - found->second.flooded < kFlooding;
}

std::shared_ptr<SignallingSession> Gate::supersede(
    std::string_view certificate, const std::shared_ptr<SignallingSession>& session) {
    const std::lock_guard lock(mutex_);
    Entry& e = entry(key_of(certificate), Clock::now());
    auto before = e.session.lock();
    e.session = session;
    return before;
}

std::optional<std::uint64_t> Gate::words(const Key& certificate, Clock::time_point now) {
    const std::lock_guard lock(mutex_);
    Entry& e = entry(certificate, now);
    if (e.words.take(limits_.words, now)) return std::exchange(e.unlogged, 0);
    ++e.unlogged;
    return std::nullopt;
}

void Gate::say(Entry& entry, std::string_view certificate, const char* what,
               Clock::time_point now) {
    ++entry.refused;
    if (entry.said != Clock::time_point{} && now - entry.said < kSayAgain) return;
    const auto leaf = pki::parse_certificates(certificate);
    const std::string name = leaf.empty() ? std::string() : leaf.front().common_name();
    std::fprintf(stderr, "drd: signalling: the certificate of %s %s (%llu times)\n",
                 quoted(name).c_str(), what, static_cast<unsigned long long>(entry.refused));
    entry.said = now;
    entry.refused = 0;
}

std::size_t Gate::size() {
    const std::lock_guard lock(mutex_);
    return entries_.size();
}

}  // namespace dr::control
